"""The words of a notebook's results."""

import pandas as pd
import pytest

from gbnlib.report import wording
from gbnlib.report.wording import averaged, cell


@pytest.mark.parametrize(
    ("value", "shown"), [(-1.234, "−1.23"), (2.0, "2.00"), (float("nan"), "–"), (3, "3"), ("LB-LR", "LB-LR")]
)
def test_a_cell_has_two_digits_a_dash_or_a_minus_sign(value: object, shown: str) -> None:
    assert cell(value, 2) == shown


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ({"SB": 3, "LB": 3}, "Means over 3 seeds with 95 % t intervals."),
        ({"SB": 4, "LB": 3}, "Means over 3 to 4 seeds with 95 % t intervals."),
        ({"SB": 3, "LB": 1}, "Means over 1 to 3 seeds with 95 % t intervals; every run where there are under 3."),
        ({"SB": 2, "LB": 1}, "Every run is drawn (2 seeds)."),
        ({"SB": 1}, "Every run is drawn (1 seed)."),
        ({}, ""),
    ],
)
def test_a_caption_says_what_is_averaged(seeds: dict[str, int], words: str) -> None:
    rows = [{"method": method, "batch_size": 32, "seed": seed} for method, n in seeds.items() for seed in range(n)]
    assert averaged(pd.DataFrame(rows)) == words


def test_a_caption_of_single_runs_speaks_of_no_means() -> None:
    runs = pd.DataFrame({"seed": [0, 1, 2]})
    assert averaged(runs, means=False) == "Every run is drawn (3 seeds)."


def test_titles_of_the_theory_say_what_its_tables_hold() -> None:
    scatter = pd.DataFrame({"ghost_size": [8, 8, 32], "sd": [0.3, 0.5, 0.2]})
    assert wording.noise_falls(scatter) == "From ghosts of 8 to ghosts of 32 the noise falls by a factor of 2.0"
    costs = pd.DataFrame({"loop": [1.0, 4.0], "ghost": [0.5, 0.5]})
    assert wording.takes(costs) == "Ghost layers take 0.50 times what plain layers do, a loop over ghosts 2.00 times"
    names = ["distance ~ (log t)^p: p, α = 1", "distance ~ (log t)^p: p, α = 0.5", "barrier"]
    theory = pd.DataFrame({"quantity": names, "theory": [2.0, 4.0, 1.0], "here": [2.1, 3.6, 9.0]})
    assert wording.near_theory(theory).endswith("exponents within 10% of the theory's")
    growth = pd.DataFrame({"α": [1, 2], "R² in log t": [0.98, 0.99], "R² as a power": [0.99, 0.98]})
    assert wording.better_fits(growth) == "What fits the distance better, α = 1: a power of t; α = 2: log t"
