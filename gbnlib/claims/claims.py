"""The claims of the paper, a function each: the frames in, a decision out, by the criterion in `criteria.toml`."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from gbnlib import paper
from gbnlib.analysis import diffusion, distance_laws, landscape, positions, stats
from gbnlib.analysis.outcomes import accuracies, outcomes
from gbnlib.claims import words
from gbnlib.claims.decision import (
    INCONCLUSIVE,
    NOT,
    NOT_TESTED,
    PARTLY,
    REPRODUCED,
    Case,
    Decision,
    by_intervals,
    effect,
    gain_of,
    gap_of,
    lacking,
    of_both_quantities,
    within,
)
from gbnlib.claims.identities import IDENTITIES, c12, c13

#: Whose distance C2 to C4 ask about.
_QUANTITIES = {diffusion.QUANTITIES[which]: which for which in ("weights", "first")}


def c1(case: Case) -> Decision:
    """Error grows with batch size: largest minus smallest batch, and a rise from size to size."""
    table = outcomes(case.frame).pivot_table(index="seed", columns="batch_size", values="final_error")
    if table.shape[1] < 2:
        return Decision(NOT_TESTED, "fewer than two batch sizes are finished")
    smallest, *_, largest = table.columns
    found = table[largest].dropna().tolist(), table[smallest].dropna().tolist()
    ends, shared = stats.difference(*found), table.dropna().to_numpy()
    rising = stats.page_trend_p(shared) if min(shared.shape) > 1 and shared.shape[1] > 2 else math.nan
    verdict = by_intervals([ends.above(0), rising < (1 - paper.confidence()) / 2], [ends.below(0)])
    untold = "not tested, fewer than three sizes or two seeds"
    trend = untold if math.isnan(rising) else f"p = {rising:.1g} (Page, one-sided)"
    evidence = (
        f"error at {largest} minus error at {smallest}: {ends.text('points', sign=True)}; "
        f"trend over sizes: {trend}; means from {smallest} to {largest}: "
        + ", ".join(f"{mean:.2f}" for mean in table.mean())
        + words.told_training(case.frame, largest)
    )
    shown = effect(
        f"error at batch {largest} minus at {smallest}",
        ends,
        unit="points",
        least=0,
        paper=words.published_gain(case.frame, "SB", "LB")
        if _ends_are_the_rows(case.frame, smallest, largest)
        else None,
    )
    return Decision(verdict, evidence + words.detectable(verdict, *found), int(table.count().min()), shown)


def _ends_are_the_rows(history: pd.DataFrame, smallest: int, largest: int) -> bool:
    """Whether the two batch sizes are the paper's SB and LB of the network's row in Table 1."""
    row = paper.protocol(history.network.iloc[0])
    return (smallest, largest) == (row.small_batch, row.large_batch)


def c2(case: Case) -> Decision:
    """The distance grows like log t: an exponent that is 0 for it, and which law predicts later updates."""
    small = case.frame[case.frame.method == "SB"]
    each = [curve for _, curve in small.groupby("seed") if distance_laws.long_enough(curve)]
    if not each:
        points = 2 * distance_laws.FEWEST_POINTS
        return Decision(NOT_TESTED, f"no small-batch run with {points} points in its high-rate phase")
    margin = paper.claims()["C2"].margin

    def decide(which: str) -> Decision:
        exponents = stats.mean([distance_laws.exponent(curve, which) for curve in each])
        ratio = stats.mean([distance_laws.rivals_error(curve, which) for curve in each])
        slope = np.mean([distance_laws.fit_laws(curve, which)["logarithm"].b for curve in each])
        near = within(exponents, -margin, margin)
        verdict = by_intervals([near == REPRODUCED, ratio.above(1)], [near == NOT and ratio.below(1)])
        evidence = (
            f"exponent λ {exponents.text(sign=True)}, where 0 ± {margin} counts as a logarithm; prediction error of "
            f"the better rival over the logarithm's {ratio.text()}; b = {slope:.2f}"
        )
        shown = effect("exponent, 0 is log t", exponents, least=-margin, most=margin, paper=0)
        if near == REPRODUCED and verdict != REPRODUCED:
            shown = effect("the better rival's prediction error over the logarithm's", ratio, least=1)
        return Decision(verdict, evidence, len(each), shown)

    return of_both_quantities({label: decide(which) for label, which in _QUANTITIES.items()})


def c3(case: Case) -> Decision:
    """At one rate larger batches get less far: largest minus smallest, at the ends of phases and at equal updates."""
    runs = diffusion.panel(case.frame, "before")
    if runs.batch_size.nunique() < 2:
        return Decision(NOT_TESTED, "fewer than two batch sizes are finished")
    last = diffusion.shared_update(runs)

    def decide(which: str) -> Decision:
        ends, smallest, largest = diffusion.distances_at(runs, which), runs.batch_size.min(), runs.batch_size.max()
        at_end, at_equal = (
            stats.difference(table[largest].dropna(), table[smallest].dropna())
            for table in (ends, diffusion.distances_at(runs, which, last))
        )
        evidence = (
            f"largest minus smallest batch, at the ends {at_end.text(sign=True)}, at update {last:,} "
            f"{at_equal.text(sign=True)}"
        )
        supporting = [at_end.below(0), at_end.below(0) and at_equal.below(0)]
        shown = effect(f"at update {last:,}, largest minus smallest batch", at_equal, most=0)
        return Decision(by_intervals(supporting, [at_end.above(0)]), evidence, int(ends.count().min()), shown)

    return of_both_quantities({label: decide(which) for label, which in _QUANTITIES.items()})


def c4(case: Case) -> Decision:
    """With the remedies the curves coincide: the mean spread over batch sizes after them over that before."""
    curves = diffusion.of_the_papers_range(case.frame)
    if curves.method.nunique() < 3:
        return Decision(NOT_TESTED, "not all methods are finished")
    curves = diffusion.comparable(curves)
    last, sizes = diffusion.shared_update(curves), sorted(curves.batch_size.unique())

    def decide(which: str) -> Decision:
        panels = (diffusion.panel(curves, name) for name in diffusion.PANELS)
        before, after = (diffusion.mean_spread(part, which, last) for part in panels)
        ratio = stats.mean((after / before).dropna())
        smaller = PARTLY if ratio.below(1) else by_intervals([False], [ratio.above(1)])
        evidence = (
            f"mean spread of {len(sizes)} batch sizes, {sizes[0]} to {sizes[-1]}, over the updates up to {last:,}: "
            f"{100 * before.mean():.0f} % before and {100 * after.mean():.0f} % after, ratio {ratio.text()}"
        )
        shown = effect("spread over batches, after ÷ before", ratio, most=0.5)
        return Decision(REPRODUCED if ratio.below(0.5) else smaller, evidence, ratio.n[0], shown)

    return of_both_quantities({label: decide(which) for label, which in _QUANTITIES.items()})


def c5(case: Case) -> Decision:
    """The loss varies linearly with the distance: an exponent near 1. The frame is that of `measure_directions`.

    Beside it: "trajectory", that of a training, "structure", its structure function, and "null", a landscape with
    shuffled labels.
    """
    found, margin = landscape.exponent(case.frame), paper.claims()["C5"].margin
    slope = landscape.per_unit(case.frame)
    gradient = stats.mean(1000 * case.frame.drop_duplicates("seed").slope.dropna())
    evidence = (
        f"exponent {found.text()}, where 1 ± {margin} counts as linear; slope per unit distance, in thousandths, "
        f"{slope.times(1000).text()}, {slope.estimate / landscape.published_slope():.1f} times that of the line "
        f"through the paper's points, and {gradient.text()} by the gradient at the initial point alone; between the "
        f"two largest distances the exponent is {landscape.last_exponent(case.frame).text()}"
    )
    if len(trajectory := case.beside.get("trajectory", pd.DataFrame())):
        evidence += f"; training is past these distances after {landscape.passed_within(trajectory):.0f} updates"
    if len(null := case.beside.get("null", pd.DataFrame())):
        shuffled = landscape.exponent(null)
        evidence += f"; with shuffled labels the exponent is {shuffled.text()}{_below_noise(null, shuffled)}"
    if len(structure := case.beside.get("structure", pd.DataFrame())):
        within_training = landscape.structure_exponent(structure).text()
        evidence += f"; after the first epoch of training its variance goes like distance^α with α {within_training}, "
        evidence += "where the theory has 2"
    evidence += _below_noise(case.frame, found)
    shown = effect("exponent of the loss's standard deviation", found, least=1 - margin, most=1 + margin, paper=1)
    return Decision(within(found, 1 - margin, 1 + margin), evidence, found.n[0], shown)


def _below_noise(frame: pd.DataFrame, found: stats.Interval) -> str:
    """The words on seeds that have no exponent."""
    lost = frame.seed.nunique() - found.n[0]
    return f"; of {lost} seed{'s' * (lost > 1)} an estimate lies below the noise" if lost else ""


def c6(case: Case) -> Decision:
    """The √ rate closes part of the gap: LB+LR − LB."""
    return _gain(case, "LB+LR", "LB")


def c7(case: Case) -> Decision:
    """Ghost batch normalization closes more: LB+LR+GBN − LB+LR."""
    return _gain(case, "LB+LR+GBN", "LB+LR")


def c8(case: Case) -> Decision:
    """Regime adaptation removes the gap: LB+LR+GBN+RA is not worse than SB by more than a share of the gap."""
    found = _gain(case, "LB+LR+GBN+RA", "SB", paper.claims()["C8"].margin)
    doubled = accuracies(case.doubled, "SB")
    told = f"; SB with twice the epochs: {stats.mean(doubled).text()}" if doubled and found.n else ""
    return found._replace(evidence=found.evidence + told)


def _gain(case: Case, better: str, worse: str, share: float = 0.0) -> Decision:
    """Whether one method is better than another, or worse by less than a share of the gap, given that there is one."""
    found = {method: accuracies(case.frame, method) for method in ("SB", "LB", better, worse)}
    if none := lacking(found):
        return none
    gap = gap_of(case.frame)
    verdict, gain = gain_of(found[better], found[worse], gap, share)
    margin = share * gap.estimate
    evidence = f"{better} − {worse}: {gain.text('points', sign=True)}; {words.told_gap(gap)}"
    if margin > 0:
        evidence += f"; no worse means above −{margin:.2f} points"
    if gap.above(0) and verdict == INCONCLUSIVE:
        evidence += "" if share else words.detectable(verdict, found[better], found[worse])
        evidence += words.too_small(case.frame, better, worse, margin)
    shown = effect(
        f"accuracy of {better} minus {worse}",
        gain,
        unit="points",
        least=-margin or 0.0,
        paper=words.published_gain(case.frame, better, worse),
    )
    evidence += f"; {words.test_images(case.frame, found['SB'])}{words.told_precisions(case.frame, better, worse)}"
    return Decision(verdict, evidence, min(map(len, found.values())), shown)


def c9(case: Case) -> Decision:
    """At matched updates the larger batch is no worse: errors after the drop, adapted batches minus the small one."""
    runs = positions.one_regime(positions.with_positions(case.frame))
    small = positions.error_after_drop(runs[runs.method == "SB"])
    adapted = {size: positions.error_after_drop(part) for size, part in runs[runs.method != "SB"].groupby("batch_size")}
    if not small or not adapted:
        return Decision(NOT_TESTED, "no finished runs of the small batch or of an adapted one")
    failed = outcomes(case.frame).query("status == 'diverged' and method != 'SB'")
    for size, part in failed.groupby("batch_size"):
        adapted[size] = [*adapted.get(size, []), *part.final_error]
    found = {size: stats.difference(values, small) for size, values in sorted(adapted.items())}
    told = ", ".join(f"{size} minus small {each.text('points', sign=True)}" for size, each in found.items())
    gap, n = gap_of(case.row), min(min(each.n) for each in found.values())
    margin = paper.claims()["C9"].margin * gap.estimate
    sides = [each.below(margin) for each in found.values()], [each.above(margin) for each in found.values()]
    verdict = by_intervals(*sides) if gap.above(0) else INCONCLUSIVE
    worst = max(found, key=lambda size: found[size].high)
    shown = effect(f"error after the drop, adapted {worst} minus small batch", found[worst], unit="points", most=margin)
    evidence = f"error after the drop: {told}; {words.told_gap(gap)}{words.told_precisions(case.frame, 'LB+LR+GBN+RA')}"
    return Decision(verdict, evidence, n, shown)


def c10(case: Case) -> Decision:
    """Noise on the gradients acts like the √ rate: LB+noise − LB+LR within a share of the gap."""
    found = {method: accuracies(case.frame, method) for method in ("LB+noise", "LB+LR", "SB", "LB")}
    if none := lacking(found):
        return none
    gap = gap_of(case.frame)
    difference = stats.difference(found["LB+noise"], found["LB+LR"])
    margin = paper.claims()["C10"].margin * gap.estimate
    verdict = within(difference, -margin, margin) if gap.above(0) else INCONCLUSIVE
    evidence = f"LB+noise − LB+LR: {difference.text('points', sign=True)}; {words.told_gap(gap)}"
    evidence += f"; alike means within ±{margin:.2f} points" * gap.above(0)
    shown = effect("accuracy of LB+noise minus LB+LR", difference, unit="points", least=-margin, most=margin)
    return Decision(verdict, evidence, min(difference.n), shown)


def c11(case: Case) -> Decision:
    """Staying longer at the high rate pays: of the two longest phases, once the shorter one ends on the plateau."""
    found = positions.with_positions(case.frame)
    table = positions.high_rate_lengths(found)
    lengths = sorted(table.high_rate.unique())[-2:]
    if len(lengths) < 2:
        return Decision(NOT_TESTED, "fewer than two lengths of the high-rate phase are finished")
    left, stayed = (table[table.high_rate == length].final.tolist() for length in lengths)
    gain, fall = stats.difference(left, stayed), positions.late_fall(found, *lengths)
    gap, n = gap_of(case.row), min(len(left), len(stayed))
    evidence = (
        f"final error after {lengths[0]:.0f} minus after {lengths[1]:.0f} epochs at the high rate: "
        f"{gain.text('points', sign=True)}; fall of the error at the high rate between the ends of the two: "
        f"{fall.text('points', sign=True)}; {words.told_gap(gap)}"
    )
    shown = effect("final error after the shorter minus the longer high-rate phase", gain, unit="points", least=0)
    plateau = paper.claims()["C11"].margin * gap.estimate
    if not (gap.above(0) and fall.below(plateau)):
        known = "the shorter ends before the plateau" if fall.above(0) else "a plateau is not shown"
        what = "fall of the error past the shorter high-rate phase, which has to be flat"
        shown = effect(what, fall, unit="points", most=plateau)
        return Decision(INCONCLUSIVE, f"{evidence}; {known}", n, shown)
    verdict = by_intervals([gain.above(0)], [gain.below(0)])
    return Decision(verdict, evidence + words.detectable(verdict, left, stayed), n, shown)


#: The function of each claim, in their order.
CLAIMS: dict[str, Callable[[Case], Decision]] = {
    function.__name__.upper(): function for function in (c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13)
}
#: The claims that runs decide; measurements decide the others.
RUN_CLAIMS = tuple(claim for claim in CLAIMS if claim not in ("C5", *IDENTITIES))
