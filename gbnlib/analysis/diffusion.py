"""How far the weights move in the high-rate phase, and how far apart the batch sizes are there.

A curve is ‖w_t − w_0‖ of one run against the update t; between two recorded updates it is interpolated in log t.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gbnlib import experiments, paper
from gbnlib.analysis import stats
from gbnlib.analysis.distance_laws import (
    BOX_COX,
    LAWS,
    SKIPPED_SHARE,
    exponent,
    fit,
    fit_laws,
    fitted_range,
    long_enough,
)

#: Distance columns and their labels.
QUANTITIES = {"first": "first tensor", "weights": "all weights", "all": "all parameters"}
#: The methods of Figure 2: one rate for all, and √ rate with ghost batch normalization.
PANELS = {"before": ("SB", "LB"), "after": ("SB", "LB+LR+GBN")}
#: Shares of the phase, left out at its beginning, that are compared.
CUTS = (0.03, 0.1, 0.2)
#: The batches of the paper's Figure 2, 64 to 2048, over its small batch.
PAPER_RATIOS = (0.5, 16.0)


def high_rate_curves(history: pd.DataFrame, distance: pd.DataFrame) -> pd.DataFrame:
    """Distances of the finished runs up to the end of their first phase, which is the column `end` and the last row."""
    if distance.empty:
        return pd.DataFrame(columns=["run", "network", "method", "batch_size", "seed", "update", *QUANTITIES, "end"])
    at_first_rate = history[history.lr == history.groupby("run").lr.transform("first")]
    ends = at_first_rate.groupby("run")["update"].max()
    curves = []
    for run, curve in distance[distance.status == "finished"].groupby("run", sort=False):
        end = ends[run]
        at_end = {name: _interpolated(curve, end, name) for name in ("epoch", *QUANTITIES)}
        last = curve.iloc[:1].assign(update=end, **at_end)
        curves.append(pd.concat([curve[curve["update"] < end], last]).assign(end=end))
    return pd.concat(curves, ignore_index=True)


def _interpolated(curve: pd.DataFrame, updates: ArrayLike, which: str) -> np.ndarray:
    return np.interp(np.log(updates), np.log(curve["update"]), curve[which])


def compare_laws(curves: pd.DataFrame, which: str, last: int = 0) -> pd.DataFrame:
    """The fits at one rate, one row a batch size: λ, which decides, means over seeds, what each law leaves unexplained.

    Seeds with too few points are left out. `b` is the gain per e-fold of updates by the logarithm, `λ` the
    exponent that would be 0 for it.
    """
    table = []
    for batch_size, runs in panel(curves, "before").groupby("batch_size"):
        each = [curve for _, curve in runs.groupby("seed") if long_enough(curve, last)]
        if each:
            ranges = [fitted_range(curve, last) for curve in each]
            fits = [fit_laws(curve, which, last) for curve in each]
            inside = ranges[0]["update"]
            exponents = stats.mean([fit(BOX_COX, rows, which).shape for rows in ranges])
            left = {f"left by {law}, %": 100 * np.mean([1 - found[law].r2 for found in fits]) for law in LAWS}
            row = {"batch size": batch_size, "λ": exponents.text(sign=True)}
            row["updates"] = f"{inside.min()}–{inside.max()}"
            row["b"] = np.mean([found["logarithm"].b for found in fits])
            row["end over ‖w₀‖"] = np.mean([relative_to_start(curve, which) for curve in each])
            table.append(row | left)
    return pd.DataFrame(table)


def compare_cuts(curves: pd.DataFrame) -> pd.DataFrame:
    """λ at the small batch by the share of the phase that is left out at its beginning: a row a share."""
    small = [curve for _, curve in curves[curves.method == "SB"].groupby("seed")] if len(curves) else []
    rows = []
    for skipped in CUTS if small else ():
        found = {
            f"λ, {QUANTITIES[which]}": stats.mean(
                [value for curve in small if not np.isnan(value := exponent(curve, which, skipped))]
            ).text(sign=True)
            for which in ("weights", "first")
        }
        rows.append({"left out, %": f"{100 * skipped:.0f}", **found})
    return pd.DataFrame(rows)


def relative_to_start(curve: pd.DataFrame, which: str) -> float:
    """Distance at the end of the phase over ‖w₀‖, the norm of the same weights at the start."""
    row = curve.iloc[0]
    start = experiments.initial_norms(row.network, row.dataset, int(row.seed), row.initialisation)[which]
    return _interpolated(curve, int(curve.end.iloc[0]), which) / start


def panel(curves: pd.DataFrame, name: str) -> pd.DataFrame:
    """The curves of one of `PANELS`."""
    return curves[curves.method.isin(PANELS[name])]


def comparable(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves of the batch sizes that both panels have, so that a spread is over the same ones before and after.

    All curves where fewer than two sizes are left, as when one panel is not trained yet.
    """
    sizes = set.intersection(*(set(panel(curves, name).batch_size) for name in PANELS))
    return curves[curves.batch_size.isin(sizes)] if len(sizes) > 1 else curves


