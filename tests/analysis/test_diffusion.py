"""Spreads, ends and verdicts of distance curves whose answers are known."""

import math

import numpy as np
import pandas as pd
import pytest

from gbnlib import claims, experiments
from gbnlib.analysis import diffusion, distance_laws
from gbnlib.claims import decision
from gbnlib.claims.decision import INCONCLUSIVE, NOT, NOT_TESTED, PARTLY, REPRODUCED
from tests.claims.rows import ROW


def frames(curves: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    """History and distance of runs from their curves f(t, seed); the rate drops at update 3,200 / batch."""
    history, distance = [], []
    for (method, batch), curve in curves.items():
        end = 3200 // batch
        for seed in range(3):
            keys = {"run": f"{method}{batch}-{seed}", "network": "f1", "dataset": "digits", "method": method}
            keys |= {"batch_size": batch, "seed": seed, "initialisation": "2017", "status": "finished"}
            history += [keys | {"update": end, "lr": 0.1}, keys | {"update": 2 * end, "lr": 0.01}]
            for t in [*range(1, end), 2 * end]:
                value = curve(t, seed)
                distance.append(keys | {"update": t, "epoch": t / end} | dict.fromkeys(diffusion.QUANTITIES, value))
    return pd.DataFrame(history), pd.DataFrame(distance)


def wobble(t: float, seed: int) -> float:
    """What makes seeds differ, and no fit perfect."""
    return 0.01 * np.sin(7 * t + seed) + 0.01 * seed


def logarithm(factor: float):
    """A logarithmic curve of a given height."""
    return lambda t, seed: factor * (1 + np.log(t)) + wobble(t, seed)


def steep(factor: float):
    """A curve without anything else, the same for all seeds."""
    return lambda t, seed: factor * np.log(t + 1e-9)


APART = {("SB", 32): logarithm(1.0), ("LB", 64): logarithm(0.7), ("LB", 320): logarithm(0.4)}
TOGETHER = {("LB+LR+GBN", 64): logarithm(1.02), ("LB+LR+GBN", 320): logarithm(1.05)}


def curves(made: dict) -> pd.DataFrame:
    """The high-rate curves of made-up runs."""
    return diffusion.high_rate_curves(*frames(made))


def judged(claim: str, made: dict) -> str:
    """The verdict on a claim."""
    return claims.judge(claim, curves(made), item="figure2", scale="quick", row=ROW).verdict


def test_curves_end_with_the_first_phase_at_a_distance_between_the_recorded_ones() -> None:
    """At the drop, update 100, nothing was recorded: log 100 lies between log 99 and log 200."""
    found = curves({("SB", 32): lambda t, seed: np.log(t)})
    assert (found.groupby("run")["update"].max() == 100).all() and (found.end == 100).all()
    assert found[found["update"] == 100].weights.tolist() == pytest.approx([np.log(100)] * 3)


def test_fits_leave_out_the_first_tenth_and_can_end_earlier() -> None:
    one = curves({("SB", 32): logarithm(1)}).query("seed == 0")
    assert distance_laws.fitted_range(one)["update"].tolist() == list(range(10, 101))
    assert distance_laws.fitted_range(one, skipped=0.03)["update"].tolist() == list(range(3, 101))
    assert distance_laws.fitted_range(one, last=20)["update"].max() == 20
    assert distance_laws.fit_laws(one, "weights", last=4) == {}


def test_the_spread_is_that_of_the_distances_at_one_update() -> None:
    """At one update the distances of 10, 7 and 4 times the same curve spread by (10 − 4) / 7."""
    found = curves({("SB", 32): steep(10), ("LB", 64): steep(7), ("LB", 320): steep(4)})
    assert diffusion.shared_update(found) == 10
    assert diffusion.spread(found, "weights", [10])[10].tolist() == pytest.approx([6 / 7] * 3)
    lacking = found[(found.seed > 0) | (found.batch_size < 320)]
    lacking.loc[(lacking.seed == 1) & (lacking.batch_size == 64), "weights"] = math.nan
    assert diffusion.spread(lacking, "weights", [10]).index.tolist() == [2]
    assert diffusion.spreads(found, "weights").query("panel == 'before'").spread.iloc[-1] == pytest.approx(600 / 7)


def test_ends_stand_beside_the_papers_by_the_ratio_of_the_batches() -> None:
    table = diffusion.compare_ends(curves(APART)).set_index("batch over small batch")
    assert table.loc[2, "paper (ResNet44)"] == pytest.approx(8.7 / 10.37)
    assert table.loc[1, "here, all weights"].startswith("1.00 [1.00, 1.00]")
    assert table.loc[16, "here, all weights"] == "–" and np.isnan(table.loc[10, "paper (ResNet44)"])


def test_the_table_of_laws_has_a_row_a_batch_size() -> None:
    """Batch 320 makes 10 updates in its phase: 1 and 3 to 10 are too few for a fit to each half."""
    table = diffusion.compare_laws(curves(APART), "weights").set_index("batch size")
    assert table.loc[[32, 64], "b"].tolist() == pytest.approx([1, 0.7], abs=0.02)
    assert table.loc[32, "updates"] == "10–100" and table.loc[32, "λ"].startswith(("+0.0", "−0.0"))
    assert table.loc[32, "left by logarithm, %"] < table.loc[32, "left by quarter power, %"]
    assert table.columns[0] == "λ"  # which decides, and must not be cut off on a narrow screen


def test_the_exponent_is_told_for_each_cut() -> None:
    table = diffusion.compare_cuts(curves(APART))
    assert table["left out, %"].tolist() == ["3", "10", "20"]
    assert table["λ, all weights"].str.match("[+−]0.0").all() and diffusion.compare_cuts(pd.DataFrame()).empty


def test_the_end_distance_stands_beside_the_norm_at_the_start() -> None:
    curve = curves({("SB", 32): lambda t, seed: 3.0}).query("seed == 1")
    norm = experiments.initial_norms("f1", "digits", 1, "2017")["weights"]
    assert diffusion.relative_to_start(curve, "weights") == pytest.approx(3.0 / norm)
    table = diffusion.compare_laws(curves({("SB", 32): logarithm(1)}).query("seed == 1"), "weights")
    assert table["end over ‖w₀‖"][0] == pytest.approx((1 + np.log(100)) / norm, abs=0.03 / norm)


def test_a_seed_with_too_few_points_is_left_out_of_the_table_of_laws() -> None:
    every = curves(APART)
    short = every[(every.seed > 0) | (every["update"] <= 3) | (every["update"] == every.end)]
    found, expected = (diffusion.compare_laws(each, "weights") for each in (short, every[every.seed > 0]))
    pd.testing.assert_frame_equal(found, expected)
    assert found["λ"].str.contains("n = 2").all()


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (logarithm(1), REPRODUCED),
        (lambda t, seed: t**0.5 + wobble(t, seed), NOT),
        (lambda t, seed: 3 * (1 - np.exp(-t / 20)) + wobble(t, seed), NOT),
    ],
)
def test_c2_is_the_exponent_and_the_prediction_of_the_logarithm(curve, expected: str) -> None:
    assert judged("C2", {("SB", 32): curve}) == expected


