"""The answer in one picture: final error against the number of updates. `python -m gbnlib.report.readme` writes it."""

import io
import textwrap
from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gbnlib import paper
from gbnlib.analysis.outcomes import published_accuracies
from gbnlib.report import figures
from gbnlib.report.answer import REMEDIES, seeds

#: Colours of text, lines and marks on a light and on a dark page.
THEMES: Mapping[str, Mapping[str, str]] = {
    "light": {
        "text": "#1f2630",
        "faint": "#5b6470",
        "grid": "#e6e8eb",
        "band": "#dcecea",
        "batches": "#4a5260",
        "LB+LR": "#b34700",
        "LB+LR+GBN": "#8a1c0b",
        "LB+LR+GBN+RA": "#3d3273",
    },
    "dark": {
        "text": "#e6eaf0",
        "faint": "#a6b0bc",
        "grid": "#2c333d",
        "band": "#1d3a38",
        "batches": "#b9c1cc",
        "LB+LR": "#ffa657",
        "LB+LR+GBN": "#ff8a73",
        "LB+LR+GBN+RA": "#b4a7f5",
    },
}
#: Methods at one number of updates stand side by side, by these factors.
_ASIDE = {"LB+LR": 0.89, "LB+LR+GBN": 0.8}


def svg(table: pd.DataFrame, title: str, theme: str, *, narrow: bool = False) -> str:
    """The text of `draw` as SVG, the same for the same table."""
    figure, text = draw(table, title, theme, narrow=narrow), io.StringIO()
    with plt.rc_context({"svg.hashsalt": "gbnlib", "svg.fonttype": "path"}):  # else ids are drawn at random
        figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    return text.getvalue()


def draw(table: pd.DataFrame, title: str, theme: str = "light", *, narrow: bool = False) -> Figure:
    """Draw `analysis.errors_by_updates` of F1 on MNIST, with the paper's numbers as crosses; `narrow` is for a phone.

    Batches at one rate are a line, what is done for the large one are diamonds; a mean of fewer seeds than a verdict
    takes is open and has no interval. The band is the small batch's interval.
    """
    colors = THEMES[theme]
    with plt.style.context(["default", _style(colors)]):  # whatever the theme of the notebooks is
        figure, ax = plt.subplots(figsize=(4.6, 4.9) if narrow else (9.6, 4.7), layout="constrained")
        words = textwrap.fill(title, 38) if narrow else title
        figure.suptitle(words, x=0.01, ha="left", fontsize=13 if narrow else 14, fontweight="bold")
        _small_band(table[table.method == "SB"], ax, colors)
        batches = table[table.method.isin(["SB", "LB"])].sort_values("updates")
        ax.plot(batches.updates, batches.error, color=colors["batches"], linewidth=1.6, alpha=0.7)
        for row in batches.itertuples():
            _mark(row, row.updates, "o", colors["batches"], ax)
        _published(table, ax, colors)
        for row in table[table.method.isin(REMEDIES)].itertuples():
            _mark(row, row.updates * _ASIDE.get(row.method, 1.0), "D", colors[row.method], ax)
        _label_batches(
            batches[(batches.method == "SB") | (batches.batch_size == batches.batch_size.max())] if narrow else batches,
            ax,
            colors,
        )
        _label_remedies(table, ax, colors)
        _axes(ax, colors, lowest=30 if narrow else 190)
        figure.supxlabel(
            _note(table, 46 if narrow else 200), x=0.01, ha="left", fontsize="small", color=colors["faint"]
        )
    return figure


def _note(table: pd.DataFrame, width: int) -> str:
    """What bars and band are, and which marks do not stand at their number of updates."""
    aside = table[table.method.isin(_ASIDE)].updates
    moved = f" Marks of {aside.iloc[0]:,.0f} updates stand side by side." if len(aside) else ""
    said = f"Bars, and the band of the small batch: 95 % intervals over {seeds(table)}.{moved}"
    return textwrap.fill(said, width)


def _style(colors: Mapping[str, str]) -> dict:
    """Text and lines in the colours of a theme, on nothing."""
    return {
        "font.size": 11.5,
        "text.color": colors["text"],
        "axes.titlecolor": colors["text"],
        "axes.labelcolor": colors["faint"],
        "xtick.color": colors["faint"],
        "ytick.color": colors["faint"],
        "axes.edgecolor": colors["faint"],
        "axes.spines.left": False,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
    }


