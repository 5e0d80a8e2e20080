"""Places in the regime, and the verdicts of Figure 3, on made-up runs."""

import pandas as pd
import pytest

from gbnlib import claims
from gbnlib.analysis import positions
from gbnlib.claims.decision import INCONCLUSIVE, NOT, NOT_TESTED, PARTLY, REPRODUCED
from tests.claims.rows import ROW


def run(name: str, method: str, batch_size: int, seed: int, errors: list[float], high_rate: int = 2) -> list[dict]:
    """Looks at the positions 1, 2 …; the rate drops after the position `high_rate`. The small batch is 32."""
    keys = {"run": f"{name}-{seed}", "network": "f1", "dataset": "digits", "method": method}
    keys |= {"batch_size": batch_size, "seed": seed, "status": "finished", "precision": "fp32"}
    looks = enumerate(errors, start=1)
    return [
        keys
        | {"update": p, "epoch": p * batch_size // 32, "lr": 0.1 if p <= high_rate else 0.01, "validation_error": e}
        for p, e in looks
    ]


def history(*groups: tuple) -> pd.DataFrame:
    """Three seeds of each (name, method, batch size, errors, high-rate positions), 0.1 points apart."""
    rows = []
    for name, method, batch_size, errors, *rest in groups:
        for seed in range(3):
            rows += run(name, method, batch_size, seed, [error + 0.1 * seed for error in errors], *rest)
    return pd.DataFrame(rows)


def judged(claim: str, runs: pd.DataFrame) -> str:
    """The verdict on a claim."""
    return claims.judge(claim, runs, item="figure3", scale="quick", row=ROW).verdict


SMALL = ("small", "SB", 32, [9, 8, 4, 3])
LONGER = ("longer", "SB", 32, [9, 8, 8, 8, 3, 2], 4)
ADAPTED = "LB+LR+GBN+RA"


def test_drops_of_all_batches_are_at_one_position() -> None:
    found = positions.with_positions(history(SMALL, ("large", ADAPTED, 1024, [9, 7, 4, 3]), LONGER))
    assert set(found[found.run == "large-0"].position) == {1, 2, 3, 4}
    assert found.groupby("run").high_rate.first().to_dict() == {
        f"{name}-{seed}": position
        for name, position in (("small", 2), ("large", 2), ("longer", 4))
        for seed in range(3)
    }
    assert set(positions.one_regime(found).run.str[:-2]) == {"small", "large"}


def test_stopping_at_the_lowest_loss_is_held_against_the_end() -> None:
    """SB's loss is lowest at position 3, in seed 2 at 4: errors there are 6, 6.1 and 4.2, at the end 4 to 4.2."""
    runs = positions.with_positions(history(("small", "SB", 32, [9, 8, 6, 4]), ("large", ADAPTED, 64, [9, 7, 5, 3])))
    losses = [3.0, 2.0, 1.0, 1.5] * 2 + [3.0, 2.0, 1.0, 0.5] + [1.0, 2.0, 3.0, 4.0] * 3
    small, large = positions.compare_minimum(runs.assign(validation_loss=losses)).to_dict("records")
    assert (small["position of the lowest loss"], small["of"]) == ("3 to 4", "4")
    assert small["error there"].startswith("5.43 ") and small["final error"].startswith("4.10 ")
    assert small["final minus there"].startswith("−1.33 ")  # of −2, −2 and 0
    assert large["position of the lowest loss"] == "1" and large["final minus there"].startswith("−6.00 ")


def test_errors_are_those_of_their_moments() -> None:
    """After the drop the small batch has 4 and 3, and seed s adds s tenths."""
    small = positions.with_positions(history(SMALL))
    assert positions.error_after_drop(small) == pytest.approx([3.5, 3.6, 3.7])
    assert positions.error_at(small, 2) == pytest.approx([8, 8.1, 8.2]) and positions.error_at(small)[0] == 3
    table = positions.compare_positions(positions.with_positions(history(SMALL, ("large", ADAPTED, 64, [9, 7, 4, 3]))))
    assert table["before the drop"].str[:4].tolist() == ["8.10", "7.10"]


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (([4, 3], [4, 3]), REPRODUCED),
        (([1, 1], [2, 2]), REPRODUCED),
        (([4, 3], [5, 5]), PARTLY),
        (([4.2, 3.2], [4.2, 3.2]), INCONCLUSIVE),
        (([5, 5], [5, 5]), NOT),
    ],
)
def test_c9_is_non_inferiority_after_the_drop(errors: tuple, expected: str) -> None:
    """A fifth of a gap of 1.5 is 0.3, the half-width 0.227: equal errors stay below, those 0.2 higher straddle it."""
    groups = [(f"b{size}", ADAPTED, size, [9, 8, *after]) for size, after in zip((256, 1024), errors, strict=True)]
    assert judged("C9", history(SMALL, *groups, LONGER)) == expected