def of_the_papers_range(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves of the batch sizes that lie as far from the small batch as those of the paper's figure."""
    small = curves[curves.method == "SB"].batch_size
    ratio = curves.batch_size / small.iloc[0] if len(small) else curves.batch_size * float("nan")
    return curves[ratio.between(*PAPER_RATIOS)]


def shared_update(curves: pd.DataFrame) -> int:
    """The last update that the high-rate phases of all batch sizes share; 0 without curves."""
    return int(curves.end.min()) if len(curves) else 0


def distances_at(curves: pd.DataFrame, which: str, update: int = 0) -> pd.DataFrame:
    """The distance at an update, or at the end of each phase: a row a seed, a column a batch size."""
    runs = curves.groupby(["seed", "batch_size"])
    found = {key: _interpolated(curve, update or curve.end.iloc[0], which) for key, curve in runs}
    return pd.Series(found).unstack() if found else pd.DataFrame()


def spread(curves: pd.DataFrame, which: str, updates: Sequence[int]) -> pd.DataFrame:
    """(max − min) / mean over batch sizes of the distance: a row a seed, a column an update, NaN where a size has none.

    Seeds that lack a batch size are left out.
    """
    runs = curves.groupby(["seed", "batch_size"])
    distances = pd.DataFrame({key: _interpolated(curve, updates, which) for key, curve in runs}, index=updates)
    seeds = distances.T.groupby(level=0)
    found = (seeds.max() - seeds.min()) / seeds.mean()
    return found.where(seeds.count() == curves.batch_size.nunique()).dropna(how="all")


def spreads(curves: pd.DataFrame, which: str) -> pd.DataFrame:
    """The spread in % of comparable curves at the updates of the shared range: columns panel, update, seed, spread.

    A panel with fewer than two batch sizes has none.
    """
    curves = comparable(curves)
    updates = np.unique(curves["update"][curves["update"] <= shared_update(curves)])
    rows = [
        (name, update, seed, 100 * found)
        for name in PANELS
        if (part := panel(curves, name)).batch_size.nunique() > 1
        for (update, seed), found in spread(part, which, updates).unstack().dropna().items()
    ]
    return pd.DataFrame(rows, columns=["panel", "update", "seed", "spread"])


def mean_spread(curves: pd.DataFrame, which: str, last: int) -> pd.Series:
    """The spread over batch sizes by seed, averaged over the recorded updates up to `last`, without the beginning."""
    updates = curves["update"][curves["update"].between(SKIPPED_SHARE * last, last)].unique()
    return spread(curves, which, updates).mean(axis=1)


def compare_ends(curves: pd.DataFrame) -> pd.DataFrame:
    """Distance at the end of the high-rate phase at one rate, over that of the small batch: the paper's and ours.

    Rows are ratios of a batch to the small one, so that networks and scales compare.
    """
    facts = paper.published("figure2")
    theirs = {
        c["batch_size"] / facts["small_batch"]: c["distance"][-1] for c in facts["curves"] if c["panel"] == "before"
    }
    ours = {which: _relative_ends(curves, which) for which in ("first", "weights")}
    rows = []
    for ratio in sorted({*theirs, *ours["weights"]}):
        row = {"batch over small batch": ratio, f"paper ({facts['label']})": theirs.get(ratio, np.nan) / theirs[1]}
        row |= {f"here, {QUANTITIES[which]}": ours[which].get(ratio, "–") for which in ours}
        rows.append(row)
    return pd.DataFrame(rows)


def _relative_ends(curves: pd.DataFrame, which: str) -> dict[float, str]:
    """End distances over the small batch's of the same seed, with intervals, by ratio of the batches."""
    small = curves[curves.method == "SB"].batch_size.unique()
    if len(small) == 0:
        return {}
    table = distances_at(panel(curves, "before"), which)
    relative = table.div(table[small[0]], axis=0)
    return {size / small[0]: stats.mean(relative[size].dropna()).text() for size in relative}
