"""Verdicts beyond the paper on made-up runs whose answer is plain to see."""

import math

import pandas as pd
import pytest

from gbnlib import claims, paper
from gbnlib.claims.decision import INCONCLUSIVE, NOT, NOT_TESTED, PARTLY, REPRODUCED
from tests.analysis.test_best_rate import run, valleys
from tests.claims.test_verdicts import around

RATES = [0.0125 * 2**power for power in range(8)]
ROW = paper.recipe("quick")


def judged(claim: str, history: pd.DataFrame, **beside: pd.DataFrame) -> claims.Verdict:
    """The verdict at quick scale."""
    return claims.judge(claim, history, item="best_rate", scale="quick", beside=beside)


def arms(errors: dict[str, list[float]]) -> pd.DataFrame:
    """Runs of one look, by arm and the errors of its seeds."""
    parts = [
        run(32, 0.1, seed, [error]).assign(arm=arm, run=f"{arm}-{seed}", ghost_size=0, augment="none")
        for arm, values in errors.items()
        for seed, error in enumerate(values)
    ]
    return pd.concat(parts)


def test_every_claim_beyond_has_a_function_and_is_counted_apart() -> None:
    assert list(claims.BEYOND) == list(paper.claims_beyond())
    assert not set(claims.BEYOND) & set(paper.claims()) and len(paper.claims()) == 13
    beyond = [judged("B1", pd.DataFrame())]
    assert [each.claim for each in claims.completed(beyond, "quick")] == list(paper.claims())
    assert [each.claim for each in claims.completed(beyond, "quick", beyond=True)] == list(paper.claims_beyond())
    assert {each.verdict for each in claims.completed(beyond, "quick", beyond=True)} == {NOT_TESTED}


@pytest.mark.parametrize(("power", "expected"), [(0.5, REPRODUCED), (1.0, NOT), (0.0, NOT), (0.75, INCONCLUSIVE)])
def test_b1_asks_for_the_exponent_of_the_root(power: float, expected: str) -> None:
    """Exponents a little apart by seed: half-width 0.1 × 4.303 / √3 = 0.25 for the last case, else 0.025."""
    spread = 0.1 if expected == INCONCLUSIVE else 0.01
    parts = [
        valleys({size: 0.1 * (size / 32) ** (power + off) for size in (32, 128, 512)}, RATES, seeds=1).assign(seed=seed)
        for seed, off in enumerate((-spread, 0.0, spread))
    ]
    history = pd.concat(parts)
    verdict = judged("B1", history)
    assert verdict.verdict == expected and verdict.n == 3
    partial = judged("B1", history[(history.batch_size != 512) | (history.rate != 0.1)])
    assert partial.verdict == NOT_TESTED and partial.evidence.endswith("at batch 512")
    apart = judged("B1", history[history.seed == history.batch_size.map({32: 0, 128: 1, 512: 2})])
    assert apart.verdict == NOT_TESTED  # the grid is whole, but no seed has it


def falling(updates: dict[int, float]) -> pd.DataFrame:
    """Runs of three seeds that pass 10 % after some updates, 1 % apart by seed, at one of three rates."""
    parts = [run(size, rate, seed, [20.0]) for size in updates for rate in (0.05, 0.2) for seed in range(3)]
    for size, passed in updates.items():
        for seed in range(3):
            made = run(size, 0.1, seed, [20.0, 5.0])
            made["update"] = [0.0, 1.5 * passed * (1 + 0.01 * seed)]  # two thirds of the fall from 20 to 5 is 10
            parts.append(made)
    return pd.concat(parts)


@pytest.mark.parametrize(("ratio", "expected"), [(2.0, REPRODUCED), (1.2, NOT)])
def test_b2_asks_for_half_the_updates_at_twice_the_batch(ratio: float, expected: str) -> None:
    history = falling({32: 1000.0, 128: 1000.0 / ratio**2, 512: 200.0})
    verdict = judged("B2", history)
    assert verdict.verdict == expected and "from 32 to 128" in verdict.evidence
    assert verdict.effect.estimate == pytest.approx(-math.log2(ratio))
    assert judged("B2", history[history.batch_size != 32]).verdict == NOT_TESTED  # another pair is another question


@pytest.mark.parametrize(("tuned", "expected"), [(2.2, REPRODUCED), (4.0, NOT)])
def test_b3_halves_the_gap_by_the_best_rate(tuned: float, expected: str) -> None:
    """The small batch's best rate is 0.1, with test error 2; there the large one has 5, a gap of 3."""
    small, large = ROW.small_batch, ROW.large_batch
    parts = []
    for seed, off in enumerate((-0.05, 0.0, 0.05)):
        parts += [run(small, 0.1, seed, [2.0], test_error=2.0), run(small, 0.2, seed, [3.0], test_error=3.0)]
        parts += [run(large, 0.1, seed, [5.0], test_error=5 + off), run(large, 0.2, seed, [2.5], test_error=tuned)]
        parts += [run(size, 0.05, seed, [9.0]) for size in (small, large)]
    verdict = judged("B3", pd.concat(parts))
    assert verdict.verdict == expected and verdict.n == 3
    assert verdict.effect.estimate == pytest.approx(tuned - 2 - 1.5)


