"""Plots of Figure 3: validation error by updates and by position in the regime; the length of the high-rate phase."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gbnlib.analysis import positions
from gbnlib.report.figures import name_lines
from gbnlib.report.plots import batch_style, error_axis, mean_curve, runs_and_mean

_MARKERS = ("o", "s", "^", "D")


def errors(runs: pd.DataFrame, x: str, *, ax: Axes | None = None) -> Axes:
    """Validation error against "update" or "position", small batch and adapted ones; dotted lines mark first drops."""
    ax = ax or plt.subplots()[1]
    shown = positions.one_regime(runs)
    for (batch_size, method), part in shown.groupby(["batch_size", "method"]):
        label = f"batch {batch_size:,}" + ", adapted" * (method != "SB")
        style = batch_style(batch_size) | {"markevery": max(1, part[x].nunique() // 15)}
        mean_curve(part, x, "validation_error", style, label, ax)
        ax.axvline(part[x][part.position == part.high_rate].max(), color=style["color"], linestyle=":", linewidth=1)
    ax.set(xlabel=_AXIS[x], ylabel="validation error (%)")
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter("{x:,g}")
    name_lines(ax)
    return ax


def zoom(runs: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Validation error against the position, from just before the first drop to some way after it."""
    shown = positions.one_regime(runs)
    drop, reach = shown.high_rate.iloc[0], max(2.0, 0.06 * shown.position.max())
    return errors(shown[shown.position.between(drop - reach / 2, drop + 1.05 * reach)], "position", ax=ax)


def stay(runs: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Validation error of the small batch against epochs, a line a length of the high-rate phase."""
    ax = ax or plt.subplots()[1]
    small = runs[runs.method == "SB"]
    for index, (length, part) in enumerate(small.groupby("high_rate")):
        style = _length_style(index) | {"markevery": max(1, part.position.nunique() // 12)}
        mean_curve(part, "position", "validation_error", style, f"{length:.0f} epochs", ax)
    ax.set(xlabel=_AXIS["position"], ylabel="validation error (%)")
    error_axis(ax)
    name_lines(ax)
    return ax


def final_by_length(runs: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Final error of the small batch against the length of its high-rate phase: every run, means with t intervals."""
    ax = ax or plt.subplots()[1]
    table = positions.high_rate_lengths(runs)
    for index, (length, part) in enumerate(table.groupby("high_rate")):
        runs_and_mean(length, part.final, _length_style(index), ax)
    lengths = sorted(table.high_rate.unique())
    ax.set_xticks(lengths, [f"{length:.0f}" for length in lengths])
    ax.set(xlabel="epochs at the high rate", ylabel="final validation error (%)")
    ax.margins(x=0.15)
    return ax


def _length_style(index: int) -> dict:
    """Colour, marker and line of a length, from light to dark."""
    return {
        "color": sns.color_palette("viridis_r", len(_MARKERS) + 1)[1:][index % len(_MARKERS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": ("-", "--", "-.", ":")[index % len(_MARKERS)],
    }


_AXIS = {"update": "updates", "position": "position in the regime (epochs of the small batch)"}
