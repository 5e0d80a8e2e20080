"""Figure 3: errors at equal places of the regime, and what staying longer at the high rate is worth.

A place is counted in epochs of the small batch's regime: an adapted run, whose epochs are stretched by the ratio of the
batches, is at the place epoch · M_S / M_L. So its drops fall where those of the small batch do, although its updates
differ by a few per cent.
"""

import pandas as pd

from gbnlib import paper
from gbnlib.analysis import stats
from gbnlib.analysis.judges import (
    INCONCLUSIVE,
    NOT_TESTED,
    Decision,
    by_signs,
    detectable,
    gap_of,
    told_gap,
)
from gbnlib.analysis.outcomes import outcomes

_ADDED = ("place", "high_rate")


def with_places(history: pd.DataFrame) -> pd.DataFrame:
    """The history of finished runs with `place`, and with `high_rate`, the place where a run's first rate ends.

    A network without its small batch, in whose epochs places are counted, is left out.
    """
    if history.empty or "SB" not in set(history.method):
        columns = ["run", "network", "method", "batch_size", "seed", "update", *_ADDED, "validation_error"]
        return pd.DataFrame(columns=columns)
    small = history[history.method == "SB"].groupby("network").batch_size.first()
    found = history[(history.status == "finished") & history.network.isin(small.index)]
    found = found.assign(place=found.epoch * found.network.map(small) / found.batch_size)
    at_first = found[found.lr == found.groupby("run").lr.transform("first")]
    return found.assign(high_rate=found.run.map(at_first.groupby("run").place.max()))


def one_regime(places: pd.DataFrame) -> pd.DataFrame:
    """The adapted runs, and the small batch under the same regime."""
    drop = places[places.method != "SB"].high_rate.max()
    return places[places.high_rate == drop]


def error_after_drop(runs: pd.DataFrame) -> list[float]:
    """Validation error in %, averaged over the looks after the first drop, one number a run."""
    after = runs[runs.place > runs.high_rate]
    return after.groupby("seed").validation_error.mean().tolist()


def error_at(runs: pd.DataFrame, place: float | None = None) -> list[float]:
    """Validation error in % at a place, or at the end, one number a run."""
    chosen = runs if place is None else runs[runs.place == place]
    return chosen.sort_values("place").groupby("seed").validation_error.last().tolist()


def compare_places(places: pd.DataFrame) -> pd.DataFrame:
    """Validation error at equal places of one regime by batch size: a row each, ours with intervals."""
    rows = []
    for (batch_size, method), runs in one_regime(places).groupby(["batch_size", "method"]):
        drop = runs.high_rate.iloc[0]
        moments = {
            "before the drop": error_at(runs, drop),
            "first look after": error_at(runs, runs.place[runs.place > drop].min()),
            "mean after": error_after_drop(runs),
            "end": error_at(runs),
        }
        told = {name: stats.mean(values, paper.confidence()).text() for name, values in moments.items()}
        rows.append({"batch size": batch_size, "method": method, **told})
    return pd.DataFrame(rows)


def published_places() -> pd.DataFrame:
    """The paper's errors of Figure 3, as they were read off: soon after the drop, and at the end."""
    facts = paper.published("figure3")
    columns = {name: [_span(*ends) for ends in facts[key]] for name, key in (("after", "after_drop"), ("end", "end"))}
    return pd.DataFrame({"batch size (paper)": facts["batch_sizes"], **columns})


def _span(low: float, high: float) -> str:
    """A range as it was read off, or the one number."""
    return f"{low:.1f}" if low == high else f"{low:.1f}–{high:.1f}"


def patience(places: pd.DataFrame) -> pd.DataFrame:
    """The small batch by the length of its high-rate phase: columns high_rate, seed, error there, and final error."""
    small = places[places.method == "SB"]
    rows = []
    for (length, seed), run in small.groupby(["high_rate", "seed"]):
        errors = run.set_index("place").validation_error
        rows.append({"high_rate": length, "seed": seed, "plateau": errors[length], "final": errors.iloc[-1]})
    return pd.DataFrame(rows, columns=["high_rate", "seed", "plateau", "final"])


