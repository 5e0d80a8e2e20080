"""Verdicts on made-up runs whose answer is plain to see."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pytest

from gbnlib import claims, paper
from gbnlib.claims.convergence import doubling_gain, shortfall
from gbnlib.claims.decision import INCONCLUSIVE, NOT, NOT_TESTED, PARTLY, REPRODUCED
from tests.claims.rows import ROW


def runs(errors: dict, key: str = "method") -> pd.DataFrame:
    """A history of one look a run: `errors` maps a method or a batch size to the errors of its seeds."""
    rows = []
    for name, values in errors.items():
        for seed, error in enumerate(values):
            row = {"run": f"{name}-{seed}", "network": "f1", "dataset": "digits", "method": "LB", "batch_size": 32}
            row |= {key: name, "seed": seed, "status": "finished", "update": 1, "validation_error": error}
            row |= {"training_error": error - 1, "precision": "fp32"}
            rows.append(row)
    return pd.DataFrame(rows)


def around(center: float, spread: float = 0.1) -> Sequence[float]:
    """Three seeds around a value."""
    return [center - spread, center, center + spread]


def judged(claim: str, history: pd.DataFrame) -> claims.Verdict:
    """The verdict at quick scale."""
    return claims.judge(claim, history, item="table1", scale="quick", row=ROW)


GAP = {"SB": around(2.0), "LB": around(5.0)}
NONE = pd.DataFrame()


@pytest.mark.parametrize(
    ("scaled", "expected"), [(around(4.0), REPRODUCED), (around(6.0), NOT), (around(5.0, 1.0), INCONCLUSIVE)]
)
def test_c6_is_the_gain_of_the_scaled_rate(scaled, expected) -> None:
    verdict = judged("C6", runs({**GAP, "LB+LR": scaled}))
    assert verdict.verdict == expected and verdict.n == 3
    assert ("smallest detectable difference" in verdict.evidence) == (expected == INCONCLUSIVE)


def test_the_evidence_names_the_numbers_that_decided() -> None:
    """Errors 5 − 4 are a gain of one point; the t quantile of 4 degrees is 2.776, the standard error 0.0816."""
    evidence = judged("C6", runs({**GAP, "LB+LR": around(4.0)})).evidence
    assert "LB+LR − LB: +1.00 points [+0.77, +1.23] (n = 3 and 3)" in evidence
    assert "gap SB − LB: +3.00 points [+2.77, +3.23] (n = 3 and 3)" in evidence


@pytest.mark.parametrize(
    ("adapted", "expected"),
    [(1.5, REPRODUCED), (2.0, REPRODUCED), (2.3, REPRODUCED), (2.5, INCONCLUSIVE), (3.0, NOT)],
)
def test_c8_is_non_inferiority_by_a_fifth_of_the_gap(adapted: float, expected: str) -> None:
    """The gap is 3, the half-width 0.227: a mean error 0.3 above SB's still clears −0.6, one 0.5 above straddles it."""
    assert judged("C8", runs({**GAP, "LB+LR+GBN+RA": around(adapted)})).verdict == expected


def test_c8_tells_what_the_small_batch_reaches_with_twice_the_epochs(monkeypatch) -> None:
    history = runs({**GAP, "LB+LR+GBN+RA": around(2.0)})
    assert "twice the epochs" not in judged("C8", history).evidence
    monkeypatch.setattr("gbnlib.claims.verdict.doubled_history", lambda *_: runs({"SB": around(1.5)}))
    assert judged("C8", history).evidence.endswith("; SB with twice the epochs: 98.50 [98.25, 98.75] (n = 3)")


@pytest.mark.parametrize(
    ("noisy", "expected"),
    [(around(4.0), REPRODUCED), (around(4.2), REPRODUCED), (around(4.4), INCONCLUSIVE), (around(6.0), NOT)],
)
def test_c10_is_equivalence_within_the_margin(noisy, expected) -> None:
    """A gap of 1, half-width 0.227: a difference of 0.2 stays inside ±0.5, one of 0.4 straddles it."""
    gap = {"SB": around(4.0), "LB": around(5.0)}
    verdict = judged("C10", runs({**gap, "LB+LR": around(4.0), "LB+noise": noisy}))
    assert verdict.verdict == expected and "LB+noise − LB+LR" in verdict.evidence
    assert verdict.evidence.endswith("; alike means within ±0.50 points")
    assert judged("C10", runs({"LB+LR": around(4.0)})).verdict == NOT_TESTED
    assert "(remembered, not verified" in verdict.clause and "remembered" not in judged("C6", runs(GAP)).clause


def test_without_a_gap_there_is_nothing_to_close() -> None:
    history = runs({"SB": around(5.0), "LB": around(5.0), "LB+LR": around(3.0)})
    verdict = judged("C6", history)
    assert verdict.verdict == INCONCLUSIVE and "not shown to be above zero" in verdict.evidence