def test_b3_needs_both_batches_of_the_recipe() -> None:
    assert judged("B3", run(ROW.small_batch, 0.1, 0, [2.0])).verdict == NOT_TESTED


@pytest.mark.parametrize(("scale", "expected"), [(250.0, REPRODUCED), (3000.0, NOT)])
def test_b4_compares_the_noise_scale_with_the_knee(scale: float, expected: str) -> None:
    history = falling({size: 50 * (1 + 300 / size) for size in (32, 128, 512)})
    measured = pd.DataFrame([{"seed": seed, "scale": scale * (1 + 0.01 * seed)} for seed in range(3) for _ in range(4)])
    verdict = judged("B4", history, noise_scale=measured)
    assert verdict.verdict == expected and verdict.n == 3
    assert judged("B4", history).verdict == NOT_TESTED


_AS_GOOD = {"B5": "linear rate, warm-up", "B6": "adaptation, no ghosts", "B9": "LARS, warm-up"}


@pytest.mark.parametrize(("claim", "arm"), _AS_GOOD.items())
@pytest.mark.parametrize(("error", "expected"), [(2.0, REPRODUCED), (4.0, NOT)])
def test_b5_b6_and_b9_are_non_inferiority_by_a_fifth_of_the_gap(claim, arm, error, expected) -> None:
    history = arms({"SB": around(2.0), "LB": around(5.0), arm: around(error)})
    assert judged(claim, history).verdict == expected
    assert judged(claim, history[history.arm != arm]).verdict == NOT_TESTED
    level = arms({"SB": around(2.0), "LB": around(2.0), arm: around(error)})
    assert judged(claim, level).verdict == INCONCLUSIVE  # no gap, no question


@pytest.mark.parametrize(("warmed", "expected"), [(3.0, REPRODUCED), (5.0, NOT), (4.05, INCONCLUSIVE)])
def test_b7_is_the_gain_by_a_warmup(warmed: float, expected: str) -> None:
    assert judged("B7", arms({"√ rate": around(4.0), "√ rate, warm-up": around(warmed)})).verdict == expected


@pytest.mark.parametrize(
    ("plain", "cropped", "expected"), [(5.0, 5.0, REPRODUCED), (5.0, 3.0, PARTLY), (3.0, 3.0, NOT)]
)
def test_b8_asks_every_batch_and_augmentation(plain: float, cropped: float, expected: str) -> None:
    """Ghosts of 16 have the error 4."""
    parts = [
        arms({"√ rate": around(error)}).assign(
            ghost_size=ghost, augment=augment, run=lambda t, g=ghost, a=augment: t.run + f"{g}{a}"
        )
        for augment, whole in (("none", plain), ("official", cropped))
        for ghost, error in ((16, 4.0), (0, whole))
    ]
    verdict = judged("B8", pd.concat(parts))
    assert verdict.verdict == expected and "no crops and flips" in verdict.evidence


def test_b8_does_not_count_one_of_four_that_holms_correction_takes_away() -> None:
    """Welch's p of 4.7 against 4 with deviations of 0.2 is 0.013: under 0.05, and over a quarter of it."""
    errors = {("official", 512): 4.0, ("official", 2048): 4.0, ("none", 512): 4.7, ("none", 2048): 4.0}
    parts = [
        arms({"√ rate": [error - 0.2, error, error + 0.2]}).assign(
            ghost_size=ghost, augment=augment, batch_size=size, run=lambda t, k=(ghost, augment, size): t.run + str(k)
        )
        for (augment, size), whole in errors.items()
        for ghost, error in ((16, 4.0), (0, whole))
    ]
    verdict = judged("B8", pd.concat(parts))
    assert "+0.70 points [+0.25, +1.15] (n = 3 and 3), p = 0.013" in verdict.evidence
    assert verdict.verdict == INCONCLUSIVE


@pytest.mark.parametrize(("error", "expected"), [(2.05, REPRODUCED), (2.4, NOT), (1.6, NOT), (2.15, INCONCLUSIVE)])
def test_b10_is_equivalence_of_a_growing_batch_and_a_falling_rate(error: float, expected: str) -> None:
    near = [error + off for off in (-0.02, 0.0, 0.02)]
    verdict = judged("B10", arms({"SB": [1.98, 2.0, 2.02], "LB": around(3.0), "growing batch": near}))
    assert verdict.verdict == expected and "updates in place of" in verdict.evidence
    assert judged("B10", arms({"SB": around(2.0)})).verdict == NOT_TESTED