def _small_band(small: pd.DataFrame, ax: Axes, colors: Mapping[str, str]) -> None:
    """The small batch's interval over the whole width."""
    if len(small) and not pd.isna(small.low.iloc[0]):
        ax.axhspan(small.low.iloc[0], small.high.iloc[0], color=colors["band"], linewidth=0, zorder=0)


def _mark(row: tuple, x: float, marker: str, color: str, ax: Axes) -> None:
    """A mean with its interval; open and without one where it rests on too few seeds."""
    few = row.n < paper.minimum_seeds()
    if not few:
        ax.plot([x, x], [row.low, row.high], color=color, linewidth=2, zorder=3)
    fill = "none" if few else "full"
    ax.plot(x, row.error, marker, color=color, fillstyle=fill, markeredgewidth=2, markersize=7, zorder=4)


def _published(table: pd.DataFrame, ax: Axes, colors: Mapping[str, str]) -> None:
    """The paper's errors as crosses, where the methods stand or, without runs, would stand."""
    theirs = published_accuracies("f1")
    found = table.groupby("method").updates.min()
    at = {"LB+LR+GBN+RA": found.get("SB")} | found.to_dict()
    cross = {"marker": "x", "color": colors["faint"], "markersize": 8, "markeredgewidth": 1.6, "linestyle": ""}
    for method, accuracy in theirs.items():
        if at.get(method):
            ax.plot(at[method] * _ASIDE.get(method, 1.0), 100 - accuracy, zorder=2, **cross)
    if "LB+LR+GBN+RA" not in found and "SB" in found:
        words = f"{REMEDIES['LB+LR+GBN+RA']}: not run here yet"
        place = {"textcoords": "offset points", "ha": "right", "va": "center"}
        ax.annotate(words, (at["SB"], 100 - theirs["LB+LR+GBN+RA"]), (-9, 0), color=colors["faint"], **place)
    ax.plot([], [], label="the paper's Table 1", **cross)
    ax.legend(loc="upper right", frameon=False)


def _label_batches(batches: pd.DataFrame, ax: Axes, colors: Mapping[str, str]) -> None:
    """The batch size over each mark of the line."""
    for row in batches.itertuples():
        top = row.error if pd.isna(row.high) else row.high
        words = f"batch {row.batch_size:,}" if row.method == "SB" or row.batch_size == batches.batch_size.max() else ""
        ax.annotate(
            words or f"{row.batch_size:,}",
            (row.updates, top),
            (0, 7),
            textcoords="offset points",
            ha="center",
            color=colors["batches"],
        )


def _label_remedies(table: pd.DataFrame, ax: Axes, colors: Mapping[str, str]) -> None:
    """The names of the remedies beside their marks, those at one number of updates kept apart."""
    rows = [row for row in table.itertuples() if row.method in REMEDIES]
    sides = sorted((row for row in rows if row.method in _ASIDE), key=lambda row: row.error)
    heights = figures.apart([row.error for row in sides], 0.11 * (table.error.max() - table.error.min() + 0.5))
    placed = dict(zip([row.method for row in sides], heights, strict=True))
    for row in rows:
        words = REMEDIES[row.method] + (f" ({row.n} seed{'s' * (row.n > 1)})" if row.n < paper.minimum_seeds() else "")
        at = row.updates * (min(_ASIDE.values()) if row.method in _ASIDE else 1), placed.get(row.method, row.error)
        style = {"color": colors[row.method], "fontweight": "bold", "ha": "right", "va": "center"}
        ax.annotate(words, at, (-9, 0), textcoords="offset points", **style)


def _axes(ax: Axes, colors: Mapping[str, str], lowest: int) -> None:
    """A logarithmic axis of updates in full numbers, errors in per cent, lines behind all."""
    ax.set_xscale("log")
    ax.set(xlim=(lowest, 62000), xlabel="weight updates (log scale)")
    ax.set_xticks([1000, 3000, 10000, 30000], ["1,000", "3,000", "10,000", "30,000"], fontsize="small")
    ax.xaxis.set_minor_locator(plt.NullLocator())
    ax.yaxis.set_major_formatter("{x:g} %")
    ax.yaxis.set_major_locator(plt.MultipleLocator(0.5))
    ax.set_ylabel("validation error")
    ax.grid(axis="y", color=colors["grid"])
    ax.grid(False, axis="x")
    ax.tick_params(length=0)
    ax.set_axisbelow(True)