@pytest.mark.parametrize("seeds", [1, 2])
def test_under_three_seeds_nothing_is_decided(seeds: int) -> None:
    history = runs({name: values[:seeds] for name, values in {**GAP, "LB+LR": around(4.0, 0.001)}.items()})
    verdict = judged("C6", history)
    assert verdict.verdict == INCONCLUSIVE and "takes at least 3" in verdict.evidence


def test_missing_methods_are_named() -> None:
    verdict = judged("C7", runs(GAP))
    assert verdict.verdict == NOT_TESTED and "LB+LR+GBN, LB+LR" in verdict.evidence
    assert judged("C7", pd.DataFrame()).verdict == NOT_TESTED


@pytest.mark.parametrize(("lost", "expected"), [(1, INCONCLUSIVE), (3, NOT)])
def test_a_method_cannot_gain_by_runs_that_diverge(lost: int, expected: str) -> None:
    history = runs({**GAP, "LB+LR": around(4.0)})
    history.loc[history.run.isin([f"LB+LR-{seed}" for seed in range(lost)]), "status"] = "diverged"
    verdict = judged("C6", history)
    assert verdict.n == 3 and verdict.verdict == expected
    assert f"diverged, and counted with the accuracy of guessing: {lost} of 3 runs of LB+LR" in verdict.evidence


def test_a_small_difference_of_the_paper_is_said_not_to_be_testable_with_so_few_seeds() -> None:
    """Variances of 0.25 each: (1.96 + 0.84)² · 0.5 / 0.05² is 1,570 seeds for the paper's +0.05 points of C7 on F1."""
    close = runs({**GAP, "LB+LR": around(4.0, 0.5), "LB+LR+GBN": around(4.0, 0.5)})
    evidence = judged("C7", close).evidence
    assert "not testable on this row: the paper's +0.05 points would take about 1570 seeds a method" in evidence
    assert "standard error of 1,000 test images: 0.44 points" in evidence  # √(0.98 · 0.02 / 1000)


def test_seeds_for_a_method_that_may_be_worse_are_counted_from_what_it_may_be_worse_by() -> None:
    """C8: a gap of 5 allows 1 point, the paper has +0.26. (1.96 + 0.84)² · 2 · 1.5² / 1.26² is 23 seeds, not 523."""
    close = runs({"SB": around(2.0, 1.5), "LB": around(7.0), "LB+LR+GBN+RA": around(2.0, 1.5)})
    evidence = judged("C8", close).evidence
    assert "; no worse means above −1.00 points" in evidence and "smallest detectable difference" not in evidence
    assert "not testable on this row: the paper's +0.26 points would take about 23 seeds a method" in evidence


def test_a_row_that_has_not_converged_is_not_judged() -> None:
    """At desk ResNet44's training error must lie 10 points under its validation error."""
    history = runs({**GAP, "LB+LR": around(4.0)}).assign(network="resnet44")
    verdict = claims.judge("C6", history, item="table1", scale="desk", network="resnet44", row=ROW)
    assert verdict.verdict == NOT_TESTED and verdict.evidence.startswith("under-trained, not tested: SB's training")
    assert "lies 1.0 points under its validation error, not 10" in verdict.evidence
    memorised = ROW.assign(validation_error=ROW.validation_error + 20)
    assert shortfall("resnet44", "desk", memorised, NONE) == "the run with twice the epochs is missing"
    assert shortfall("f1", "quick", ROW.assign(validation_error=6.0), NONE) == "SB's accuracy is 94.00 %, under 95 %"
    assert shortfall("f1", "paper", ROW[:0], NONE) == "" and "no run" in shortfall("f1", "quick", ROW[:0], NONE)


def test_what_twice_the_epochs_gain_is_told_from_the_spread_of_seeds() -> None:
    """Seed 0 ends at 2 and, doubled, at 1.5: a gain of half a point, whatever the other seeds end at."""
    row = pd.concat([runs({"SB": [2.0, 9.0, 9.5], "LB": [7.0, 7.0, 7.0]}).assign(update=update) for update in (1, 2)])
    row.loc[row["update"] == 1, "validation_error"] = 50.0
    for seeds, gain, n in (({"SB": [1.5]}, 0.5, 1), ({"SB": [1.5, 8.0]}, 0.75, 2), ({}, math.nan, 0)):
        found = doubling_gain(row, runs(seeds))
        assert (found.estimate, found.n) == (pytest.approx(gain, nan_ok=True), (n,))
    memorised, doubled = row.assign(training_error=-10.0), runs({"SB": [-0.25]})
    assert shortfall("resnet44", "desk", memorised, doubled) == "twice the epochs gain 2.25 points, more than 2"


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ({32: around(2), 256: around(3), 1024: around(5)}, REPRODUCED),
        ({32: around(5), 256: around(3), 1024: around(2)}, NOT),
        ({32: around(3, 1.5), 256: around(3, 1.5), 1024: around(3, 1.5)}, INCONCLUSIVE),
        ({32: around(2), 256: around(30), 1024: around(2.9)}, PARTLY),
        ({32: around(2), 128: around(1), 256: around(0.5), 512: around(0.2), 1024: around(2.5)}, PARTLY),
        ({32: around(2)}, NOT_TESTED),
    ],
)
def test_c1_is_a_trend_and_a_difference_of_the_ends(errors: dict, expected: str) -> None:
    assert judged("C1", runs(errors, key="batch_size")).verdict == expected


