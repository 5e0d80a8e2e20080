"""Plots of appendix A: spread of the increments, what the derivation leaves out, noise in place of a higher rate."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from gbnlib import analysis
from gbnlib.measurements import covariance
from gbnlib.report.distance_plots import log_updates
from gbnlib.report.figures import name_lines, name_point
from gbnlib.report.plots import MARKERS, mean_curve, mean_line, method_style, of_measurement, runs_and_mean

_MEASURES = {
    "mean share": "‖ḡ‖² over the mean of ‖g‖²",
    "appendix": "error of the appendix's covariance",
    "noise": "error of the noise's covariance",
}


@of_measurement
def spread(scaling: pd.DataFrame, *, ax: Axes) -> Axes:
    """Spread of the increment against the batch, over that of batch 1: enumerated (marks) and the formula (lines)."""
    looks = dict(zip(covariance.SCHEMES, (("full", "-"), ("none", "--")), strict=True))
    for color, marker, rule in zip(sns.color_palette("colorblind"), MARKERS, covariance.RULES, strict=False):
        for scheme, (fill, dashes) in looks.items():
            part = scaling[(scaling.rule == rule) & (scaling.scheme == scheme)]
            ax.plot(part.batch, part.expected, dashes, color=color, linewidth=1)
            ax.plot(part.batch, part.spread, marker, color=color, fillstyle=fill, markersize=8)
            if fill == "full":
                name_point(ax, rule, part.batch.iloc[-1], part.spread.iloc[-1], color)
    for scheme, (fill, dashes) in looks.items():
        ax.plot([], [], dashes, marker="o", color="0.3", fillstyle=fill, label=scheme)
    ax.set(yscale="log", xlabel="batch size M", ylabel="spread of the increment")
    ax.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"], minor=False)
    ax.minorticks_off()
    ax.legend(loc="lower left")
    return ax


@of_measurement
def left_out(approximations: pd.DataFrame, *, ax: Axes) -> Axes:
    """What the derivation leaves out, over epochs: mean and t interval from three seeds on, below every seed a line."""
    for color, marker, (column, label) in zip(
        sns.color_palette("colorblind"), MARKERS, _MEASURES.items(), strict=False
    ):
        wide = approximations.pivot(index="epoch", columns="seed", values=column)
        mean_line(wide.index, wide, {"color": color, "marker": marker, "label": label}, ax, lowest=0)
    ax.set(xlabel="epoch of the small network", ylabel="share, or relative error", ylim=(0, None))
    ax.legend()
    return ax


def accuracies(history: pd.DataFrame, methods: tuple[str, ...], *, ax: Axes | None = None) -> Axes:
    """Final validation accuracy by method: every run, and from three seeds on the mean with its t interval."""
    ax = ax or plt.subplots()[1]
    table = analysis.outcomes(history)
    methods = tuple(method for method in methods if method in set(table.method))
    for position, method in enumerate(methods):
        values = 100 - table[table.method == method].final_error
        runs_and_mean(position, values, method_style(method), ax)
    ax.set_xticks(range(len(methods)), methods)
    ax.set(ylabel="final validation accuracy (%)", xlim=(-0.5, len(methods) - 0.5))
    return ax


def distances(distance: pd.DataFrame, methods: tuple[str, ...], *, ax: Axes | None = None) -> Axes:
    """Distance of all weights from their start against updates: mean and t interval, or runs under three seeds."""
    ax = ax or plt.subplots()[1]
    for method in methods:
        runs = distance[(distance.method == method) & (distance.status == "finished")]
        if len(runs):
            style = method_style(method) | {"markevery": max(1, runs["update"].nunique() // 12)}
            mean_curve(runs, "update", "weights", style, method, ax)
    ax.set(ylabel="‖w(t) − w(0)‖, all weights")
    log_updates(ax)
    name_lines(ax)
    return ax
