"""The claims beyond the paper, a function each: the history of a study in, a decision out, by `criteria.toml`."""

import math
from collections.abc import Callable
from itertools import pairwise

import pandas as pd

from gbnlib import paper
from gbnlib.analysis import best_rate, stats
from gbnlib.analysis.outcomes import arm_accuracies
from gbnlib.claims.decision import (
    INCONCLUSIVE,
    NOT_TESTED,
    Case,
    Decision,
    by_intervals,
    effect,
    gain_of,
    lacking,
    within,
)
from gbnlib.claims.words import detectable, test_images


def _unfinished(case: Case, *sizes: int) -> Decision | None:
    """That some batches (by default all) lack runs at some of the planned rates, which decides nothing; else None."""
    vary = paper.study("best_rate", case.scale).vary
    made = set(zip(case.frame.batch_size, case.frame.rate, strict=True))
    lacking = [size for size in sizes or vary["batch_size"] if any((size, rate) not in made for rate in vary["lr"])]
    words = f"no finished runs at some of the rates at batch {', '.join(map(str, lacking))}"
    return Decision(NOT_TESTED, words) if lacking else None


def b1(case: Case) -> Decision:
    """The best rate grows like the square root of the batch: the exponent, one a seed."""
    if none := _unfinished(case):
        return none
    table = best_rate.best_rates(case.frame)
    found = stats.mean(best_rate.exponents(table, "rate"))
    if math.isnan(found.estimate):
        return Decision(NOT_TESTED, "no seed has all batch sizes")
    margin, at_edge = paper.all_claims()["B1"].margin, int(table.at_edge.sum())
    evidence = f"exponent of the best rate in the batch {found.text()}, where ½ is the √ rule and 1 the linear one"
    evidence += f"; {at_edge} of {len(table)} best rates lie at an end of the grid" if at_edge else ""
    shown = effect("exponent of the best rate; ½ is √", found, least=0.5 - margin, most=0.5 + margin)
    return Decision(within(found, 0.5 - margin, 0.5 + margin), evidence, found.n[0], shown)


def b2(case: Case) -> Decision:
    """Below the knee twice the batch halves the updates: the exponent between the two smallest batches."""
    if none := _unfinished(case):
        return none
    target = paper.study("best_rate", case.scale).target
    reached = best_rate.updates_to_target(case.frame, target)
    sizes = sorted(reached.batch_size.unique())
    if len(sizes) < 2:
        return Decision(NOT_TESTED, f"fewer than two batch sizes reach {target:g} %")
    steps = {pair: stats.mean(best_rate.exponents(reached, "updates", pair)) for pair in pairwise(sizes)}
    small, margin = steps[sizes[0], sizes[1]], paper.all_claims()["B2"].margin
    told = ", ".join(f"{found.text(sign=True)} from {first} to {second}" for (first, second), found in steps.items())
    evidence = f"exponent of the updates to {target:g} % in the batch: {told}"
    behind, ends = reached[reached.batch_size <= sizes[1]], (case.frame.rate.min(), case.frame.rate.max())
    if at_end := int(behind.rate.isin(ends).sum()):
        evidence += f"; {at_end} of the {len(behind)} rates behind the first lie at an end of the grid"
    if early := int(reached.at_first.sum()):
        evidence += f"; {early} of {len(reached)} were there at the first evaluation, or before"
    shown = effect("exponent of updates in the smallest batches", small, least=-1 - margin, most=-1 + margin)
    return Decision(within(small, -1 - margin, -1 + margin), evidence, small.n[0], shown)


def b3(case: Case) -> Decision:
    """With the rate tuned at each batch the gap is under half of that with the small batch's rate, seed by seed."""
    row = paper.recipe(case.scale)
    if none := _unfinished(case, row.small_batch, row.large_batch):
        return none
    chosen = best_rate.chosen_rates(case.frame)
    small, tuned, kept = (
        best_rate.test_errors(case.frame, size, chosen[of])
        for size, of in (
            (row.small_batch, row.small_batch),
            (row.large_batch, row.large_batch),
            (row.large_batch, row.small_batch),
        )
    )
    share = paper.all_claims()["B3"].margin
    tuned_gap, kept_gap = ((tuned - small).dropna(), (kept - small).dropna())
    excess = stats.mean((tuned_gap - share * kept_gap).dropna())
    gaps = [stats.mean(gap) for gap in (tuned_gap, kept_gap)]
    verdict = by_intervals([excess.below(0)], [excess.above(0)]) if gaps[1].above(0) else INCONCLUSIVE
    rates = f"{chosen[row.large_batch]:g} and {chosen[row.small_batch]:g}"
    evidence = (
        f"test error at {row.large_batch} minus at {row.small_batch}: {gaps[0].text('points', sign=True)} with the "
        f"best rate of each ({rates}), {gaps[1].text('points', sign=True)} with the small batch's"
    )
    shown = effect(f"tuned gap minus {share:g} of the untuned", excess, unit="points", most=0)
    return Decision(verdict, evidence, excess.n[0], shown)


