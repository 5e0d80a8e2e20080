"""What a claim is judged on, what comes of it, and how intervals decide."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pandas as pd

from gbnlib.analysis import stats
from gbnlib.analysis.outcomes import accuracies
from gbnlib.analysis.stats import Interval

VERDICTS = ("reproduced", "partly reproduced", "not reproduced", "inconclusive", "not tested at this scale")
REPRODUCED, PARTLY, NOT, INCONCLUSIVE, NOT_TESTED = VERDICTS


@dataclass(frozen=True)
class Case:
    """The tidy frames that a claim is judged on, all of one network.

    frame : what the claim asks about: a history, high-rate curves, or a measurement; it may lack what it needs.
    row : the history of SB and LB in the network's row of the tables.
    beside : frames that the evidence tells of, or that a claim beyond the paper compares with.
    scale : where they are from.
    doubled : the history of that row's small batch with twice the epochs.
    """

    frame: pd.DataFrame
    row: pd.DataFrame = field(default_factory=pd.DataFrame)
    beside: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    scale: str = ""
    doubled: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class Effect:
    """The one number that stands for a decision in a picture, and the range in which the claim sees it.

    what, unit : the number in words.
    estimate, low, high : the number and its 95 % interval; the ends are None where too few seeds allow none.
    least, most : the ends of the claim's range; None is open.
    paper : the same number as the paper has it for this network; None where it has none.
    """

    what: str
    unit: str
    estimate: float
    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None
    paper: float | None = None


def effect(
    what: str,
    found: Interval,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    paper: float | None = None,
) -> Effect | None:
    """The effect of an interval; None where there is no estimate. What is NaN becomes None, for JSON."""
    if math.isnan(found.estimate):
        return None
    known = (None if value is None or math.isnan(value) else value for value in (found.low, found.high, least, most))
    return Effect(what, unit, float(found.estimate), *known, paper)


class Decision(NamedTuple):
    """A verdict, the evidence in words, the number of seeds (or cases of an identity) it rests on, and its effect."""

    verdict: str
    evidence: str
    n: int = 0
    effect: Effect | None = None


def lacking(methods: Mapping[str, Sequence[float]]) -> Decision | None:
    """The decision where methods have no finished runs, or None."""
    names = [method for method, values in methods.items() if not values]
    return Decision(NOT_TESTED, f"no finished runs of {', '.join(names)}") if names else None


def by_intervals(supporting: Sequence[bool], opposing: Sequence[bool]) -> str:
    """The verdict of several intervals: which lie on the claim's side of a threshold, and which on the other."""
    if all(supporting):
        return REPRODUCED
    if any(supporting):
        return PARTLY
    return NOT if any(opposing) else INCONCLUSIVE


def within(interval: Interval, low: float, high: float) -> str:
    """The verdict on equivalence: an interval inside two bounds, outside altogether, or across one of them."""
    if interval.above(low) and interval.below(high):
        return REPRODUCED
    return NOT if interval.above(high) or interval.below(low) else INCONCLUSIVE


def gain_of(better: Sequence[float], worse: Sequence[float], gap: Interval, share: float = 0.0) -> tuple[str, Interval]:
    """The verdict on a method that should be better, or worse by less than a share of the gap; and by how much it is.

    Without a gap there is nothing to decide.
    """
    gain = stats.difference(better, worse)
    decided = by_intervals([gain.above(-share * gap.estimate)], [gain.below(-share * gap.estimate)])
    return (decided if gap.above(0) else INCONCLUSIVE), gain


def gap_of(history: pd.DataFrame) -> Interval:
    """SB − LB, in points of final validation accuracy."""
    return stats.difference(accuracies(history, "SB"), accuracies(history, "LB"))


def of_both_quantities(decisions: Mapping[str, Decision]) -> Decision:
    """One decision from those on all weights and on the first tensor: one alone is partly.

    The effect is that of the part whose verdict is last in `VERDICTS`, named where the two differ.
    """
    verdicts = {each.verdict for each in decisions.values()}
    told = [
        f"{label}{f' ({each.verdict})' if len(verdicts) > 1 else ''}: {each.evidence}"
        for label, each in decisions.items()
    ]
    mixed = PARTLY if verdicts & {REPRODUCED, PARTLY} else INCONCLUSIVE
    verdict = mixed if len(verdicts) > 1 else verdicts.pop()
    label, least = max(decisions.items(), key=lambda item: VERDICTS.index(item[1].verdict))
    shown = least.effect
    if shown and len(verdicts) > 1:
        shown = replace(shown, what=f"{shown.what}, {label}")
    return Decision(verdict, "; ".join(told), min(each.n for each in decisions.values()), shown)