@pytest.mark.parametrize(
    ("verdicts", "expected", "shown"),
    [
        ((REPRODUCED, REPRODUCED), REPRODUCED, "number"),
        ((REPRODUCED, NOT), PARTLY, "number, first tensor"),
        ((PARTLY, REPRODUCED), PARTLY, "number, all weights"),
        ((NOT, INCONCLUSIVE), INCONCLUSIVE, "number, first tensor"),
    ],
)
def test_the_number_of_two_parts_is_that_of_the_one_that_holds_the_verdict_back(verdicts, expected, shown) -> None:
    parts = zip(("all weights", "first tensor"), verdicts, strict=True)
    decided = decision.of_both_quantities(
        {label: decision.Decision(verdict, label, 3, decision.Effect("number", "", 1.0)) for label, verdict in parts}
    )
    assert (decided.verdict, decided.effect.what) == (expected, shown)


def test_c2_leaves_out_a_seed_with_too_few_points() -> None:
    every = curves({("SB", 32): logarithm(1)})
    short = every[(every.seed > 0) | (every["update"] <= 3) | (every["update"] == every.end)]
    found, expected = (
        claims.judge("C2", each, item="figure2", scale="quick", row=ROW) for each in (short, every[every.seed > 0])
    )
    assert found.evidence == expected.evidence


@pytest.mark.parametrize(
    ("factors", "expected"), [((1, 0.7, 0.4), REPRODUCED), ((0.1, 0.7, 1), NOT), ((1,), NOT_TESTED)]
)
def test_c3_is_a_shorter_way_of_the_largest_batch(factors: tuple, expected: str) -> None:
    sizes = (("SB", 32), ("LB", 64), ("LB", 320))
    assert judged("C3", {key: logarithm(factor) for key, factor in zip(sizes, factors, strict=False)}) == expected


def test_c3_holds_in_part_where_the_largest_batch_only_makes_fewer_updates() -> None:
    """One curve for all: batch 320 ends it after 10 updates, batch 32 after 100."""
    same = {("SB", 32): logarithm(1), ("LB", 320): logarithm(1)}
    verdict = claims.judge("C3", curves(same), item="figure2", scale="quick", row=ROW)
    assert verdict.verdict == PARTLY and "at update 10 " in verdict.evidence


@pytest.mark.parametrize(
    ("factor", "expected"), [(1.05, REPRODUCED), (0.55, PARTLY), (0.05, NOT)], ids=["halved", "smaller", "larger"]
)
def test_c4_is_the_ratio_of_the_spreads(factor: float, expected: str) -> None:
    """Before, 0.6 / 0.7 = 0.86; after with 1, 1 and 1.05 it is 0.05, with 0.55 half, with 0.05 more than before."""
    assert judged("C4", APART | TOGETHER | {("LB+LR+GBN", 320): logarithm(factor)}) == expected
    assert judged("C4", APART) == NOT_TESTED


