"""Best rates, updates to a target and knees, on made-up runs whose answers are plain."""

import math

import pandas as pd
import pytest

from gbnlib.analysis import best_rate


def run(batch_size: int, rate: float, seed: int, errors: list[float], *, test_error: float = 1.0, status="finished"):
    """The history of one run that is looked at every ten updates."""
    facts = {"network": "f1", "dataset": "digits", "method": "LB", "batch_size": batch_size, "seed": seed}
    name = f"{batch_size}-{rate}-{seed}"
    looks = [
        {"run": name, **facts, "status": status, "rate": rate, "test_error": test_error, "update": 10 * look}
        for look in range(1, len(errors) + 1)
    ]
    return pd.DataFrame(looks).assign(validation_error=errors)


def valleys(best: dict[int, float], rates: list[float], seeds: int = 2) -> pd.DataFrame:
    """Runs whose final error is 2 + (log₂ rate / best)²: a parabola with its vertex at the best rate."""
    return pd.concat(
        run(size, rate, seed, [2 + math.log2(rate / at) ** 2])
        for size, at in best.items()
        for rate in rates
        for seed in range(seeds)
    )


def test_the_best_rate_is_the_vertex_of_the_parabola() -> None:
    table = best_rate.best_rates(valleys({32: 0.13, 128: 0.07}, [0.025, 0.05, 0.1, 0.2, 0.4]))
    assert table.rate.tolist() == pytest.approx([0.13, 0.13, 0.07, 0.07])
    assert not table.at_edge.any()


def test_a_best_rate_at_an_end_is_that_end_and_said() -> None:
    table = best_rate.best_rates(valleys({32: 0.01, 64: 5.0}, [0.05, 0.1, 0.2]))
    assert table.rate.tolist() == pytest.approx([0.05, 0.05, 0.2, 0.2]) and table.at_edge.all()


def test_a_flat_valley_is_best_in_its_middle() -> None:
    history = pd.concat(run(32, rate, 0, [3.0]) for rate in (0.1, 0.2, 0.4))
    assert best_rate.best_rates(history).at_edge.all()  # the first of equals is the first rate
    lower = pd.concat([run(32, 0.1, 0, [3.0]), run(32, 0.2, 0, [2.0]), run(32, 0.4, 0, [3.0])])
    assert best_rate.best_rates(lower).rate.tolist() == pytest.approx([0.2])


def test_a_diverged_run_has_the_error_of_guessing() -> None:
    history = pd.concat([run(32, 0.1, 0, [3.0]), run(32, 0.2, 0, [1.0], status="diverged", test_error=0.5)])
    table = best_rate.final_errors(history).set_index("rate")
    assert table.error.tolist() == [3.0, 90.0] and table.test_error.tolist() == [1.0, 90.0]
    assert best_rate.chosen_rates(history) == {32: 0.1}


def test_exponents_are_those_of_a_power_law_and_need_every_size() -> None:
    table = best_rate.best_rates(valleys({32: 0.1, 128: 0.2, 512: 0.4}, [0.05, 0.1, 0.2, 0.4, 0.8]))
    assert best_rate.exponents(table, "rate") == pytest.approx([0.5, 0.5])
    assert best_rate.exponents(table, "rate", [32]) == []
    assert best_rate.exponents(table.iloc[1:], "rate") == pytest.approx([0.5])  # a seed without batch 32 is left out
    assert best_rate.exponents(pd.DataFrame(), "rate") == []


def test_updates_to_a_target_lie_between_two_looks_at_the_best_rate() -> None:
    """From 8 at update 10 to 4 at update 20, six is passed at 15; the other rate gets there at 25 only."""
    history = pd.concat([run(32, 0.1, 0, [8.0, 4.0, 3.0]), run(32, 0.2, 0, [9.0, 7.0, 5.0])])
    (row,) = best_rate.updates_to_target(history, 6.0).to_dict("records")
    assert row == {"batch_size": 32, "seed": 0, "updates": 15.0, "rate": 0.1, "at_first": False}
    (early,) = best_rate.updates_to_target(history, 8.0).to_dict("records")
    assert early["updates"] == 10.0 and early["at_first"]
    assert best_rate.updates_to_target(history, 2.0).empty
    assert best_rate.updates_to_target(pd.DataFrame(), 2.0).empty


def test_the_knee_is_that_of_the_curve() -> None:
    """Updates 50 (1 + 300 / batch): at batch 300 twice the least. Two sizes leave it open."""
    rows = [{"batch_size": size, "seed": 0, "updates": 50 * (1 + 300 / size)} for size in (32, 128, 512, 2048)]
    assert best_rate.knees(pd.DataFrame(rows)) == pytest.approx([300], rel=1e-3)
    assert best_rate.knees(pd.DataFrame(rows[:2])) == []
    assert best_rate.knees(pd.DataFrame()) == []


def test_the_table_has_the_test_error_at_the_chosen_rate() -> None:
    history = pd.concat(
        [
            *(run(32, 0.1, seed, [9.0, 3.0], test_error=4.0) for seed in range(2)),
            *(run(32, 0.2, seed, [9.0, 5.0], test_error=1.0) for seed in range(2)),
        ]
    )
    (row,) = best_rate.summarised(history, 6.0).to_dict("records")
    assert row["chosen"] == 0.1 and row["test error"].startswith("4.00 ") and row["updates to 6 %"].startswith("15 ")
    assert best_rate.summarised(pd.DataFrame(), 6.0).empty
