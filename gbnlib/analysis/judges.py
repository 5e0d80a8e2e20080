"""Judges: how the runs of an item decide on a claim, each by the criterion that was written down before."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from gbnlib import data, paper
from gbnlib.analysis import stats
from gbnlib.analysis.outcomes import accuracies, outcomes
from gbnlib.analysis.stats import Interval

VERDICTS = ("reproduced", "partly reproduced", "not reproduced", "inconclusive", "not tested at this scale")
REPRODUCED, PARTLY, NOT, INCONCLUSIVE, NOT_TESTED = VERDICTS

#: A verdict, the evidence in words, and the number of seeds it rests on.
Decision = tuple[str, str, int]
#: From the frame of an item, and the history of SB and LB in the same row of the tables, to a decision.
Judge = Callable[[pd.DataFrame, pd.DataFrame], Decision]


def _judge_trend(history: pd.DataFrame, row: pd.DataFrame) -> Decision:
    """C1: largest minus smallest batch, and whether the error rises from size to size."""
    table = outcomes(history).pivot_table(index="seed", columns="batch_size", values="final_error")
    if table.shape[1] < 2:
        return NOT_TESTED, "fewer than two batch sizes are finished", 0
    largest, smallest = (table[size].dropna().tolist() for size in (table.columns[-1], table.columns[0]))
    ends = stats.difference(largest, smallest, paper.confidence())
    shared = table.dropna().to_numpy()
    rising = stats.page_trend_p(shared) if min(shared.shape) > 1 and shared.shape[1] > 2 else math.nan
    evidence = (
        f"error at {table.columns[-1]} minus error at {table.columns[0]}: {ends.text('points', sign=True)}; "
        f"trend over sizes: p = {rising:.1g} (Page, one-sided); means from {table.columns[0]} to {table.columns[-1]}: "
        + ", ".join(f"{mean:.2f}" for mean in table.mean())
    )
    trend = rising < (1 - paper.confidence()) / 2
    decision = by_signs([ends.above(0), trend], [ends.below(0)])
    if decision == INCONCLUSIVE:
        evidence += detectable(largest, smallest)
    return decision, evidence, int(table.count().min())


def _judge_gain(better: str, worse: str, margin: float = 0.0) -> Judge:
    """The judge of a claim that one method is better than another by more than minus a share of the gap."""

    def decide(history: pd.DataFrame, row: pd.DataFrame) -> Decision:
        needed = {method: accuracies(history, method) for method in ("SB", "LB", better, worse)}
        if lacking := [method for method, values in needed.items() if not values]:
            return NOT_TESTED, f"no finished runs of {', '.join(lacking)}", 0
        gap = gap_of(history)
        gain = stats.difference(needed[better], needed[worse], paper.confidence())
        evidence = f"{better} − {worse}: {gain.text('points', sign=True)}; {told_gap(gap)}"
        decision = _against(gain, -margin * gap.estimate) if gap.above(0) else INCONCLUSIVE
        if gap.above(0) and decision == INCONCLUSIVE:
            evidence += detectable(needed[better], needed[worse])
            evidence += _too_small(history.network.iloc[0], better, worse, needed)
        return decision, f"{evidence}; {_test_images(history)}", min(len(values) for values in needed.values())

    return decide


def gap_of(history: pd.DataFrame) -> Interval:
    """SB − LB, in points of final validation accuracy."""
    return stats.difference(accuracies(history, "SB"), accuracies(history, "LB"), paper.confidence())


def told_gap(gap: Interval) -> str:
    """The gap in words, and what follows where there is none."""
    shown = "" if gap.above(0) else ", not shown to be above zero, which the criterion asks for first"
    return f"gap SB − LB: {gap.text('points', sign=True)}{shown}"


def _too_small(network: str, better: str, worse: str, found: dict[str, list[float]]) -> str:
    """The words on a published difference that as many seeds as here cannot tell from zero."""
    rows = [row for row in paper.published("table1")["rows"] if row["network"] == network]
    if not rows or min(len(found[better]), len(found[worse])) < 2:
        return ""
    published = dict(zip(paper.METHODS, rows[0]["accuracy"], strict=True))
    true = published[better] - published[worse]
    needed = stats.seeds_needed(found[better], found[worse], true, paper.confidence()) if true > 0 else 0
    if needed <= 4 * len(found[better]):
        return ""
    return f"; not testable on this row: the paper's {true:+.2f} points would take about {needed} seeds a method"


def _test_images(history: pd.DataFrame) -> str:
    """The standard error that the choice of test images alone gives an accuracy of the small batch, in words."""
    small = accuracies(history, "SB")
    images = data.card(history.dataset.iloc[0]).validation
    share = np.mean(small) / 100
    return f"standard error of {images:,} test images: {100 * math.sqrt(share * (1 - share) / images):.2f} points"


def _judge_equivalence(first: str, second: str, share: float) -> Judge:
    """The judge of a claim that two methods differ by less than a share of the gap."""

    def decide(history: pd.DataFrame, row: pd.DataFrame) -> Decision:
        values = {method: accuracies(history, method) for method in (first, second, "SB", "LB")}
        if lacking := [method for method, found in values.items() if not found]:
            return NOT_TESTED, f"no finished runs of {', '.join(lacking)}", 0
        gap = gap_of(history)
        interval = stats.difference(values[first], values[second], paper.confidence())
        evidence = f"{first} − {second}: {interval.text('points', sign=True)}; {told_gap(gap)}"
        margin = share * gap.estimate
        if gap.above(0) and interval.above(-margin) and interval.below(margin):
            return REPRODUCED, evidence, min(interval.n)
        if gap.above(0) and (interval.above(margin) or interval.below(-margin)):
            return NOT, evidence, min(interval.n)
        return INCONCLUSIVE, evidence + detectable(values[first], values[second]), min(interval.n)

    return decide


def _against(interval: Interval, threshold: float) -> str:
    """Which side of a threshold an interval lies on."""
    if interval.above(threshold):
        return REPRODUCED
    return NOT if interval.below(threshold) else INCONCLUSIVE


def by_signs(supporting: Sequence[bool], opposing: Sequence[bool]) -> str:
    """The decision of several intervals: which of them lie on the claim's side of zero, and which on the other."""
    if all(supporting):
        return REPRODUCED
    if any(supporting):
        return PARTLY
    return NOT if any(opposing) else INCONCLUSIVE


def detectable(first: list[float], second: list[float], unit: str = " points") -> str:
    """The words on the smallest difference that as many seeds could have shown."""
    size = stats.smallest_detectable_difference(first, second, paper.confidence())
    return "" if math.isnan(size) else f"; smallest detectable difference: {size:.2f}{unit}"


#: The judge of each claim that runs decide by their errors.
JUDGES: dict[str, Judge] = {
    "C1": _judge_trend,
    "C6": _judge_gain("LB+LR", "LB"),
    "C7": _judge_gain("LB+LR+GBN", "LB+LR"),
    "C8": _judge_gain("LB+LR+GBN+RA", "SB", paper.claims()["C8"].margin),
    "C10": _judge_equivalence("LB+noise", "LB+LR", paper.claims()["C10"].margin),
}