def test_c4_is_judged_over_the_papers_range_of_batches() -> None:
    """Half to 16 times the small batch: 1,600 is 50 times batch 32, and left out however far apart it lies."""
    beyond = {("LB", 1600): logarithm(9), ("LB+LR+GBN", 1600): logarithm(90)}
    verdict, without = (
        claims.judge("C4", curves(made), item="figure2", scale="quick", row=ROW)
        for made in (APART | TOGETHER | beyond, APART | TOGETHER)
    )
    assert verdict.evidence == without.evidence and "3 batch sizes, 32 to 320" in verdict.evidence


def test_the_mean_spread_is_over_the_shared_updates_without_their_first_tenth() -> None:
    """10 and 4 times one curve spread by 6 / 7 at every update; what they do before update 4 of 40 does not count."""
    found = curves({("SB", 32): steep(10), ("LB", 80): steep(4)})
    found.loc[(found.batch_size == 80) & (found["update"] < 4), "weights"] *= 2
    assert diffusion.mean_spread(found, "weights", 40).tolist() == pytest.approx([6 / 7] * 3)


def test_c4_compares_the_batch_sizes_that_are_finished_before_and_after() -> None:
    """Batch 64 lies far out before, and is not trained yet after: the spread is that of 32 and 320 in both."""
    missing = {key: curve for key, curve in (APART | TOGETHER).items() if key != ("LB+LR+GBN", 64)}
    outlying = curves(missing | {("LB", 64): logarithm(9)})
    verdict = claims.judge("C4", outlying, item="figure2", scale="quick", row=ROW)
    without = claims.judge("C4", outlying[outlying.batch_size != 64], item="figure2", scale="quick", row=ROW)
    assert verdict.evidence == without.evidence and "mean spread of 2 batch sizes" in verdict.evidence
    assert set(diffusion.comparable(outlying).batch_size) == {32, 320}
    assert set(diffusion.comparable(curves(APART)).batch_size) == {32, 64, 320}  # nothing after yet


def test_a_quantity_alone_makes_a_claim_partly_reproduced() -> None:
    found = curves({("SB", 32): logarithm(1)})
    found["first"] = found["update"] ** 0.5 + found.weights / 100
    verdict = claims.judge("C2", found, item="figure2", scale="quick", row=ROW)
    assert verdict.verdict == PARTLY
    assert "all weights (reproduced): " in verdict.evidence and "first tensor (not reproduced): " in verdict.evidence


def test_a_run_that_diverged_has_no_curve_and_the_evidence_says_so() -> None:
    history, distance = (
        frame.assign(status=frame.status.mask(frame.run == "LB320-2", "diverged")) for frame in frames(APART)
    )
    history = history.assign(validation_error=10.0, training_error=5.0, precision="fp32")
    history = pd.concat([history, history.assign(network="resnet44", status="diverged", run="other " + history.run)])
    found = diffusion.high_rate_curves(history[history.network == "f1"], distance)
    verdict = claims.judge("C3", found, item="figure2", scale="quick", row=ROW, beside={"history": history})
    assert verdict.verdict == INCONCLUSIVE and "(n = 2 and 3)" in verdict.evidence
    assert "; diverged, and left out: 1 of 6 runs of LB; 2 seeds" in verdict.evidence


def test_another_network_in_the_frame_changes_no_verdict() -> None:
    """The second network's curves lie together and grow like a root, and its phases end earlier."""
    first = curves(APART | TOGETHER)
    second = curves({key: lambda t, seed: t**0.5 + wobble(t, seed) for key in APART | TOGETHER})
    second = second[second["update"] <= 8].assign(network="resnet44", end=8, run="other " + second.run)
    both = pd.concat([second, first], ignore_index=True)
    for claim in ("C2", "C3", "C4"):
        for network, alone in (("f1", first), ("resnet44", second)):
            verdicts = [
                claims.judge(claim, c, item="figure2", scale="paper", network=network, row=ROW) for c in (both, alone)
            ]
            assert verdicts[0] == verdicts[1] and set(verdicts[0].runs) == set(alone.run)
        assert claims.judge(claim, both, item="figure2", scale="paper", row=ROW).verdict == REPRODUCED


def test_one_seed_decides_nothing_and_no_runs_are_no_test() -> None:
    one = curves(APART).query("seed == 0")
    assert claims.judge("C3", one, item="figure2", scale="quick", row=ROW).verdict == INCONCLUSIVE
    empty = diffusion.high_rate_curves(pd.DataFrame(), pd.DataFrame())
    assert claims.judge("C2", empty, item="figure2", scale="quick", row=ROW).verdict == NOT_TESTED
