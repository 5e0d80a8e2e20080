"""Judges of the claims on the distance of the weights: C2, C3 and C4, from curves of the high-rate phase."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from gbnlib import paper
from gbnlib.analysis import diffusion, stats
from gbnlib.analysis.judges import (
    INCONCLUSIVE,
    NOT,
    NOT_TESTED,
    PARTLY,
    REPRODUCED,
    Decision,
    by_signs,
    detectable,
)

#: Whose distance is judged: both for "reproduced", one for "partly reproduced".
JUDGED = ("weights", "first")


def _for_each_quantity(decide: Callable[[pd.DataFrame, str], Decision]) -> Callable[[pd.DataFrame, str], Decision]:
    """The judge that asks the same of all weights and of the first tensor."""

    def judge(curves: pd.DataFrame, network: str) -> Decision:
        found = {which: decide(curves, which) for which in JUDGED}
        decisions = {decision for decision, _, _ in found.values()}
        told = [
            f"{diffusion.QUANTITIES[which]}{f' ({decision})' if len(decisions) > 1 else ''}: {evidence}"
            for which, (decision, evidence, _) in found.items()
        ]
        return _combined(decisions), "; ".join(told), min(n for _, _, n in found.values())

    return judge


def _combined(decisions: set[str]) -> str:
    """One decision from those of the quantities."""
    if len(decisions) == 1:
        return decisions.pop()
    return PARTLY if decisions & {REPRODUCED, PARTLY} else INCONCLUSIVE


def _judge_law(curves: pd.DataFrame, which: str) -> Decision:
    """C2: by how much the logarithm's AIC is below that of the better rival, at the small batch."""
    small = curves[curves.method == "SB"].groupby("seed")
    each = [curve for _, curve in small if diffusion.long_enough(curve)]
    if not each:
        return NOT_TESTED, f"no small-batch run with {diffusion.FEWEST_POINTS} points in its high-rate phase", 0
    slopes = [diffusion.fit_laws(curve, which)["logarithm"].parameters[1] for curve in each]
    lead = stats.mean([diffusion.logarithm_lead(curve, which) for curve in each], paper.confidence())
    evidence = (
        f"AIC of the better rival − AIC of a + b log t: {lead.text(digits=1, sign=True)}, b = {np.mean(slopes):.2f}"
    )
    return by_signs([lead.above(0)], [lead.below(0)]), evidence, len(each)


def _judge_reach(curves: pd.DataFrame, which: str) -> Decision:
    """C3: slope of the end distance against log2(batch), and largest minus smallest batch, at one rate."""
    ends = diffusion.distances_at(diffusion.panel(curves, "before"), which)
    if ends.shape[1] < 2:
        return NOT_TESTED, "fewer than two batch sizes are finished", 0
    long = ends.stack()
    trend = stats.slope(np.log2(long.index.get_level_values(1)), long.tolist(), paper.confidence())
    smallest, largest = (ends[size].dropna().tolist() for size in (ends.columns.min(), ends.columns.max()))
    change = stats.difference(largest, smallest, paper.confidence())
    evidence = f"per doubling of the batch {trend.text(sign=True)}, largest minus smallest {change.text(sign=True)}"
    decision = by_signs([trend.below(0), change.below(0)], [trend.above(0), change.above(0)])
    if decision == INCONCLUSIVE:
        evidence += detectable(largest, smallest, unit="")
    return decision, evidence, int(ends.count().min())


def _judge_collapse(curves: pd.DataFrame, which: str) -> Decision:
    """C4: the spread over batch sizes after √ rate and ghost batch normalization over that before.

    The evidence adds what is left without the batch that stands farthest apart.
    """
    if curves.groupby("method").ngroups < 3:
        return NOT_TESTED, "not all methods are finished", 0
    curves = diffusion.comparable(curves)
    last = diffusion.shared_update(curves)
    ratio, told = _collapse(curves, which, last)
    sizes = curves.batch_size.unique()
    evidence = f"spread of {len(sizes)} batch sizes at update {last:,}: {told}"
    if len(sizes) > 2:
        after = diffusion.panel(curves, "after")
        left = {size: diffusion.spread(after[after.batch_size != size], which, last).mean() for size in sizes}
        apart = min(left, key=left.__getitem__)
        evidence += f" (without batch {apart}: {_collapse(curves[curves.batch_size != apart], which, last)[1]})"
    return _halved(ratio), evidence, ratio.n[0]


def _collapse(curves: pd.DataFrame, which: str, update: int) -> tuple[stats.Interval, str]:
    """The spread after over that before, over seeds, and both in words."""
    before, after = (diffusion.spread(diffusion.panel(curves, name), which, update) for name in diffusion.PANELS)
    ratio = stats.mean((after / before).dropna(), paper.confidence())
    return ratio, f"{100 * before.mean():.0f} % before and {100 * after.mean():.0f} % after, ratio {ratio.text()}"


def _halved(ratio: stats.Interval) -> str:
    """What the ratio of the spreads decides."""
    if ratio.below(0.5):
        return REPRODUCED
    if ratio.below(1):
        return PARTLY
    return NOT if ratio.above(1) else INCONCLUSIVE


#: The judge of each claim, from the frame of `diffusion.high_rate_curves` and the network to a decision.
JUDGES = {
    "C2": _for_each_quantity(_judge_law),
    "C3": _for_each_quantity(_judge_reach),
    "C4": _for_each_quantity(_judge_collapse),
}
