"""The figures of the loss landscape."""

import matplotlib.pyplot as plt
import pandas as pd

from gbnlib.report import landscape_plots


def test_figures_are_drawn_where_nothing_is_measured_yet() -> None:
    nothing = {"f1": pd.DataFrame(), "resnet8": pd.DataFrame()}
    figure, axes = plt.subplots(1, 2)
    landscape_plots.relative_spread(nothing, ax=axes[0])
    landscape_plots.paths(nothing, nothing, ax=axes[1])
    figure.canvas.draw()
    plt.close(figure)
    assert [ax.get_xscale() for ax in axes] == ["log", "log"]
