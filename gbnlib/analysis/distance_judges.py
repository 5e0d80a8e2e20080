"""Judges of the claims on the distance of the weights: C2, C3 and C4, from curves of the high-rate phase."""

import math
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
    Judge,
    by_signs,
)

#: Whose distance is judged: both for "reproduced", one for "partly reproduced".
JUDGED = ("weights", "first")


def _for_each_quantity(decide: Callable[[pd.DataFrame, str], Decision]) -> Judge:
    """The judge that asks the same of all weights and of the first tensor."""

    def judge(curves: pd.DataFrame, row: pd.DataFrame) -> Decision:
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
    """C2: the exponent that is 0 for a logarithm, and which law predicts the later updates, at the small batch."""
    each = [curve for _, curve in curves[curves.method == "SB"].groupby("seed") if diffusion.long_enough(curve)]
    if not each:
        return NOT_TESTED, f"no small-batch run with {2 * diffusion.FEWEST_POINTS} points in its high-rate phase", 0
    margin = paper.claims()["C2"].margin
    exponents = stats.mean([diffusion.exponent(curve, which) for curve in each], paper.confidence())
    ratio = stats.mean([diffusion.rivals_error(curve, which) for curve in each], paper.confidence())
    slope = np.mean([diffusion.fit_laws(curve, which)["logarithm"].b for curve in each])
    evidence = (
        f"exponent λ {exponents.text(sign=True)}, where 0 ± {margin} counts as a logarithm; prediction error of the "
        f"better rival over the logarithm's {ratio.text()}; b = {slope:.2f}"
    )
    within = exponents.above(-margin) and exponents.below(margin)
    outside = exponents.above(margin) or exponents.below(-margin)
    decision = by_signs([within, ratio.above(1)], [outside and ratio.below(1)])
    return decision, evidence, len(each)


def _judge_reach(curves: pd.DataFrame, which: str) -> Decision:
    """C3: largest minus smallest batch at one rate, at the ends of their phases and at equal updates."""
    runs = diffusion.panel(curves, "before")
    ends = diffusion.distances_at(runs, which)
    if ends.shape[1] < 2:
        return NOT_TESTED, "fewer than two batch sizes are finished", 0
    last = diffusion.shared_update(runs)
    at_end, at_equal = (_largest_minus_smallest(table) for table in (ends, diffusion.distances_at(runs, which, last)))
    evidence = (
        f"largest minus smallest batch, at the ends {at_end.text(sign=True)}, at update {last:,} "
        f"{at_equal.text(sign=True)}"
    )
    n = int(ends.count().min())
    if at_end.above(0) or math.isnan(at_end.low):
        return (NOT if at_end.above(0) else INCONCLUSIVE), evidence, n
    return by_signs([at_end.below(0), at_equal.below(0)], []), evidence, n


def _largest_minus_smallest(table: pd.DataFrame) -> stats.Interval:
    """The distance of the largest batch minus that of the smallest, from a table with a column a batch size."""
    largest, smallest = (table[size].dropna().tolist() for size in (table.columns.max(), table.columns.min()))
    return stats.difference(largest, smallest, paper.confidence())


def _judge_collapse(curves: pd.DataFrame, which: str) -> Decision:
    """C4: the mean spread over batch sizes after √ rate and ghost batch normalization over that before."""
    curves = diffusion.of_the_papers_range(curves)
    if curves.groupby("method").ngroups < 3:
        return NOT_TESTED, "not all methods are finished", 0
    curves = diffusion.comparable(curves)
    last = diffusion.shared_update(curves)
    before, after = (diffusion.mean_spread(diffusion.panel(curves, name), which, last) for name in diffusion.PANELS)
    ratio = stats.mean((after / before).dropna(), paper.confidence())
    sizes = sorted(curves.batch_size.unique())
    evidence = (
        f"mean spread of {len(sizes)} batch sizes, {sizes[0]} to {sizes[-1]}, over the updates up to {last:,}: "
        f"{100 * before.mean():.0f} % before and {100 * after.mean():.0f} % after, ratio {ratio.text()}"
    )
    return _halved(ratio), evidence, ratio.n[0]


def _halved(ratio: stats.Interval) -> str:
    """What the ratio of the spreads decides."""
    if ratio.below(0.5):
        return REPRODUCED
    if ratio.below(1):
        return PARTLY
    return NOT if ratio.above(1) else INCONCLUSIVE


#: The judge of each claim, from the frame of `diffusion.high_rate_curves`.
JUDGES = {
    "C2": _for_each_quantity(_judge_law),
    "C3": _for_each_quantity(_judge_reach),
    "C4": _for_each_quantity(_judge_collapse),
}
