"""Plots: a tidy frame in, axes out. One colour, marker and line style per batch size and per method, everywhere."""

import math
from collections.abc import Callable, Sequence
from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from gbnlib import analysis, paper
from gbnlib.experiments import planning
from gbnlib.report.figures import PANEL, TYPE, name_lines

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
_DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)), (0, (4, 1, 1, 1, 1, 1)))
#: The batch sizes at the two ends of the palette.
_BATCHES = (32, 4096)


def set_theme() -> None:
    """The look of every figure."""
    texts = ("font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize")
    look = dict.fromkeys((*texts, "legend.fontsize", "legend.title_fontsize", "figure.titlesize"), TYPE) | {
        "figure.constrained_layout.use": True,
        "figure.figsize": PANEL,
        "figure.dpi": 110,
        "savefig.dpi": 160,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.35,
        "lines.linewidth": 1.6,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "gbnlib",
    }
    sns.set_theme(context="notebook", style="ticks", palette="colorblind", rc=look)


def of_measurement(draw: Callable[..., Axes]) -> Callable[..., Axes]:
    """Have a plot make its own axes unless it is given some, and say so where its measurement is not made yet."""

    @wraps(draw)
    def drawn(frame: pd.DataFrame, *others: object, ax: Axes | None = None, **options: object) -> Axes:
        ax = ax or plt.subplots()[1]
        if not frame.empty:
            return draw(frame, *others, ax=ax, **options)
        ax.text(0.5, 0.5, "not measured yet", transform=ax.transAxes, ha="center", color="0.4")
        ax.set(xticks=[], yticks=[])
        return ax

    return drawn


def batch_style(batch_size: int) -> dict:
    """Colour, marker and line style of a batch size, from light to dark so that the order shows in grey.

    The colour stands for the logarithm of the size, on the full range of one palette from 32 to 4096.
    """
    low, high = map(math.log2, _BATCHES)
    place, step = (math.log2(batch_size) - low) / (high - low), round(math.log2(batch_size))
    look = {"marker": MARKERS[step % len(MARKERS)], "linestyle": _DASHES[step % len(_DASHES)]}
    return look | {"color": plt.get_cmap("viridis_r")(min(max(place, 0.0), 1.0))}


def method_style(method: str) -> dict:
    """Colour, marker and line style of a method of Table 1, or of the one with noise."""
    return numbered_style(planning.METHODS.index(method), sns.color_palette("colorblind"))


def numbered_style(position: int, palette: Sequence) -> dict:
    """Colour, marker and line style of what stands at a position in an order."""
    return {
        "color": palette[position % len(palette)],
        "marker": MARKERS[position % len(MARKERS)],
        "linestyle": _DASHES[position % len(_DASHES)],
    }