def test_c1_tells_whether_the_training_error_differs_too() -> None:
    history = runs({32: around(2), 1024: around(5)}, key="batch_size")
    history.loc[history.batch_size == 32, "method"] = "SB"
    told = judged("C1", history.assign(training_error=history.validation_error * 2)).evidence
    assert "training error at 1024 minus SB's: +6.00 [+5.55, +6.45]" in told


def test_c1_tells_no_training_error_where_all_diverged_or_the_largest_batch_is_sb() -> None:
    history = runs({32: around(2), 1024: around(5)}, key="batch_size")
    assert "training error" not in judged("C1", history.assign(status="diverged")).evidence
    history.loc[history.batch_size == 1024, "method"] = "SB"
    assert "training error" not in judged("C1", history).evidence


def test_a_comparison_tells_which_method_was_computed_in_another_precision() -> None:
    history = runs({**GAP, "LB+LR": around(4.0)})
    assert "computed in" not in judged("C6", history).evidence
    history.loc[history.method.isin(["LB+LR", "SB"]), "precision"] = "bf16"
    assert judged("C6", history).evidence.endswith("points; LB+LR computed in bf16")


def test_verdicts_come_back_from_disk_with_the_untested_claims() -> None:
    written = judged("C6", runs({**GAP, "LB+LR": around(4.0)}))
    claims.write_verdicts([written], claims.verdicts_folder("quick"))
    read = claims.read_verdicts("quick")
    assert [verdict.claim for verdict in read] == list(paper.claims())
    assert next(verdict for verdict in read if verdict.claim == "C6") == written
    table = claims.scorecard(read)
    assert len(table) == 13 and table.verdict[5] == "reproduced"
    layout = claims.scorecard_layout(table)
    assert layout.claim[5].startswith("C6: √ scaling") and "(n = 3" in layout.evidence[5]
    assert list(layout) == ["claim", "network and data", "verdict", "evidence", "paper"]


def test_the_summary_names_every_claim_once() -> None:
    history = runs({**GAP, "LB+LR": around(4.0), "LB+LR+GBN": around(6.0)})
    claims.write_verdicts([judged("C6", history), judged("C7", history)], claims.verdicts_folder("quick"))
    text = claims.summary(claims.read_verdicts("quick"))
    assert "**Reproduced**: C6 (√ scaling" in text and "**Not reproduced**: C7" in text
    assert "- **Not tested at this scale**: C1, C2" in text
    assert text.startswith("At scale quick, 2 of 13 claims are tested, with F1 on MNIST digits (5,000, emb")
    assert "one a claim, network and data set: 1 reproduced and 1 not reproduced.\n\n- **R" in text
    another = replace(judged("C6", history), network="c1", network_label="C1", verdict=NOT)
    claims.write_verdicts([another], claims.verdicts_folder("quick"))
    text = claims.summary(claims.read_verdicts("quick"))
    assert "gap at equal epochs; F1 on MNIST digits (5,000, embedded))." in text.split("**Not")[0]
    assert "closes part of the gap at equal epochs; C1 on" in text.split("**Not reproduced**")[1]
    assert claims.summary(claims.read_verdicts("desk")) == "Nothing has been tested at this scale yet."


@pytest.mark.parametrize(
    ("claim", "errors", "least", "most", "published"),
    [
        ("C6", {"LB+LR": around(4.0)}, 0, None, 0.5),
        ("C8", {"LB+LR+GBN+RA": around(2.3)}, -0.6, None, 0.26),
        ("C10", {"LB+LR": around(4.0), "LB+noise": around(4.2)}, -1.5, 1.5, None),
    ],
)
def test_an_effect_is_what_decides_in_the_range_of_the_claim(claim, errors, least, most, published) -> None:
    """The gap is 3, a fifth of it 0.6 and a half 1.5; the paper has 98.27, 97.05, 97.55, 97.60 and 98.53."""
    verdict = judged(claim, runs({**GAP, **errors}))
    effect = verdict.effect
    assert effect.unit == "points" and effect.low < effect.estimate < effect.high
    assert (effect.least, effect.most, effect.paper) == pytest.approx((least, most, published), nan_ok=True)
    inside = (least is None or effect.low > least) and (most is None or effect.high < most)
    assert inside and verdict.verdict == REPRODUCED
    assert f"{effect.estimate:+.2f} points".replace("-", "−") in verdict.evidence


def test_an_effect_of_one_seed_has_no_interval_and_what_is_missing_has_none() -> None:
    alone = judged("C6", runs({**GAP, "LB+LR": [4.0]})).effect
    assert (alone.low, alone.high) == (None, None) and alone.estimate == pytest.approx(1.0)
    assert judged("C6", runs(GAP)).effect is None
