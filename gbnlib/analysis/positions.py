"""Figure 3: errors at equal positions of the regime, and what staying longer is worth.

A position is counted in epochs of the small batch's regime: an adapted run, whose epochs are stretched by the ratio of
the batches, is at the position epoch · M_S / M_L. So its drops fall where those of the small batch do, although its
updates differ by a few per cent.
"""

import pandas as pd

from gbnlib import paper
from gbnlib.analysis import stats


def with_positions(history: pd.DataFrame) -> pd.DataFrame:
    """The history of finished runs with `position`, and with `high_rate`, the position where a run's first rate ends.

    A network without its small batch, in whose epochs positions are counted, is left out.
    """
    if history.empty or "SB" not in set(history.method):
        columns = ["run", "network", "method", "batch_size", "seed", "update", "position", "high_rate"]
        return pd.DataFrame(columns=[*columns, "validation_error"])
    small = history[history.method == "SB"].groupby("network").batch_size.first()
    found = history[(history.status == "finished") & history.network.isin(small.index)]
    found = found.assign(position=found.epoch * found.network.map(small) / found.batch_size)
    at_first = found[found.lr == found.groupby("run").lr.transform("first")]
    return found.assign(high_rate=found.run.map(at_first.groupby("run").position.max()))


def one_regime(runs: pd.DataFrame) -> pd.DataFrame:
    """The adapted runs, and the small batch under the same regime."""
    drop = runs[runs.method != "SB"].high_rate.max()
    return runs[runs.high_rate == drop]


def error_after_drop(runs: pd.DataFrame) -> list[float]:
    """Validation error in %, averaged over the looks after the first drop, one number a run."""
    after = runs[runs.position > runs.high_rate]
    return after.groupby("seed").validation_error.mean().tolist()


def error_at(runs: pd.DataFrame, position: float | None = None) -> list[float]:
    """Validation error in % at a position, or at the end, one number a run."""
    chosen = runs if position is None else runs[runs.position == position]
    return chosen.sort_values("position").groupby("seed").validation_error.last().tolist()


def compare_positions(runs: pd.DataFrame) -> pd.DataFrame:
    """Validation error at equal positions of one regime by batch size: a row each, ours with intervals."""
    rows = []
    for (batch_size, method), part in one_regime(runs).groupby(["batch_size", "method"]):
        drop = part.high_rate.iloc[0]
        moments = {
            "before the drop": error_at(part, drop),
            "first look after": error_at(part, part.position[part.position > drop].min()),
            "mean after": error_after_drop(part),
            "end": error_at(part),
        }
        told = {name: stats.mean(values).text() for name, values in moments.items()}
        rows.append({"batch size": batch_size, "method": method, **told})
    return pd.DataFrame(rows)


def published_positions() -> pd.DataFrame:
    """The paper's errors of Figure 3, as they were read off: soon after the drop, and at the end."""
    facts = paper.published("figure3")
    columns = {
        name: [f"{low:.1f}" if low == high else f"{low:.1f}–{high:.1f}" for low, high in facts[key]]
        for name, key in (("after", "after_drop"), ("end", "end"))
    }
    return pd.DataFrame({"batch size (paper)": facts["batch_sizes"], **columns})


def high_rate_lengths(runs: pd.DataFrame) -> pd.DataFrame:
    """The small batch by the length of its high-rate phase: columns high_rate, seed, error there, and final error."""
    small = runs[runs.method == "SB"]
    rows = []
    for (length, seed), run in small.groupby(["high_rate", "seed"]):
        errors = run.set_index("position").validation_error
        rows.append({"high_rate": length, "seed": seed, "plateau": errors[length], "final": errors.iloc[-1]})
    return pd.DataFrame(rows, columns=["high_rate", "seed", "plateau", "final"])


def late_fall(runs: pd.DataFrame, shorter: float, longer: float) -> stats.Interval:
    """How far the error at the high rate falls on after the shorter phase, within the small batch's longer runs.

    Validation error in %, averaged over the second half of the shorter phase, minus that over as many epochs at the end
    of the longer one, with a t interval over seeds.
    """
    runs = runs[(runs.method == "SB") & (runs.high_rate == longer)]
    early, late = (
        runs[(runs.position > end - shorter / 2) & (runs.position <= end)].groupby("seed").validation_error.mean()
        for end in (shorter, longer)
    )
    return stats.mean(early - late)


def compare_minimum(runs: pd.DataFrame) -> pd.DataFrame:
    """Validation error in % where the validation loss is lowest, where stopping early would end, and at the end.

    A row a batch size of one regime, with t intervals over seeds. The position is an epoch of the small batch's, from
    the earliest to the latest over seeds.
    """
    rows = []
    for (batch_size, method), part in one_regime(runs).groupby(["batch_size", "method"]):
        lowest = part.loc[part.groupby("run").validation_loss.idxmin()].set_index("run")
        ends = part.groupby("run").validation_error.last()
        first, last = lowest.position.min(), lowest.position.max()
        rows.append(
            {
                "batch size": batch_size,
                "method": method,
                "position of the lowest loss": f"{first:g}" + (f" to {last:g}" if last > first else ""),
                "of": f"{part.position.max():g}",
                "error there": stats.mean(lowest.validation_error).text(),
                "final error": stats.mean(ends).text(),
                "final minus there": stats.mean(ends - lowest.validation_error).text(sign=True),
            }
        )
    return pd.DataFrame(rows)


def compare_lengths(runs: pd.DataFrame) -> pd.DataFrame:
    """Error at the end of the high-rate phase, and at the end of training, by the length of that phase."""
    rows = []
    for length, part in high_rate_lengths(runs).groupby("high_rate"):
        told = {
            label: stats.mean(part[name]).text()
            for label, name in (("error at their end", "plateau"), ("final error", "final"))
        }
        rows.append({"epochs at the high rate": int(length), **told})
    return pd.DataFrame(rows)