def b4(case: Case) -> Decision:
    """The gradient noise scale predicts the knee: log₃ of their ratio, over the seeds of both."""
    if none := _unfinished(case):
        return none
    target = paper.study("best_rate", case.scale).target
    knees = best_rate.knees(best_rate.updates_to_target(case.frame, target))
    scales = case.beside.get("noise_scale", pd.DataFrame())
    if not knees or scales.empty:
        return Decision(NOT_TESTED, "the noise scale is not measured, or no seed reaches the target at three batches")
    scales = scales.groupby("seed").scale.median().tolist()
    logs = [[math.log(value, paper.all_claims()["B4"].margin) for value in values] for values in (scales, knees)]
    ratio = stats.difference(*logs)
    evidence = (
        f"knee {stats.mean(knees).text(digits=0)}, noise scale, the median along training, "
        f"{stats.mean(scales).text(digits=0)}; log₃ of scale over knee {ratio.text(sign=True)}"
    )
    shown = effect("log₃ of noise scale over knee", ratio, least=-1, most=1)
    return Decision(within(ratio, -1, 1), evidence, min(ratio.n), shown)


def b5(case: Case) -> Decision:
    """The linear rate with a warm-up makes the large batch as good as the small one, at equal epochs."""
    return _as_good(case, "B5", "linear rate, warm-up")


def b6(case: Case) -> Decision:
    """The updates do it, not the ghosts: regime adaptation without ghosts is as good as the small batch."""
    return _as_good(case, "B6", "adaptation, no ghosts")


def b9(case: Case) -> Decision:
    """LARS with a warm-up makes the large batch as good as the small one, at equal epochs."""
    return _as_good(case, "B9", "LARS, warm-up")


def b10(case: Case) -> Decision:
    """A growing batch is worth as much as a falling rate, at equal epochs."""
    found = {name: arm_accuracies(case.frame, name) for name in ("growing batch", "SB")}
    if none := lacking(found):
        return none
    more, margin = stats.difference(*found.values()), paper.all_claims()["B10"].margin
    runs = case.frame[case.frame.arm.isin(found)]
    made, before = (int(runs[runs.arm == name]["update"].max()) for name in found)
    evidence = f"growing batch − SB: {more.text('points', sign=True)}, by {made:,} updates in place of {before:,}"
    shown = effect("accuracy of a growing batch minus SB", more, unit="points", least=-margin, most=margin)
    return Decision(within(more, -margin, margin), evidence, min(more.n), shown)


def _as_good(case: Case, claim: str, arm: str) -> Decision:
    """Whether an arm is not inferior to the small batch by more than a share of the gap."""
    found = {name: arm_accuracies(case.frame, name) for name in ("SB", "LB", arm)}
    if none := lacking(found):
        return none
    gap = stats.difference(found["SB"], found["LB"])
    share = paper.all_claims()[claim].margin
    verdict, more = gain_of(found[arm], found["SB"], gap, share)
    evidence = f"{arm} − SB: {more.text('points', sign=True)}; gap SB − LB: {gap.text('points', sign=True)}, of which "
    evidence += f"{share:g} are {share * gap.estimate:.2f}; {test_images(case.frame, found['SB'])}"
    shown = effect(f"accuracy of {arm} minus SB", more, unit="points", least=-share * gap.estimate)
    return Decision(verdict, evidence, min(more.n), shown)


def b7(case: Case) -> Decision:
    """A warm-up makes the √ rate pay more: with it minus without, at equal epochs."""
    found = {name: arm_accuracies(case.frame, name) for name in ("√ rate, warm-up", "√ rate")}
    if none := lacking(found):
        return none
    more = stats.difference(*found.values())
    verdict = by_intervals([more.above(0)], [more.below(0)])
    evidence = f"√ rate with warm-up − without: {more.text('points', sign=True)}" + detectable(verdict, *found.values())
    return Decision(verdict, evidence, min(more.n), effect("gain by warm-up", more, unit="points", least=0))


def b8(case: Case) -> Decision:
    """Small ghosts regularise: accuracy over that of plain BN, each batch with and without crops, by Holm's test."""
    size = int(paper.all_claims()["B8"].margin)
    gains = {}
    for (batch_size, augment), runs in case.frame.groupby(["batch_size", "augment"]):
        found = [arm_accuracies(runs[runs.ghost_size == ghost]) for ghost in (size, 0)]
        if all(found):
            gains[f"batch {batch_size}, {_CROPS[augment]}"] = stats.difference(*found), stats.welch_p(*found)
    if not gains:
        return Decision(NOT_TESTED, f"no finished runs with ghosts of {size} and without ghosts")
    decided = stats.holm([p for _, p in gains.values()], 1 - paper.confidence())
    signed = [gain.estimate if sure else 0.0 for (gain, _), sure in zip(gains.values(), decided, strict=True)]
    verdict = by_intervals([gain > 0 for gain in signed], [gain < 0 for gain in signed])
    told = ", ".join(f"{where} {gain.text('points', sign=True)}, p = {p:.2g}" for where, (gain, p) in gains.items())
    where, (least, _) = min(gains.items(), key=lambda item: item[1][0].low)
    shown = effect(f"accuracy of ghosts of {size} minus plain BN, {where}", least, unit="points", least=0)
    return Decision(
        verdict, f"ghosts of {size} − plain BN: {told}", min(min(each.n) for each, _ in gains.values()), shown
    )


_CROPS = {"official": "with crops and flips", "none": "no crops and flips"}


#: The function of each claim, in their order.
BEYOND: dict[str, Callable[[Case], Decision]] = {
    function.__name__.upper(): function for function in (b1, b2, b3, b4, b5, b6, b7, b8, b9, b10)
}
