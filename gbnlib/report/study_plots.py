"""Plots of the studies beyond the paper: the best rate, updates to a target, arms side by side, ghost sizes."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gbnlib import analysis
from gbnlib.analysis import best_rate, stats
from gbnlib.regimes import Recipe
from gbnlib.report.plots import batch_axis, batch_style, error_axis, runs_and_mean


def error_by_rate(history: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Final held-out error against the rate, a curve a batch size: means over seeds with t intervals."""
    ax = ax or plt.subplots()[1]
    table = best_rate.final_errors(history)
    for batch_size, runs in table.groupby("batch_size"):
        found = [(rate, stats.mean(each.error)) for rate, each in runs.groupby("rate")]
        rates, means = [rate for rate, _ in found], [each.estimate for _, each in found]
        ends = np.nan_to_num([each.half_width for _, each in found])
        ax.errorbar(rates, means, yerr=ends, capsize=3, markersize=5, label=f"{batch_size}", **batch_style(batch_size))
    ax.set_xscale("log")
    rates = sorted(table.rate.unique())
    ax.set_xticks(rates, [f"{rate:g}" for rate in rates], rotation=45)
    ax.set_xticks([], minor=True)
    ax.set(xlabel="learning rate (log scale)", ylabel="final held-out error (%)")
    error_axis(ax)
    ax.legend(title="batch size", ncols=2)
    return ax


def best_rate_by_batch(history: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """The best rate against the batch, every seed and means, beside the √ rule and the linear one."""
    ax = ax or plt.subplots()[1]
    table = best_rate.best_rates(history)
    sizes = sorted(table.batch_size.unique())
    at = np.array([sizes[0], sizes[-1]])
    start = np.exp(np.log(table[table.batch_size == sizes[0]].rate).mean())
    for power, name, dashes in ((0.5, "√ rule", "--"), (1.0, "linear rule", ":")):
        ax.plot(at, start * (at / at[0]) ** power, dashes, color="0.4", label=name)
    for batch_size, runs in table.groupby("batch_size"):
        runs_and_mean(batch_size, runs.rate, batch_style(batch_size), ax, logs=True)
    batch_axis(ax, sizes)
    ax.set_yscale("log")
    ax.set(ylabel="best learning rate (log scale)")
    ax.legend()
    return ax


def updates_by_batch(table: pd.DataFrame, target: float, scales: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Updates to the target at the best rate against the batch, both log, beside perfect scaling.

    `table` is that of `best_rate.updates_to_target`; `scales` the measurement of the noise scale, which may be empty:
    its medians, one a seed, become vertical lines.
    """
    ax = ax or plt.subplots()[1]
    sizes = sorted(table.batch_size.unique())
    at = np.array([sizes[0], sizes[-1]])
    first = np.exp(np.log(table[table.batch_size == sizes[0]].updates).mean())
    ax.plot(at, first * at[0] / at, "--", color="0.4", label="half the updates for twice the batch")
    for batch_size, runs in table.groupby("batch_size"):
        runs_and_mean(batch_size, runs.updates, batch_style(batch_size), ax, logs=True)
    for position, scale in enumerate(scales.groupby("seed").scale.median() if len(scales) else ()):
        ax.axvline(scale, color="0.6", linewidth=1, label=None if position else "gradient noise scale, one a seed")
    batch_axis(ax, sizes)
    ax.set_yscale("log")
    ax.set(ylabel=f"updates to {target:g} % error (log scale)")
    ax.legend()
    return ax


def arms(history: pd.DataFrame, names: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Final accuracy of each arm, a row an arm, and at the right the samples that it took, in times the small batch's.

    The full line is the small batch's mean, the dashed one the large batch's. An arm that falls more than five times
    their distance below the best is written at the edge, since it would press all others together.
    """
    ax = ax or plt.subplots()[1]
    table = analysis.compare_arms(history)
    table = table.set_index("arm").reindex([name for name in names if name in set(table.arm)])
    accuracies = table.accuracy
    least = accuracies.max() - 5 * abs(accuracies.get("SB", np.nan) - accuracies.get("LB", np.nan))
    for height, (arm, row) in enumerate(table.iterrows()):
        color = "C0" if row.cost <= 1 else "C1"
        ends = np.nan_to_num([[row.accuracy - row.low], [row.high - row.accuracy]])
        ax.errorbar(row.accuracy, height, xerr=ends, fmt="o", color=color, capsize=3)
        place = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "va": "center"}
        if row.accuracy < least:
            ax.annotate(f"◂ {row.accuracy:.1f} %", (0, height), (4, 0), color=color, **place)
        ax.annotate(f"{row.cost:.3g} ×", (1, height), (6, 0), annotation_clip=False, **place)
        if arm in ("SB", "LB"):
            ax.axvline(row.accuracy, color="0.6", linewidth=1, linestyle="-" if arm == "SB" else "--")
    if (accuracies < least).any():
        ax.set_xlim(least, 1.05 * accuracies.max() - 0.05 * least)
    ax.set_yticks(range(len(table)), table.index)
    ax.set(ylim=(len(table) - 0.5, -0.5), xlabel="final validation accuracy (%)\nat the right: samples, in times SB's")
    return ax


def ghost_sizes(history: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Final error against the ghost size, a curve a batch size; plain batch normalization is the last place."""
    ax = ax or plt.subplots()[1]
    sizes = [*sorted(size for size in history.ghost_size.unique() if size), 0]
    for batch_size, runs in history.groupby("batch_size"):
        found = [stats.mean(analysis.arm_accuracies(runs[runs.ghost_size == size])) for size in sizes]
        ends = np.nan_to_num([each.half_width for each in found])
        means = [100 - each.estimate for each in found]
        ax.errorbar(range(len(sizes)), means, yerr=ends, capsize=3, label=f"{batch_size}", **batch_style(batch_size))
    ax.set_xticks(range(len(sizes)), [f"{size}" if size else "whole batch" for size in sizes])
    ax.set(xlabel="ghost size", ylabel="final validation error (%)")
    error_axis(ax)
    ax.legend(title="batch size")
    return ax


def recipe_rates(recipe: Recipe, by: str, *, ax: Axes | None = None) -> Axes:
    """The rates of a recipe and of its base over "epoch" or "update"."""
    ax = ax or plt.subplots()[1]
    pairs = (
        (recipe.base, recipe.base_updates_per_epoch, recipe.base_batch, {"color": "0.45", "linestyle": "--"}),
        (recipe.regime, recipe.updates_per_epoch, recipe.batch_size, {"color": "C0"}),
    )
    for regime, per_epoch, batch_size, style in pairs:
        # Every update would be millions of points: the rate changes at epochs, and evenly within a warm-up.
        epochs = np.arange(regime.epochs)
        rates = [regime.at(int(epoch) * per_epoch, per_epoch).lr for epoch in epochs]
        x = epochs * per_epoch if by == "update" else epochs
        ax.step(x, rates, where="post", label=f"batch {batch_size}", **style)
    ax.set_yscale("log")
    ax.set(xlabel=f"{by}s", ylabel="learning rate (log scale)")
    ax.legend()
    return ax
