"""Plots of Figure 2: distance of the weights by batch size, the laws fitted to it, its spread."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from gbnlib import paper
from gbnlib.analysis import diffusion, distance_laws
from gbnlib.report.figures import name_lines
from gbnlib.report.plots import batch_axis, batch_style, is_the_papers, mean_curve, runs_and_mean

_LAW_LINES = {"logarithm": "-", "quarter power": (0, (6, 2)), "saturation": (0, (2, 1.5))}
_PANEL_LABELS = {"before": "one rate for all", "after": "√ rate and GBN"}
_PANEL_MARKERS = {"before": "o", "after": "^"}


def panels(curves: pd.DataFrame, which: str, axes: Sequence[Axes], *, xscale: str = "linear") -> None:
    """Distance against updates in the high-rate phase, before and after, on two axes; a line a batch size.

    The second is left out where the runs of the remedies are missing, and one would see the small batch again.
    The paper's points are crosses, for the first tensor where the network is the paper's own.
    """
    for ax, name in zip(axes, diffusion.PANELS, strict=True):
        part = diffusion.panel(curves, name)
        if name == "after" and part.method.nunique() < 2:
            ax.remove()
            continue
        for batch_size, runs in part.groupby("batch_size"):
            style = batch_style(batch_size) | {"markevery": max(1, runs["update"].nunique() // 12)}
            mean_curve(runs, "update", which, style, f"batch {batch_size:,}", ax)
        ax.set(xlabel="updates", ylabel=f"‖w(t) − w(0)‖, {diffusion.QUANTITIES[which]}", title=_PANEL_LABELS[name])
        if xscale == "log":
            log_updates(ax)
        name_lines(ax)
        if which == "first" and is_the_papers(curves, "figure2"):
            paper_points(name, ax=ax)
            ax.legend()


def log_updates(ax: Axes) -> None:
    """A logarithmic axis of updates with plain numbers on it, few enough not to touch."""
    ax.set(xscale="log", xlabel="updates (log axis)")
    low, high = ax.get_xlim()
    steps = (1, 2, 5) if high < 100 * low else (1,)
    ax.xaxis.set_major_locator(LogLocator(subs=steps))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def paper_points(name: str, *, ax: Axes | None = None) -> Axes:
    """The paper's digitised points of a panel, as crosses in the colours of their batch sizes."""
    ax = ax or plt.subplots()[1]
    for curve in paper.published("figure2")["curves"]:
        if curve["panel"] == name:
            color = batch_style(curve["batch_size"])["color"]
            ax.plot(curve["updates"], curve["distance"], "x", color=color, markersize=7)
    ax.plot([], [], "x", color="0.3", label="paper")
    return ax


def laws(curves: pd.DataFrame, which: str, *, ax: Axes | None = None) -> Axes:
    """What each fitted law leaves, at the small batch: distance minus law, a line a seed, over the fitted range."""
    ax = ax or plt.subplots()[1]
    small = curves[curves.method == "SB"]
    ax.axhline(0, color="0.5", linewidth=1)
    for color, (law, dashes) in zip(sns.color_palette("colorblind"), _LAW_LINES.items(), strict=False):
        for _, curve in small.groupby("seed"):
            inside, fits = distance_laws.fitted_range(curve), distance_laws.fit_laws(curve, which)
            if fits:
                rest = inside[which] - fits[law](inside["update"])
                ax.plot(inside["update"], rest, linestyle=dashes, color=color, linewidth=1.4)
        ax.plot([], [], linestyle=dashes, color=color, label=distance_laws.LAWS[law].formula)
    ax.set(ylabel=f"distance − law, {diffusion.QUANTITIES[which]}")
    log_updates(ax)
    ax.legend()
    return ax


def ends(curves: pd.DataFrame, which: str, *, ax: Axes | None = None) -> Axes:
    """Distance at the end of the high-rate phase against batch size, before and after: runs, means, t intervals."""
    ax = ax or plt.subplots()[1]
    for color, name in zip(sns.color_palette("colorblind"), diffusion.PANELS, strict=False):
        table = diffusion.distances_at(diffusion.panel(curves, name), which)
        marker, offset = _PANEL_MARKERS[name], 1 if name == "before" else 1.07
        for size in table:
            runs_and_mean(size * offset, table[size], {"color": color, "marker": marker}, ax)
        ax.plot([], [], marker, color=color, label=_PANEL_LABELS[name])
    batch_axis(ax, sorted(curves.batch_size.unique()))
    ax.set(ylabel=f"end distance, {diffusion.QUANTITIES[which]}", ylim=(0, None))
    ax.legend()
    return ax


def spread(curves: pd.DataFrame, which: str, *, ax: Axes | None = None) -> Axes:
    """(max − min) / mean of the distance over batch sizes against updates, in the range that they share."""
    ax = ax or plt.subplots()[1]
    found = diffusion.spreads(curves, which)
    colors = sns.color_palette("colorblind")
    for color, dashes, (name, part) in zip(colors, ("-", "--"), found.groupby("panel", sort=False), strict=False):
        style = {"color": color, "linestyle": dashes, "marker": _PANEL_MARKERS[name]}
        mean_curve(part, "update", "spread", style, _PANEL_LABELS[name], ax)
    ax.set(ylabel="spread over batch sizes (%)", ylim=(0, None))
    log_updates(ax)
    name_lines(ax)
    return ax


def paper_panels(axes: Sequence[Axes]) -> None:
    """The paper's own two panels, from its digitised points."""
    for ax, name in zip(axes, diffusion.PANELS, strict=True):
        for curve in paper.published("figure2")["curves"]:
            if curve["panel"] == name:
                label, style = f"batch {curve['batch_size']:,}", batch_style(curve["batch_size"])
                ax.plot(curve["updates"], curve["distance"], label=label, **style)
        ax.set(ylabel="‖w(t) − w(0)‖", title=_PANEL_LABELS[name])
        log_updates(ax)
        name_lines(ax)