@pytest.mark.parametrize(
    ("longer", "expected"),
    [
        ([9, 8, 8, 8, 3, 2], REPRODUCED),
        ([9, 8, 8, 8, 5, 4], NOT),
        ([9, 8, 8, 8, 4, 3], INCONCLUSIVE),
        ([9, 8, 7, 6, 3, 2], INCONCLUSIVE),
    ],
    ids=["better", "worse", "equal", "no plateau"],
)
def test_c11_is_the_final_error_once_the_plateau_is_reached(longer: list[float], expected: str) -> None:
    runs = history(SMALL, ("longer", "SB", 32, longer, 4))
    assert judged("C11", runs) == expected
    verdict, no_plateau = claims.judge("C11", runs, item="figure3", scale="quick", row=ROW), longer[3] == 6
    assert ("the shorter ends before the plateau" in verdict.evidence) == no_plateau
    assert verdict.effect.what.startswith("fall of the error" if no_plateau else "final error")


def test_a_plateau_that_is_not_shown_decides_nothing() -> None:
    """The fall after position 2 is 0, 1 and −1 points by seed: its interval reaches beyond the margin on both sides."""
    runs = history(SMALL, LONGER)
    last = (runs.run.str.startswith("longer")) & (runs["update"] == 4)
    runs.loc[last, "validation_error"] -= runs.seed[last].map({0: 0.0, 1: 1.0, 2: -1.0})
    assert judged("C11", runs) == INCONCLUSIVE
    assert "a plateau is not shown" in claims.judge("C11", runs, item="figure3", scale="quick", row=ROW).evidence


def test_the_late_fall_is_within_the_longer_runs() -> None:
    """Places 3 and 4 of 4 against 7 and 8 of 8: 6 + 4 over two minus 3 + 2 over two, whatever the shorter runs did."""
    longer = history(("longer", "SB", 32, [9, 8, 6, 4, 5, 4, 3, 2, 1], 8), ("short", "SB", 32, [9, 9, 9, 9, 1], 4))
    fall = positions.late_fall(positions.with_positions(longer), 4, 8)
    assert (fall.estimate, fall.low, fall.high) == pytest.approx((2.5, 2.5, 2.5))


def test_each_network_has_its_own_places_and_its_own_verdicts() -> None:
    """A second network, whose small batch is 128, leaves positions and verdicts of the first as they are."""
    first = history(SMALL, ("large", ADAPTED, 1024, [9, 8, 4, 3]), LONGER)
    second = history(("SMALL", "SB", 32, [9, 8, 7, 6]), ("LARGE", ADAPTED, 256, [9, 8, 9, 9]), ("L", *LONGER[1:]))
    second = second.assign(network="resnet44", batch_size=4 * second.batch_size)
    both = pd.concat([second, first], ignore_index=True)
    for network, alone in (("f1", first), ("resnet44", second)):
        assert positions.with_positions(both).query("network == @network").position.tolist() == alone["update"].tolist()
        for claim in ("C9", "C11"):
            found, expected = (
                claims.judge(claim, runs, item="figure3", scale="paper", network=network, row=ROW)
                for runs in (both, alone)
            )
            assert found == expected and set(found.runs) == set(alone.run)
    assert judged("C9", both) == REPRODUCED
    assert claims.judge("C9", both, item="figure3", scale="paper", network="resnet44", row=ROW).verdict == NOT


def test_a_network_without_its_small_batch_has_no_places() -> None:
    large = history(("large", ADAPTED, 1024, [9, 8, 4, 3])).assign(network="resnet44")
    found = positions.with_positions(pd.concat([history(SMALL), large], ignore_index=True))
    assert set(found.network) == {"f1"} and set(found.position) == {1, 2, 3, 4}


def test_without_runs_nothing_is_tested() -> None:
    assert judged("C9", history(SMALL)) == judged("C11", history(SMALL)) == NOT_TESTED
    assert positions.with_positions(pd.DataFrame(columns=["method"])).empty
    assert positions.compare_lengths(positions.with_positions(pd.DataFrame())).empty


def test_the_papers_errors_are_ranges_as_read_off() -> None:
    assert positions.published_positions().after.tolist() == ["7.6–7.8", "7.6", "7.0"]
