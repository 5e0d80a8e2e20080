"""Plots of the theory: random potentials, passage times, Sinai's law, a walk in many dimensions."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from gbnlib.analysis import stats
from gbnlib.analysis.random_walk import ballistic_speed
from gbnlib.measurements import random_walk
from gbnlib.report.plots import of_measurement

_MARKERS = {0.5: "o", 1.0: "s", 1.5: "^", 2.0: "D"}


def _alpha_style(alpha: float) -> dict:
    palette = sns.color_palette("viridis_r", 5)[1:]
    return {"color": palette[list(_MARKERS).index(alpha)], "marker": _MARKERS[alpha], "label": f"α = {alpha:g}"}


def _means(values: pd.Series, keys: pd.Series) -> pd.DataFrame:
    """Mean over environments by key, with the lengths of its t interval to both sides as errorbar takes them."""
    found = {key: stats.mean(part) for key, part in values.groupby(keys)}
    frame = pd.DataFrame({key: (each.estimate, each.half_width) for key, each in found.items()}, index=["mean", "half"])
    return frame.T


def potentials(sites: int, seed: int, *, ax: Axes | None = None) -> Axes:
    """One potential for each exponent, scaled to unit spread at the end; α = 2 leaves a straight line."""
    ax = ax or plt.subplots()[1]
    x = np.linspace(0, 1, sites)
    for alpha in _MARKERS:
        slope = np.random.default_rng(seed).standard_normal()
        height = x * slope if alpha == 2 else random_walk.fractional_potentials(alpha, sites, 1, seed)[0]
        style = _alpha_style(alpha) | {"marker": None}
        ax.plot(x, height if alpha == 2 else height / (sites - 1) ** (alpha / 2), linewidth=1.2, **style)
    ax.set(xlabel="position (share of the whole)", ylabel="potential V (scaled)")
    ax.legend(ncols=2)
    return ax


@of_measurement
def barriers(passages: pd.DataFrame, *, ax: Axes) -> Axes:
    """Mean highest barrier against distance, with the theory's slope; the same for every roughness."""
    smooth = passages[passages.roughness == passages.roughness.min()]
    for alpha, part in smooth.groupby("alpha"):
        found = _means(part.climb, part.distance)
        ax.errorbar(found.index, found["mean"], yerr=found.half, linestyle="", **_alpha_style(alpha))
        line = found["mean"].iloc[-1] * (found.index / found.index[-1]) ** (alpha / 2)
        ax.plot(found.index, line, "--", color="0.4", zorder=0)
    ax.plot([], [], "--", color="0.4", label="slope α / 2")
    ax.set(xscale="log", yscale="log", xlabel="distance d (sites)", ylabel="mean highest barrier")
    ax.legend()
    return ax


@of_measurement
def distance_against_log_time(passages: pd.DataFrame, *, ax: Axes) -> Axes:
    """Distance against the mean logarithm of the time to get there, over roughness, with the theory's slope."""
    fills = dict(zip(sorted(passages.roughness.unique()), ("full", "none"), strict=False))
    for (alpha, roughness), part in passages.groupby(["alpha", "roughness"]):
        found = _means(part.log_time / roughness, part.distance)
        time = found["mean"]
        style = _alpha_style(alpha) | {"fillstyle": fills[roughness], "label": None}
        ax.errorbar(time, time.index, xerr=found.half, linestyle="", **style)
        if roughness == max(fills):
            line = time.index[-1] * (time / time.iloc[-1]) ** (2 / alpha)
            ax.plot(time, line, "--", color="0.4", zorder=0)
    for roughness, fill in fills.items():
        ax.plot([], [], "o", color="0.3", fillstyle=fill, label=f"roughness r = {roughness:g}")
    ax.plot([], [], "--", color="0.4", label="slope 2 / α")
    ax.set(xscale="log", yscale="log", xlabel="mean of log t, over r", ylabel="distance d (sites)")
    ax.set_ylim(bottom=passages.distance.min() / 2)
    ax.legend()
    return ax


