"""Plots of Algorithm 1: a batch in ghosts, its noise, its running statistics, its cost."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from gbnlib.measurements import ghosts
from gbnlib.report.plots import MARKERS, numbered_style, of_measurement

_RULES = (*ghosts.RULES, "total variance")


def _rule_style(rule: str) -> dict:
    return numbered_style(_RULES.index(rule), sns.color_palette("colorblind")) | {"label": rule}


def batch_in_ghosts(count: int, ghost_size: int, seed: int, *, ax: Axes | None = None) -> Axes:
    """One channel of a batch, its ghosts with mean and one standard deviation to each side, and the whole batch's."""
    ax = ax or plt.subplots()[1]
    values = np.random.default_rng(seed).standard_normal(count * ghost_size)
    ax.plot(values, ".", color="0.6", label="samples")
    for first, part in enumerate(values.reshape(count, ghost_size)):
        span = np.array([first, first + 1]) * ghost_size - 0.5
        label = "ghost: mean ± sd" if first == 0 else None
        ax.fill_between(span, part.mean() - part.std(), part.mean() + part.std(), alpha=0.25, color="C0", label=label)
        ax.plot(span, [part.mean()] * 2, color="C0", linewidth=2.5)
    for end in (values.mean() - values.std(), values.mean(), values.mean() + values.std()):
        ax.axhline(end, color="0.2", linestyle="--", linewidth=1)
    ax.plot([], [], "--", color="0.2", label="whole batch: mean ± sd")
    ax.set(xlabel="sample in the batch", ylabel="input of one channel")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24))
    return ax


@of_measurement
def noise(scatter: pd.DataFrame, *, ax: Axes) -> Axes:
    """How far a sample's output scatters against ghost size, with its 95 % interval, and the leading order."""
    for position, (value, part) in enumerate(scatter.groupby("value")):
        color = sns.color_palette("viridis_r", 4)[position + 1]
        ends = part.sd - part.low, part.high - part.sd
        style = {"color": color, "marker": MARKERS[position], "label": f"input {value:g} sd from the mean"}
        ax.errorbar(part.ghost_size, part.sd, yerr=ends, linestyle="", **style)
        ax.plot(part.ghost_size, part.expected, "--", color=color, zorder=0)
    ax.plot([], [], "--", color="0.4", label="leading order")
    ax.set(xscale="log", yscale="log", xlabel="ghost size", ylabel="sd of the output")
    ax.set_xticks(scatter.ghost_size.unique(), [str(size) for size in scatter.ghost_size.unique()], minor=False)
    ax.set_yticks([0.05, 0.1, 0.2, 0.4], ["0.05", "0.1", "0.2", "0.4"], minor=False)
    ax.minorticks_off()
    ax.legend()
    return ax


def rule_weights(count: int, momentum: float, *, ax: Axes | None = None) -> Axes:
    """Weight of each ghost of a batch in the running statistics, by rule."""
    ax = ax or plt.subplots()[1]
    for rule in ghosts.RULES:
        style = _rule_style(rule) | {"markersize": 4, "linewidth": 1.2}
        ax.plot(range(1, count + 1), ghosts.rule_weights(rule, count, momentum)[1], **style)
    ax.set(xlabel="ghost in the batch (1 is the first)", ylabel="weight in the running mean")
    ax.legend()
    return ax


@of_measurement
def running_means(running: pd.DataFrame, mean: float, *, ax: Axes) -> Axes:
    """Running mean after each forward, by rule, and the true mean."""
    for rule in ghosts.RULES:
        part = running[running.rule == rule]
        ax.plot(part.forward, part["mean"], **_rule_style(rule) | {"markersize": 4, "linewidth": 1.2})
    ax.axhline(mean, color="0.3", linestyle=":", label="true mean")
    ax.set(xlabel="forwards in training", ylabel="running mean", ylim=(0, None))
    ax.legend(loc="lower right")
    return ax


def layer_costs(costs: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Time over that of plain batch normalization by layout and number format: every shape and ghost size a mark."""
    ax = ax or plt.subplots()[1]
    groups = costs.groupby(["layout", "dtype"], sort=False)
    for position, (_, part) in enumerate(groups):
        for shift, code, marker in ((-0.15, "loop", "x"), (0.15, "ghost", "o")):
            color = sns.color_palette("colorblind")[0 if code == "ghost" else 1]
            across = position + shift + np.linspace(-0.1, 0.1, len(part))
            ax.plot(across, part[code], marker, color=color, alpha=0.8)
    for code, marker, color in (("loop over ghosts", "x", "C1"), ("gbnlib", "o", "C0")):
        ax.plot([], [], marker, color=color, label=code)
    ax.axhline(1, color="0.3", linewidth=1)
    ax.set_xticks(range(len(groups)), ["\n".join((*layout.split("-"), dtype)) for layout, dtype in groups.groups])
    ax.set_yscale("log", base=2)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set(ylabel="time over plain batch normalization")
    ax.legend()
    return ax
