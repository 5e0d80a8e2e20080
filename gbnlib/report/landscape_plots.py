"""Plots of Figure 4: the spread of the loss against the distance, along random directions and along the training."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from gbnlib import paper
from gbnlib.analysis.landscape import LABELS
from gbnlib.report.plots import mean_line

_MARKERS = {"f1": "o", "resnet8": "s", "resnet44": "D"}
_PAPER = {"color": "0.35", "marker": "x", "linestyle": ""}


def _style(network: str) -> dict:
    palette = sns.color_palette("viridis", 4)
    color = palette[0] if network == "f1" else palette[2]
    return {"color": color, "marker": _MARKERS[network], "label": LABELS[network]}


def _curve(frame: pd.DataFrame, x: str, y: str, ax: Axes, **style: object) -> None:
    """Mean over seeds, the band its 95 % t interval; under three seeds each seed by itself."""
    wide = frame.pivot(index="distance", columns="seed", values=y)
    mean_line(frame.groupby("distance")[x].mean(), wide, style, ax)


def spread(landscape: pd.DataFrame, network: str, *, ax: Axes | None = None) -> Axes:
    """Standard deviation of the loss over the paper's distances on linear axes, with the noise and without.

    The dashed line is what a loss that is linear in the weights would have, d ‖∇L(w_0)‖ / √n; the crosses are the
    paper's points, of another network and data set.
    """
    ax = ax or plt.subplots()[1]
    points = paper.published("figure4")
    ax.plot(points["distance"], points["sd"], **_PAPER, label=f"paper: {points['label']} (digitised)")
    if len(landscape):
        near = landscape[landscape.distance <= points["distance"][-1]]
        style = _style(network)
        _curve(near, "distance", "sd", ax, **style | {"label": "here, noise removed"})
        _curve(near, "distance", "noisy", ax, **style | {"fillstyle": "none", "linestyle": ":", "label": "with noise"})
        ends = [0, points["distance"][-1]]
        slope = landscape.drop_duplicates("seed").slope.mean()
        ax.plot(ends, [slope * end for end in ends], "--", color="0.5", zorder=0, label="d ‖∇L(w₀)‖ / √n")
    else:
        ax.plot([], [], " ", label="here: not measured yet")
    ax.set(xlabel="distance d = ‖w − w₀‖", ylabel="standard deviation of the loss")
    ax.set_ylim(bottom=0)
    _legend_once(ax)
    return ax


def relative_spread(landscapes: Mapping[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Standard deviation of the loss against the distance over ‖w_0‖, in logarithms; dashed: a linear loss."""
    ax = ax or plt.subplots()[1]
    ax.set(xscale="log", yscale="log", xlabel="distance over ‖w₀‖", ylabel="standard deviation of the loss")
    for network, landscape in landscapes.items():
        if landscape.empty:
            continue
        away = landscape[landscape.distance > 0].assign(relative=lambda frame: frame.distance / frame.norm)
        _curve(away, "relative", "sd", ax, **_style(network))
        line = away.groupby("distance")[["relative", "slope"]].mean()
        ax.plot(line.relative, line.index * line.slope, "--", color=_style(network)["color"], zorder=0)
    ax.plot([], [], "--", color="0.5", label="d ‖∇L(w₀)‖ / √n")
    _legend_once(ax)
    return ax


def paths(
    landscapes: Mapping[str, pd.DataFrame], trajectories: Mapping[str, pd.DataFrame], *, ax: Axes | None = None
) -> Axes:
    """√E[(L(w) − L(w_0))²] along random directions (full marks) and |L(w_t) − L(w_0)| along the training (open)."""
    ax = ax or plt.subplots()[1]
    ax.set(xscale="log", yscale="log", xlabel="distance from w₀", ylabel="|L(w) − L(w₀)|, root mean square")
    for network, landscape in landscapes.items():
        style = _style(network)
        if len(landscape):
            label = {"label": f"{style['label']}, at random"}
            _curve(landscape[landscape.distance > 0], "distance", "rms", ax, **style | label)
        trajectory = trajectories.get(network, pd.DataFrame())
        for _, part in trajectory.groupby("seed") if len(trajectory) else ():
            look = {"fillstyle": "none", "linestyle": ":", "linewidth": 1, "label": f"{style['label']}, training"}
            ax.plot(part.distance, part.rms, **style | look)
    points = paper.published("figure4")["distance"]
    ax.axvspan(points[1], points[-1], color="0.92", zorder=-1, label="the paper's distances")
    _legend_once(ax)
    return ax


def structure(frame: pd.DataFrame, network: str, *, ax: Axes | None = None) -> Axes:
    """The variance of the loss's difference between places of a training against their distance.

    Faint: a line a seed; bold: their geometric mean at each lag. Places whose difference lies below the noise are left
    out. Dashed: α = 2, what the theory asks, through the mean of the seeds at their shortest lag.
    """
    ax = ax or plt.subplots()[1]
    ax.set(xlabel="distance between two places", ylabel="variance of L(w) − L(w′)")
    shown = frame[frame.square > 0] if len(frame) else frame
    if shown.empty:
        ax.plot([], [], " ", label="below the noise" if len(frame) else "not measured yet")
    else:
        ax.set(xscale="log", yscale="log", ylim=(shown.square.quantile(0.02) / 3, 3 * shown.square.max()))
        for _, part in shown.groupby("seed"):
            seed = {"label": "a seed", "alpha": 0.35}
            ax.plot(part.distance, part.square, linewidth=1, markersize=3, **_style(network) | seed)
        means = np.exp(np.log(shown.set_index("lag")[["distance", "square"]]).groupby("lag").mean())
        ax.plot(
            means.distance,
            means.square,
            linewidth=2.5,
            **_style(network) | {"label": "mean of the seeds", "marker": ""},
        )
        start = shown[shown.lag == shown.lag.min()][["distance", "square"]].mean()
        ends = [start.distance, shown.distance.max()]
        ax.plot(ends, [start.square * (end / start.distance) ** 2 for end in ends], "--", color="0.5", label="α = 2")
    _legend_once(ax)
    return ax


def _legend_once(ax: Axes) -> None:
    """A legend that names each kind of line once, below the axes."""
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 2}
    ax.legend(handles.values(), handles.keys(), **place)