def late_fall(places: pd.DataFrame, shorter: float, longer: float) -> stats.Interval:
    """How far the error at the high rate falls on after the shorter phase, within the small batch's longer runs.

    Validation error in %, averaged over the second half of the shorter phase, minus that over as many epochs at the end
    of the longer one, with a t interval over seeds.
    """
    runs = places[(places.method == "SB") & (places.high_rate == longer)]
    early, late = (
        runs[(runs.place > end - shorter / 2) & (runs.place <= end)].groupby("seed").validation_error.mean()
        for end in (shorter, longer)
    )
    return stats.mean(early - late, paper.confidence())


def compare_patience(places: pd.DataFrame) -> pd.DataFrame:
    """Error at the end of the high-rate phase, and at the end of training, by the length of that phase."""
    rows = []
    for length, runs in patience(places).groupby("high_rate"):
        told = {name: stats.mean(runs[name], paper.confidence()).text() for name in ("plateau", "final")}
        row = {"epochs at the high rate": int(length), "error at their end": told["plateau"]}
        rows.append({**row, "final error": told["final"]})
    return pd.DataFrame(rows)


def _judge_places(history: pd.DataFrame, row: pd.DataFrame) -> Decision:
    """C9: adapted batches minus the small one, in error averaged over the looks after the drop."""
    runs = one_regime(with_places(history))
    small = error_after_drop(runs[runs.method == "SB"])
    adapted = {size: error_after_drop(part) for size, part in runs[runs.method != "SB"].groupby("batch_size")}
    if not small or not adapted:
        return NOT_TESTED, "no finished runs of the small batch or of an adapted one", 0
    failed = outcomes(history).query("status == 'diverged' and method != 'SB'")
    for size, part in failed.groupby("batch_size"):
        adapted[size] = [*adapted.get(size, []), *part.final_error]
    found = {size: stats.difference(values, small, paper.confidence()) for size, values in sorted(adapted.items())}
    told = ", ".join(f"{size} minus small {each.text('points', sign=True)}" for size, each in found.items())
    gap = gap_of(row)
    evidence, n = f"error after the drop: {told}; {told_gap(gap)}", min(min(each.n) for each in found.values())
    if not gap.above(0):
        return INCONCLUSIVE, evidence, n
    margin = paper.claims()["C9"].margin * gap.estimate
    supporting = [each.below(margin) for each in found.values()]
    return by_signs(supporting, [each.above(margin) for each in found.values()]), evidence, n


def _judge_patience(history: pd.DataFrame, row: pd.DataFrame) -> Decision:
    """C11: final error after the shorter of the two longest high-rate phases minus that after the longer."""
    table = patience(with_places(history))
    lengths = sorted(table.high_rate.unique())[-2:]
    if len(lengths) < 2:
        return NOT_TESTED, "fewer than two lengths of the high-rate phase are finished", 0
    left, stayed = (table[table.high_rate == length] for length in lengths)
    gain = stats.difference(left.final, stayed.final, paper.confidence())
    fall = late_fall(with_places(history), *lengths)
    gap = gap_of(row)
    evidence = (
        f"final error after {lengths[0]:.0f} minus after {lengths[1]:.0f} epochs at the high rate: "
        f"{gain.text('points', sign=True)}; fall of the error at the high rate between the ends of the two: "
        f"{fall.text('points', sign=True)}; {told_gap(gap)}"
    )
    if not (gap.above(0) and fall.below(paper.claims()["C11"].margin * gap.estimate)):
        known = "the shorter ends before the plateau" if fall.above(0) else "a plateau is not shown"
        return INCONCLUSIVE, f"{evidence}; {known}", min(gain.n)
    decision = by_signs([gain.above(0)], [gain.below(0)])
    if decision == INCONCLUSIVE:
        evidence += detectable(left.final.tolist(), stayed.final.tolist())
    return decision, evidence, min(gain.n)


#: The judges of Figure 3.
JUDGES = {"C9": _judge_places, "C11": _judge_patience}
