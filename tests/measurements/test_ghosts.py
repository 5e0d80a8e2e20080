"""Algorithm 1: noise, running statistics and accumulation against the layer and by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from gbnlib import claims
from gbnlib.analysis import identities
from gbnlib.claims.decision import NOT, NOT_TESTED, REPRODUCED
from gbnlib.measurements import ghosts
from gbnlib.nn import GhostBatchNorm1d


def test_a_sample_scatters_as_the_leading_order_says_in_large_ghosts() -> None:
    found = ghosts.measure_noise([128, 512], [0.0, 1.0, 2.0], 2000, seed=0)
    assert found.sd.to_numpy() == pytest.approx(found.expected.to_numpy(), rel=0.07)
    assert (found.low < found.sd).all() and (found.sd < found.high).all()
    assert found.equals(ghosts.measure_noise([128, 512], [0.0, 1.0, 2.0], 2000, seed=0))


@pytest.mark.parametrize(("rule", "running"), [("sequential", "sequential"), ("mean over ghosts", "mean")])
def test_two_of_the_rules_are_the_layers(rule: str, running: str) -> None:
    batch = np.random.default_rng(0).normal(2.0, 3.0, (4, 8))
    layer = GhostBatchNorm1d(1, 8, momentum=0.1, running=running, dtype=torch.float64)
    layer(torch.from_numpy(batch).reshape(-1, 1))
    assert layer.running_mean.item() == pytest.approx(ghosts.RULES[rule](0.0, batch.mean(axis=1), 0.1))
    assert layer.running_var.item() == pytest.approx(ghosts.RULES[rule](1.0, batch.var(axis=1, ddof=1), 0.1))


def test_the_weights_of_the_rules_by_hand() -> None:
    """K = 32, η = 0.1: sequential keeps 0.9^32 = 0.034; printed adds to 0.9 (1 − 0.9^32) = 0.869, and keeps 0.9^128."""
    table = ghosts.compare_rules(32, 0.1).set_index("rule")
    assert table.loc["sequential", "old value keeps"] == pytest.approx(0.9**32)
    assert table.loc["as printed", "in all"] == pytest.approx(0.9 * (1 - 0.9**32) + 0.9**128)
    assert table.loc["momentum / K a ghost", "ghosts get"] == pytest.approx(1 - (1 - 0.1 / 32) ** 32)
    assert table.drop("as printed")["in all"].to_numpy() == pytest.approx(1)
    assert table.loc["sequential", "last ghost over first"] == pytest.approx(0.9**-31)


def test_only_the_printed_rule_misses_the_mean() -> None:
    last = ghosts.measure_running(32, 128, 0.1, 3.0, 2.0, 80, seed=0).groupby("rule").last()
    assert last["mean"].drop("as printed").to_numpy() == pytest.approx(3.0, abs=0.15)
    assert last.loc["as printed", "mean"] == pytest.approx(0.869 * 3.0, abs=0.1)


def test_accumulation_is_exact_but_for_plain_batch_normalization() -> None:
    found = ghosts.measure_accumulation(["f1"], 4, 20, 8, 1).set_index(["case", "precision"])
    for case in ("without BN", "ghost BN"):
        assert found.loc[(case, "double"), "gradient"] < 1e-13 and found.loc[(case, "single"), "gradient"] < 1e-4
    assert found.loc[("ghost BN", "double"), "statistics"] < 1e-13
    assert found.loc[("plain BN", "double"), "gradient"] > 0.1
    assert np.isnan(found.loc[("without BN", "double"), "statistics"])


def differences(gradient: float, statistics: float = 1e-15) -> pd.DataFrame:
    """A frame as `measure_accumulation` makes it."""
    rows = [("without BN", 1e-16, np.nan), ("ghost BN", gradient, statistics), ("plain BN", 0.7, 0.5)]
    frame = pd.DataFrame(rows, columns=["case", "gradient", "statistics"])
    return frame.assign(network="f1", precision="double", seed=0)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (differences(1e-15), REPRODUCED),
        (differences(1e-6), NOT),
        (differences(1e-15, np.nan), NOT),
        (pd.DataFrame(), NOT_TESTED),
    ],
)
def test_c13_asks_for_every_difference(frame: pd.DataFrame, expected: str) -> None:
    verdict = claims.judge("C13", frame, item="algorithm1", scale="quick")
    assert verdict.verdict == expected and verdict.claim == "C13"
    assert expected != REPRODUCED or "differs by 7.0e-01" in verdict.evidence


def test_the_table_shows_the_largest_difference() -> None:
    table = identities.summarise_accumulation(pd.concat([differences(1e-15), differences(3e-15)]))
    assert table.gradient.tolist() == ["1.0e-16", "3.0e-15", "7.0e-01"] and table.statistics[0] == "–"
