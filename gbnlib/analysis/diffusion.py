"""How far the weights move in the high-rate phase: laws fitted to the distance, and its spread over batch sizes.

A curve is ‖w_t − w_0‖ of one run against the update t. Fits leave out its beginning, where every law fails; a distance
between two recorded updates is interpolated in log t.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize

from gbnlib import experiments, paper
from gbnlib.analysis import stats

#: Distance columns and their labels.
QUANTITIES = {"first": "first tensor", "weights": "all weights", "all": "all parameters"}
#: The methods of Figure 2: one rate for all, and √ rate with ghost batch normalization.
PANELS = {"before": ("SB", "LB"), "after": ("SB", "LB+LR+GBN")}
#: Share of the phase, and number of points, that a fit leaves out at the beginning, and needs.
SKIPPED_SHARE = 0.03
FEWEST_POINTS = 5


def high_rate_curves(history: pd.DataFrame, distance: pd.DataFrame) -> pd.DataFrame:
    """Distances of the finished runs up to the end of their first phase, which is the column `end` and the last row."""
    if distance.empty:
        return pd.DataFrame(columns=["run", "network", "method", "batch_size", "seed", "update", *QUANTITIES, "end"])
    at_first_rate = history[history.lr == history.groupby("run").lr.transform("first")]
    ends = at_first_rate.groupby("run")["update"].max()
    finished = distance[distance.status == "finished"]
    curves = [_until(curve, ends[run]) for run, curve in finished.groupby("run", sort=False)]
    return pd.concat(curves, ignore_index=True)


def _until(curve: pd.DataFrame, end: int) -> pd.DataFrame:
    """The part of a curve up to an update, with a row at that update."""
    inside = curve[curve["update"] < end]
    columns = ["epoch", *QUANTITIES]
    last = curve.iloc[:1].assign(update=end, **{name: _interpolated(curve, end, name) for name in columns})
    return pd.concat([inside, last]).assign(end=end)


def _interpolated(curve: pd.DataFrame, update: int, which: str) -> float:
    """A column of one curve at an update."""
    return float(np.interp(np.log(update), np.log(curve["update"]), curve[which]))


@dataclass(frozen=True)
class Law:
    """A law with two parameters: a linear one and an offset, or a linear one and a positive shape.

    `columns` gives the terms to add up, (n, terms), for updates (n,) and a shape; `bounds` say where to seek the shape.
    """

    formula: str
    columns: Callable[[np.ndarray, float], np.ndarray]
    bounds: Callable[[np.ndarray], tuple[float, float]] | None = None


LAWS = {
    "logarithm": Law("a + b log t", lambda t, _: np.stack([np.ones_like(t), np.log(t)], axis=1)),
    "power": Law("A t^p", lambda t, p: t[:, None] ** p, lambda t: (0.01, 2.0)),
    "saturation": Law(
        "A (1 − exp(−c t))", lambda t, c: -np.expm1(-c * t[:, None]), lambda t: (0.01 / t.max(), 10 / t.min())
    ),
}


@dataclass(frozen=True)
class Fit:
    """A fitted law: its parameters in the order of the formula, Akaike's criterion, and the share explained."""

    law: str
    parameters: tuple[float, float]
    aic: float
    r2: float

    def __call__(self, updates: np.ndarray) -> np.ndarray:
        """The law at some updates, (n,)."""
        first, second = self.parameters
        law, updates = LAWS[self.law], np.asarray(updates, dtype=float)
        if law.bounds is None:
            return law.columns(updates, 0.0) @ np.array([first, second])
        return first * law.columns(updates, second)[:, 0]


def fit(law: str, updates: np.ndarray, distance: np.ndarray) -> Fit:
    """Fit one of `LAWS` by least squares.

    The AIC is n log(RSS / n) + 6, with two parameters and the variance; since all laws have as many, their order is
    that of the residuals. Neighbouring points share their past, so that it ranks the laws and gives no probability.
    """
    t, d = np.asarray(updates, dtype=float), np.asarray(distance, dtype=float)
    shape = _best_shape(LAWS[law], t, d)
    linear, rss = _solve(LAWS[law], t, d, shape)
    parameters = tuple(float(value) for value in (*linear, shape)[:2])
    rss = max(rss, np.finfo(float).tiny)
    return Fit(law, parameters, float(len(t) * np.log(rss / len(t)) + 6), float(1 - rss / ((d - d.mean()) ** 2).sum()))


def _solve(law: Law, t: np.ndarray, d: np.ndarray, shape: float) -> tuple[np.ndarray, float]:
    """Best linear parameters for a shape, and their sum of squared residuals."""
    columns = law.columns(t, shape)
    linear = np.linalg.lstsq(columns, d, rcond=None)[0]
    return linear, float(((d - columns @ linear) ** 2).sum())


