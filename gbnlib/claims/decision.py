"""What a claim is judged on, what comes of it, and how intervals decide."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from gbnlib import paper
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
    beside : frames that the evidence tells of, without deciding by them.
    """

    frame: pd.DataFrame
    row: pd.DataFrame = field(default_factory=pd.DataFrame)
    beside: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def gap(self) -> Interval:
        """SB − LB in the row, in points of final validation accuracy."""
        return gap_of(self.row)


class Decision(NamedTuple):
    """A verdict, the evidence in words, and the number of seeds, or of cases of an identity, that it rests on."""

    verdict: str
    evidence: str
    n: int = 0


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


def gap_of(history: pd.DataFrame) -> Interval:
    """SB − LB, in points of final validation accuracy."""
    return stats.difference(accuracies(history, "SB"), accuracies(history, "LB"), paper.confidence())


def told_gap(gap: Interval) -> str:
    """The gap in words, and what follows where there is none."""
    shown = "" if gap.above(0) else ", not shown to be above zero, which the criterion asks for first"
    return f"gap SB − LB: {gap.text('points', sign=True)}{shown}"


def detectable(verdict: str, first: Sequence[float], second: Sequence[float], unit: str = " points") -> str:
    """The words on the smallest difference that as many seeds could have shown, where nothing was decided."""
    size = stats.smallest_detectable_difference(first, second, paper.confidence())
    if verdict != INCONCLUSIVE or math.isnan(size):
        return ""
    return f"; smallest detectable difference: {size:.2f}{unit}"


def of_both_quantities(decisions: Mapping[str, Decision]) -> Decision:
    """One decision from those on all weights and on the first tensor: both for reproduced, one for partly."""
    verdicts = {each.verdict for each in decisions.values()}
    told = [
        f"{label}{f' ({each.verdict})' if len(verdicts) > 1 else ''}: {each.evidence}"
        for label, each in decisions.items()
    ]
    mixed = PARTLY if verdicts & {REPRODUCED, PARTLY} else INCONCLUSIVE
    verdict = mixed if len(verdicts) > 1 else verdicts.pop()
    return Decision(verdict, "; ".join(told), min(each.n for each in decisions.values()))