def error_curves(history: pd.DataFrame, *, which: str = "validation_error", ax: Axes | None = None) -> Axes:
    """Error against epochs, a curve a batch size.

    Parameters
    ----------
    history : tidy history frame.
    which : "validation_error" or "training_error", in %.
    ax : axes to draw on; None makes new ones.

    Returns
    -------
    The axes. From three seeds on, a line is the mean and the band its 95 % t interval; below, each run is a line.
    """
    ax = ax or plt.subplots()[1]
    for batch_size, runs in history.groupby("batch_size"):
        style = batch_style(batch_size) | {"markevery": max(1, runs.epoch.nunique() // 12)}
        mean_curve(runs, "epoch", which, style, f"batch {batch_size:,}", ax)
    ax.set(xlabel="epochs", ylabel=f"{which.replace('_', ' ')} (%)")
    error_axis(ax)
    name_lines(ax)
    return ax


def error_axis(ax: Axes) -> None:
    """A logarithmic axis of errors in %, on which the last ones can be told apart under the first."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())


def mean_curve(runs: pd.DataFrame, x: str, y: str, style: dict, label: str, ax: Axes) -> None:
    """A column of runs against another: the mean over seeds with its band, or the runs under three seeds."""
    wide = runs.pivot(index=x, columns="seed", values=y)
    mean_line(wide.index, wide, style | {"label": label, "markersize": 5}, ax)


def mean_line(x: Sequence[float], wide: pd.DataFrame, style: dict, ax: Axes, *, lowest: float = float("-inf")) -> None:
    """Means of rows over columns, one a seed, with the band of their t intervals; under three seeds a line a seed.

    The band is cut off at `lowest`, the least value that is possible.
    """
    if wide.shape[1] < paper.minimum_seeds():
        for position, seed in enumerate(wide):
            ax.plot(x, wide[seed], **style | {"label": style.get("label") if position == 0 else None})
        return
    intervals = [analysis.mean(row.dropna()) for _, row in wide.iterrows()]
    ax.plot(x, [each.estimate for each in intervals], **style)
    ends = [[max(each.low, lowest) for each in intervals], [each.high for each in intervals]]
    ax.fill_between(x, *ends, color=style["color"], alpha=0.15, linewidth=0)


def final_error_by_batch(history: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Final validation error of one network against batch size: every run, and means with t intervals.

    Returns the axes; they have the paper's curve too, and a legend, where the network is the paper's own.
    """
    ax = ax or plt.subplots()[1]
    table = analysis.outcomes(history)
    sizes = set(table.batch_size)
    beside_the_papers = is_the_papers(table, "figure1")
    if beside_the_papers:
        sizes |= set(_paper_errors(ax))
    for batch_size, runs in table.groupby("batch_size"):
        runs_and_mean(batch_size, runs.final_error, batch_style(batch_size), ax)
    batch_axis(ax, sorted(sizes))
    ax.set(ylabel="final validation error (%)")
    if beside_the_papers:
        ax.plot([], [], "o", color="0.2", label="here")
        ax.legend()
    return ax


def is_the_papers(frame: pd.DataFrame, item: str) -> bool:
    """Whether a frame is of the network that the paper's figure is of."""
    return len(frame) > 0 and set(frame.network) == {paper.published(item)["network"]}


def _paper_errors(ax: Axes) -> list[int]:
    """Draw the paper's final errors by batch size; returns the batch sizes."""
    published = paper.published("figure1")
    label = f"paper: {published['label']}, {published['dataset_label']} (digitised)"
    ax.plot(published["batch_sizes"], published["validation_error"], "x--", color="0.45", label=label)
    return published["batch_sizes"]


def batch_axis(ax: Axes, sizes: list[int]) -> None:
    """A logarithmic axis of batch sizes."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [str(size) for size in sizes], rotation=45)
    ax.set(xlabel="batch size (log scale)")


def accuracy_by_method(table: pd.DataFrame, history: pd.DataFrame, label: str, *, ax: Axes | None = None) -> Axes:
    """Final accuracy of the five methods of one row: the paper's numbers, our runs, our means with t intervals.

    `table` is what `analysis.compare_with_paper` gives, `label` that of the row in it, `history` the row's runs alone.
    """
    ax = ax or plt.subplots()[1]
    rows = table[table.network == label].reset_index(drop=True)
    runs = analysis.outcomes(history)
    ax.plot(rows.index, rows.paper, "x", color="0.35", markersize=9, label=f"paper: {rows.paper_data[0]}")
    for position, row in rows.iterrows():
        own = 100 - runs[runs.method == row.method].final_error
        runs_and_mean(position + 0.18, own, method_style(row.method), ax)
    if len(runs):
        ax.plot([], [], "o", color="0.2", label=f"here: {rows.data[0]}")
    ax.set_xticks(rows.index, [method.replace("LR+", "LR\n+") for method in rows.method])
    ax.set(ylabel="final validation accuracy (%)")
    ax.legend()
    return ax


def runs_and_mean(x: float, values: pd.Series, style: dict, ax: Axes, *, logs: bool = False) -> None:
    """Some runs at one place of an axis, and from three on their mean with its t interval; `logs`: of logarithms."""
    values = values.dropna()
    few = len(values) < paper.minimum_seeds()
    marks = {"markersize": 7} if few else {"alpha": 0.35, "markersize": 5}
    ax.plot([x] * len(values), values, **{**style, **marks, "linestyle": ""})
    if few:
        return
    found = analysis.mean(np.log(values) if logs else values)
    ends = np.array([found.estimate, found.low, found.high])
    middle, low, high = np.exp(ends) if logs else ends
    look = {"capsize": 4, "markersize": 8, **style, "linestyle": ""}
    ax.errorbar(x, middle, yerr=[[middle - low], [high - middle]], **look)