def _best_shape(law: Law, t: np.ndarray, d: np.ndarray) -> float:
    """The shape with the smallest residuals, sought on a logarithmic axis."""
    if law.bounds is None:
        return 0.0
    bounds = np.log(law.bounds(t))
    found = optimize.minimize_scalar(lambda x: _solve(law, t, d, np.exp(x))[1], bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def fit_laws(curve: pd.DataFrame, which: str, last: int = 0) -> dict[str, Fit]:
    """All laws fitted to one curve, from `SKIPPED_SHARE` of the range to its end; empty for too few points.

    The range is the whole phase, or ends at the update `last`.
    """
    if not long_enough(curve, last):
        return {}
    inside = fitted_range(curve, last)
    return {law: fit(law, inside["update"].to_numpy(), inside[which].to_numpy()) for law in LAWS}


def fitted_range(curve: pd.DataFrame, last: int = 0) -> pd.DataFrame:
    """The rows of a curve that are fitted."""
    end = last or curve.end.max()
    return curve[(curve["update"] >= SKIPPED_SHARE * end) & (curve["update"] <= end)]


def long_enough(curve: pd.DataFrame, last: int = 0) -> bool:
    """Whether a curve has the points that a fit needs."""
    return len(fitted_range(curve, last)) >= FEWEST_POINTS


def logarithm_lead(curve: pd.DataFrame, which: str, last: int = 0) -> float:
    """AIC of the better rival minus that of the logarithm: positive where the logarithm wins. NaN for few points."""
    fits = fit_laws(curve, which, last)
    return min(fits[law].aic for law in ("power", "saturation")) - fits["logarithm"].aic if fits else float("nan")


def compare_laws(curves: pd.DataFrame, which: str, last: int = 0) -> pd.DataFrame:
    """The fits at one rate, one row a batch size: means over seeds, and how far the logarithm leads.

    Seeds with too few points are left out. Beside A of the saturation stands ‖w₀‖, the norm of the same weights at the
    start.
    """
    rows = []
    for batch_size, runs in panel(curves, "before").groupby("batch_size"):
        each = [curve for _, curve in runs.groupby("seed") if long_enough(curve, last)]
        if each:
            fits = [fit_laws(curve, which, last) for curve in each]
            inside = fitted_range(each[0], last)["update"]
            means = _means(fits, np.mean([_initial_norm(curve, which) for curve in each]))
            rows.append({"batch size": batch_size, "updates": f"{inside.min()}–{inside.max()}", **means})
            leads = [logarithm_lead(curve, which, last) for curve in each]
            rows[-1]["lead of the logarithm"] = stats.mean(leads, paper.confidence()).text(digits=1, sign=True)
    return pd.DataFrame(rows)


def _initial_norm(curve: pd.DataFrame, which: str) -> float:
    """‖w₀‖ of the run of a curve."""
    row = curve.iloc[0]
    return experiments.initial_norms(row.network, row.dataset, int(row.seed), row.initialisation)[which]


def _means(fits: list[dict[str, Fit]], initial_norm: float) -> dict[str, float]:
    """Means over seeds: parameters that matter, beside the initial norm, and the share that each law leaves."""
    named = {"b": ("logarithm", 1), "p": ("power", 1), "A": ("saturation", 0)}
    means = {name: np.mean([found[law].parameters[i] for found in fits]) for name, (law, i) in named.items()}
    means["‖w₀‖"] = initial_norm
    return means | {f"unexplained by {law}, %": 100 * np.mean([1 - found[law].r2 for found in fits]) for law in LAWS}


def panel(curves: pd.DataFrame, name: str) -> pd.DataFrame:
    """The curves of one of `PANELS`."""
    return curves[curves.method.isin(PANELS[name])]


def comparable(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves of the batch sizes that both panels have, so that a spread is over the same ones before and after.

    All curves where fewer than two sizes are left, as when one panel is not trained yet.
    """
    sizes = set.intersection(*(set(panel(curves, name).batch_size) for name in PANELS))
    return curves[curves.batch_size.isin(sizes)] if len(sizes) > 1 else curves


def shared_update(curves: pd.DataFrame) -> int:
    """The last update that the high-rate phases of all batch sizes share; 0 without curves."""
    return int(curves.end.min()) if len(curves) else 0


def distances_at(curves: pd.DataFrame, which: str, update: int = 0) -> pd.DataFrame:
    """The distance at an update, or at the end of each phase: a row a seed, a column a batch size."""
    runs = curves.groupby(["seed", "batch_size"])
    found = {key: _interpolated(curve, update or curve.end.iloc[0], which) for key, curve in runs}
    return pd.Series(found).unstack() if found else pd.DataFrame()


def spread(curves: pd.DataFrame, which: str, update: int) -> pd.Series:
    """(max − min) / mean over batch sizes of the distance at an update, by seed; seeds that lack one are left out."""
    table = distances_at(curves, which, update).dropna()
    return (table.max(axis=1) - table.min(axis=1)) / table.mean(axis=1)


def spreads(curves: pd.DataFrame, which: str) -> pd.DataFrame:
    """The spread in % of comparable curves at the updates of the shared range: columns panel, update, seed, spread."""
    curves = comparable(curves)
    last = shared_update(curves)
    parts = []
    for name in PANELS:
        for update in sorted(curves["update"][curves["update"] <= last].unique()):
            found = 100 * spread(panel(curves, name), which, update)
            parts.append(pd.DataFrame({"panel": name, "update": update, "seed": found.index, "spread": found.values}))
    return pd.concat(parts, ignore_index=True)


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
    return {size / small[0]: stats.mean(relative[size].dropna(), paper.confidence()).text() for size in relative}
