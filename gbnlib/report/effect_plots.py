"""Forest plots: what each change of the protocol does to the accuracy, a row a change."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from gbnlib.report.plots import method_style

#: Points from the axis to the legend, which has no place among the marks: numbers and a label of two lines.
_BELOW = 46
#: Characters of a line of a row's label, so that on a phone there is room for marks.
_LABEL = 24


def forest(effects: pd.DataFrame, over: str, *, methods: Sequence[str] = (), ax: Axes | None = None) -> Axes:
    """Differences with their intervals, a row a change and a mark a method; filled where they are decided.

    Parameters
    ----------
    effects : rows of `analysis.ablation_effects` and `analysis.declared_effects`.
    over : what is compared with: "before" (the same method without the change), "LB" or "LB+LR".
    methods : those to show; by default all.
    ax : axes to draw on; None makes new ones.

    Returns
    -------
    The axes. A mark is filled where its difference from zero survives Holm's correction.
    """
    ax = ax or plt.subplots()[1]
    shown = effects[effects.over == over]
    shown = shown[shown.method.isin(methods)] if methods else shown
    ax.axvline(0, color="0.5", linewidth=1)
    names = list(dict.fromkeys(zip(shown.on, shown.changed, strict=True)))
    order = list(dict.fromkeys(shown.method))
    beside = shown.groupby(["on", "changed"]).method.agg(list)
    for row in shown.itertuples():
        place = names.index((row.on, row.changed))
        at = beside[row.on, row.changed]
        height = place + 0.18 * (at.index(row.method) - (len(at) - 1) / 2)
        style = {**method_style(row.method), "linestyle": "", "markersize": 7}
        face = style["color"] if row.decided else "white"
        ends = [[row.estimate - row.low], [row.high - row.estimate]]
        ax.errorbar(row.estimate, height, xerr=ends, capsize=3, markerfacecolor=face, **style)
    for method in order:
        ax.plot([], [], label=method, **{**method_style(method), "linestyle": ""})
    labels = [name if on == "declared" else f"today, {name}" for on, name in names]
    ax.set_yticks(range(len(names)), [textwrap.fill(label, _LABEL) for label in labels])
    other = "the same method\nwithout the change" if over == "before" else over
    ax.set(ylim=(max(len(names), 1) - 0.5, -0.5), xlabel=f"accuracy over {other} (points)")
    if len(order) > 1:
        below = ax.transAxes + ScaledTranslation(0, -_BELOW / 72, ax.figure.dpi_scale_trans)
        ax.legend(loc="upper right", ncols=2, bbox_to_anchor=(1, 0), bbox_transform=below)  # under the labels of rows
    return ax
