"""The words of a notebook's results."""

import pandas as pd
import pytest

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
