"""Judges: how the runs of an item decide on a claim, each by the criterion that was written down before."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from gbnlib import paper
from gbnlib.analysis import stats
from gbnlib.analysis.outcomes import accuracies, outcomes
from gbnlib.analysis.stats import Interval

VERDICTS = ("reproduced", "partly reproduced", "not reproduced", "inconclusive", "not tested at this scale")
REPRODUCED, PARTLY, NOT, INCONCLUSIVE, NOT_TESTED = VERDICTS

#: A verdict, the evidence in words, and the number of seeds it rests on.
Decision = tuple[str, str, int]


def _judge_trend(history: pd.DataFrame, network: str) -> Decision:
    """C1: slope of error against log2(batch), and largest minus smallest batch."""
    table = outcomes(history).dropna(subset="final_error")
    sizes = sorted(table.batch_size.unique())
    if len(sizes) < 2:
        return NOT_TESTED, "fewer than two batch sizes are finished", 0
    errors = {size: table[table.batch_size == size].final_error.tolist() for size in sizes}
    trend = stats.slope(np.log2(table.batch_size).tolist(), table.final_error.tolist(), paper.confidence())
    ends = stats.difference(errors[sizes[-1]], errors[sizes[0]], paper.confidence())
    evidence = (
        f"error per doubling of the batch: {trend.text('points', sign=True)}; error at {sizes[-1]} minus error at "
        f"{sizes[0]}: {ends.text('points', sign=True)}; means from {sizes[0]} to {sizes[-1]}: "
        + ", ".join(f"{np.mean(errors[size]):.2f}" for size in sizes)
    )
    decision = by_signs([trend.above(0), ends.above(0)], [trend.below(0), ends.below(0)])
    if decision == INCONCLUSIVE:
        evidence += detectable(errors[sizes[-1]], errors[sizes[0]])
    return decision, evidence, min(len(values) for values in errors.values())


def _judge_gain(better: str, worse: str, threshold: float = 0.0) -> Callable[[pd.DataFrame, str], Decision]:
    """The judge of a claim that one method is more than `threshold` points better than another, given a gap."""

    def decide(history: pd.DataFrame, network: str) -> Decision:
        needed = {method: accuracies(history, network, method) for method in ("SB", "LB", better, worse)}
        lacking = [method for method, values in needed.items() if not values]
        if lacking:
            return NOT_TESTED, f"no finished runs of {', '.join(lacking)}", 0
        gap = stats.difference(needed["SB"], needed["LB"], paper.confidence())
        gain = stats.difference(needed[better], needed[worse], paper.confidence())
        evidence = f"{better} − {worse}: {gain.text('points', sign=True)}; gap SB − LB: {gap.text('points', sign=True)}"
        decision = _against(gain, threshold) if gap.above(0) else INCONCLUSIVE
        if not gap.above(0):
            evidence += "; the gap is not shown to be above zero, which the criterion asks for first"
        elif decision == INCONCLUSIVE:
            evidence += detectable(needed[better], needed[worse])
        return decision, evidence, min(len(values) for values in needed.values())

    return decide


def _judge_equivalence(first: str, second: str, margin: float) -> Callable[[pd.DataFrame, str], Decision]:
    """The judge of a claim that two methods differ by less than a margin."""

    def decide(history: pd.DataFrame, network: str) -> Decision:
        values = {method: accuracies(history, network, method) for method in (first, second)}
        lacking = [method for method, found in values.items() if not found]
        if lacking:
            return NOT_TESTED, f"no finished runs of {', '.join(lacking)}", 0
        interval = stats.difference(*values.values(), paper.confidence())
        evidence = f"{first} − {second}: {interval.text('points', sign=True)}"
        if interval.above(-margin) and interval.below(margin):
            return REPRODUCED, evidence, min(interval.n)
        if interval.above(margin) or interval.below(-margin):
            return NOT, evidence, min(interval.n)
        return INCONCLUSIVE, evidence + detectable(*values.values()), min(interval.n)

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


#: The judge of each claim that runs decide: from their history and the network to a decision.
JUDGES: dict[str, Callable[[pd.DataFrame, str], Decision]] = {
    "C1": _judge_trend,
    "C6": _judge_gain("LB+LR", "LB"),
    "C7": _judge_gain("LB+LR+GBN", "LB+LR"),
    "C8": _judge_gain("LB+LR+GBN+RA", "SB", -paper.claims()["C8"].margin),
    "C10": _judge_equivalence("LB+noise", "LB+LR", paper.claims()["C10"].margin),
}
