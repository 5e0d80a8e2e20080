"""Figure 3: errors at equal places of the regime, and what staying longer at the high rate is worth.

A place is counted in epochs of the small batch's regime: an adapted run, whose epochs are stretched by the ratio of the
batches, is at the place epoch · M_S / M_L. So its drops fall where those of the small batch do, although its updates
differ by a few per cent.
"""

import pandas as pd

from gbnlib import paper
from gbnlib.analysis import stats

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
