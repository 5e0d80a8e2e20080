"""How far the weights move in the high-rate phase: laws fitted to the distance, and its spread over batch sizes.

A curve is ‖w_t − w_0‖ of one run against the update t. Fits leave out its beginning, where every law fails; a distance
between two recorded updates is interpolated in log t.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import optimize

from gbnlib import experiments, paper
from gbnlib.analysis import stats

#: Distance columns and their labels.
QUANTITIES = {"first": "first tensor", "weights": "all weights", "all": "all parameters"}
#: The methods of Figure 2: one rate for all, and √ rate with ghost batch normalization.
PANELS = {"before": ("SB", "LB"), "after": ("SB", "LB+LR+GBN")}
#: Share of the phase that a fit leaves out at its beginning, shares that are compared, and points that a fit needs.
SKIPPED_SHARE = 0.1
CUTS = (0.03, 0.1, 0.2)
FEWEST_POINTS = 4
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


@dataclass(frozen=True)
class Law:
    """A law a + b f(t; shape), with an offset a that takes up what happens before the fitted range.

    `term` gives f for updates (n,) and a shape; `bounds` say where to seek the shape, for a range of updates.
    """

    formula: str
    term: Callable[[np.ndarray, float], np.ndarray]
    bounds: Callable[[np.ndarray], tuple[float, float]] | None = None


def _box_cox(t: np.ndarray, exponent: float) -> np.ndarray:
    """(t^λ − 1) / λ, which goes to log t for λ → 0."""
    return np.log(t) if abs(exponent) < 1e-6 else np.expm1(exponent * np.log(t)) / exponent


LAWS = {
    "logarithm": Law("a + b log t", lambda t, _: np.log(t)),
    "quarter power": Law("a + b t^¼", lambda t, _: t**0.25),
    "saturation": Law(  # its shape is log c, for c is sought over some orders of magnitude
        "a + b (1 − exp(−c t))",
        lambda t, log_c: -np.expm1(-np.exp(log_c) * t),
        lambda t: (np.log(0.01 / t.max()), np.log(10 / t.min())),
    ),
}
#: The family that holds the logarithm, λ = 0, and all powers.
BOX_COX = Law("a + b (t^λ − 1) / λ", _box_cox, lambda t: (-2.0, 2.0))


@dataclass(frozen=True)
class Fit:
    """A fitted law a + b f(t; shape), and the share of the variance that it explains."""

    law: Law
    a: float
    b: float
    shape: float
    r2: float

    def __call__(self, updates: np.ndarray) -> np.ndarray:
        """The law at some updates, (n,)."""
        return self.a + self.b * self.law.term(np.asarray(updates, dtype=float), self.shape)


def fit(law: Law, inside: pd.DataFrame, which: str) -> Fit:
    """Fit a law to some rows of a curve by least squares."""
    t, d = inside["update"].to_numpy(dtype=float), inside[which].to_numpy(dtype=float)
    shape = 0.0
    if law.bounds is not None:
        found = optimize.minimize_scalar(lambda x: _solve(law, t, d, x)[1], bounds=law.bounds(t), method="bounded")
        shape = float(found.x)
    (a, b), rss = _solve(law, t, d, shape)
    return Fit(law, float(a), float(b), shape, float(1 - rss / ((d - d.mean()) ** 2).sum()))


def _solve(law: Law, t: np.ndarray, d: np.ndarray, shape: float) -> tuple[np.ndarray, float]:
    """Best offset and factor for a shape, and their sum of squared residuals."""
    columns = np.stack([np.ones_like(t), law.term(t, shape)], axis=1)
    linear = np.linalg.lstsq(columns, d, rcond=None)[0]
    return linear, float(((d - columns @ linear) ** 2).sum())


def fit_laws(curve: pd.DataFrame, which: str, last: int = 0) -> dict[str, Fit]:
    """All laws fitted to one curve, from `SKIPPED_SHARE` of the range to its end; empty for too few points.

    The range is the whole phase, or ends at the update `last`.
    """
    if not long_enough(curve, last):
        return {}
    inside = fitted_range(curve, last)
    return {name: fit(law, inside, which) for name, law in LAWS.items()}


def fitted_range(curve: pd.DataFrame, last: int = 0, skipped: float = SKIPPED_SHARE) -> pd.DataFrame:
    """The rows of a curve that are fitted."""
    end = last or curve.end.max()
    return curve[(curve["update"] >= skipped * end) & (curve["update"] <= end)]


def long_enough(curve: pd.DataFrame, last: int = 0) -> bool:
    """Whether a curve has the points that a fit needs, in each half of its range."""
    return min(len(half) for half in _halves(fitted_range(curve, last))) >= FEWEST_POINTS


def _halves(inside: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first and the later half of some rows on the logarithmic axis of updates."""
    updates = inside["update"]
    middle = np.sqrt(updates.min() * updates.max()) if len(inside) else 0
    return inside[updates <= middle], inside[updates > middle]


def exponent(curve: pd.DataFrame, which: str, skipped: float = SKIPPED_SHARE) -> float:
    """λ of a + b (t^λ − 1) / λ, without a share of the phase at its beginning: 0 is the logarithm, NaN few points."""
    inside = fitted_range(curve, skipped=skipped)
    if len(inside) < FEWEST_POINTS:
        return float("nan")
    return fit(BOX_COX, inside, which).shape


def prediction_error(curve: pd.DataFrame, which: str, law: str) -> float:
    """Root mean square error of a law over the later half of the range, fitted to the first; NaN for few points."""
    if not long_enough(curve):
        return float("nan")
    first, later = _halves(fitted_range(curve))
    fitted = fit(LAWS[law], first, which)
    return float(np.sqrt(np.mean((later[which] - fitted(later["update"].to_numpy())) ** 2)))


def rivals_error(curve: pd.DataFrame, which: str) -> float:
    """The better rival's prediction error over that of the logarithm: above 1 where the logarithm predicts best."""
    rivals = min(prediction_error(curve, which, law) for law in LAWS if law != "logarithm")
    return rivals / prediction_error(curve, which, "logarithm")


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