@of_measurement
def walker_distances(walks: pd.DataFrame, *, ax: Axes) -> Axes:
    """Root mean square displacement of simulated walkers against time, between free diffusion and a straight line."""
    for alpha, part in walks.groupby("alpha"):
        _root_means(part, 0.5, ax, **_alpha_style(alpha))
    steps = np.sort(walks.steps.unique())
    speed = ballistic_speed(walks.roughness.iloc[0])
    ax.plot(steps, steps**0.5, ":", color="0.3", label="no potential: √t")
    ax.plot(steps, steps * speed, "--", color="0.3", label="α = 2, a line: ~ t")
    ax.set(xscale="log", yscale="log", xlabel="time t (steps)", ylabel="root mean square distance")
    ax.set_ylim(1, 3 * steps[-1] ** 0.5)
    ax.legend()
    return ax


def _root_means(part: pd.DataFrame, power: float, ax: Axes, **style: object) -> pd.Series:
    """Draw a root of the mean square displacement against time with its interval; return it by time."""
    found = _means(part.mean_square, part.steps)
    root = found["mean"] ** power
    ends = root - (found["mean"] - found.half).clip(lower=0) ** power, (found["mean"] + found.half) ** power - root
    ax.errorbar(root.index, root, yerr=ends, **style)
    return root


@of_measurement
def sinai_growth(walks: pd.DataFrame, *, ax: Axes) -> Axes:
    """Fourth root of the mean square of Sinai's walk against log t; the law's slope through the last point."""
    sinai = walks[walks.alpha == 1]
    size = _root_means(sinai, 0.25, ax, linestyle="", **_alpha_style(1.0) | {"label": "walkers, α = 1"})
    slope = random_walk.SINAI_MEAN_SQUARE**0.25 / sinai.roughness.iloc[0] ** 0.5
    law = size.iloc[-1] + slope * np.log(size.index / size.index[-1])
    ax.plot(size.index, law, "--", color="0.4", zorder=0, label="slope of the law")
    ax.set(xscale="log", xlabel="time t (steps)", ylabel="(mean of x²)^(1/4)")
    ax.legend()
    return ax


@of_measurement
def sinai_distribution(walks: pd.DataFrame, valleys: pd.DataFrame, *, ax: Axes) -> Axes:
    """Distribution of |x| / log² t: walkers at the last time, the shallowest and deepest valleys, and the law."""
    last = walks[(walks.alpha == 1) & (walks.steps == walks.steps.max())]
    time = np.log(last.steps.iloc[0])
    samples = {f"walkers, log t = {time:.1f}": last.roughness**2 * last.x.abs() / time**2}
    for depth in sorted({valleys.depth.min(), valleys.depth.max()}) if len(valleys) else ():
        samples[f"valleys, log t = {depth:g}"] = valleys[valleys.depth == depth].x.abs() / depth**2
    for (label, sample), dashes in zip(samples.items(), ((0, (1, 1)), (0, (5, 2)), "-"), strict=False):
        ax.ecdf(sample, label=f"{label} (n = {len(sample):,})", linestyle=dashes, linewidth=1.6)
    x = np.linspace(0, 5, 300)
    ax.plot(x, random_walk.sinai_cdf(x), color="0.2", linewidth=2.5, alpha=0.6, label="law (Kesten, Golosov)")
    ax.set(xlim=(0, 5), xlabel="|x| / log² t", ylabel="share of environments below")
    ax.legend(loc="lower right")
    return ax


@of_measurement
def field_distances(walks: pd.DataFrame, *, logarithmic: bool, ax: Axes) -> Axes:
    """Mean distance of walkers on a field in many dimensions against time; the band holds the middle half of them."""
    for alpha, part in walks[walks.steps >= 4].groupby("alpha"):
        distance = part.groupby("steps").distance
        style = _alpha_style(float(alpha)) | {"label": f"{'smooth' if alpha == 2 else 'rough'}, α = {alpha:g}"}
        ax.plot(distance.mean().index, distance.mean(), **style)
        ends = distance.quantile(0.25), distance.quantile(0.75)
        ax.fill_between(ends[0].index, *ends, color=style["color"], alpha=0.2, linewidth=0)
    ax.axhline(1, color="0.4", linestyle=":", label="correlation length")
    ax.set(xscale="log", yscale="log" if logarithmic else "linear")
    ax.set(xlabel="time t (steps)", ylabel="distance ‖w(t) − w(0)‖")
    ax.legend()
    return ax
