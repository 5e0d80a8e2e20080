"""Plots, tables and verdicts where nothing is measured yet."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from gbnlib import claims
from gbnlib.analysis import identities, random_walk
from gbnlib.report import covariance_plots, ghost_plots, landscape_plots, theory_plots

NOTHING = pd.DataFrame()


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: ghost_plots.noise(NOTHING, ax=ax),
        lambda ax: ghost_plots.running_means(NOTHING, 3.0, ax=ax),
        lambda ax: covariance_plots.spread(NOTHING, ax=ax),
        lambda ax: covariance_plots.left_out(NOTHING, ax=ax),
        lambda ax: theory_plots.barriers(NOTHING, ax=ax),
        lambda ax: theory_plots.distance_against_log_time(NOTHING, ax=ax),
        lambda ax: theory_plots.walker_distances(NOTHING, ax=ax),
        lambda ax: theory_plots.sinai_growth(NOTHING, ax=ax),
        lambda ax: theory_plots.sinai_distribution(NOTHING, NOTHING, ax=ax),
        lambda ax: theory_plots.field_distances(NOTHING, logarithmic=True, ax=ax),
    ],
)
def test_a_plot_says_that_nothing_is_measured_yet(draw) -> None:
    figure, ax = plt.subplots()
    assert draw(ax) is ax and [text.get_text() for text in ax.texts] == ["not measured yet"]
    figure.canvas.draw()
    plt.close(figure)


def test_the_landscape_is_drawn_with_the_papers_points_alone() -> None:
    nothing = {"f1": NOTHING, "resnet8": NOTHING}
    figure, axes = plt.subplots(1, 3)
    landscape_plots.relative_spread(nothing, ax=axes[0])
    landscape_plots.paths(nothing, nothing, ax=axes[1])
    landscape_plots.spread(NOTHING, "f1", ax=axes[2])
    figure.canvas.draw()
    plt.close(figure)
    assert [ax.get_xscale() for ax in axes] == ["log", "log", "linear"]
    assert not axes[2].texts  # nothing over the points
    assert [text.get_text() for text in axes[2].get_legend().get_texts()][1] == "here: not measured yet"


def test_tables_and_verdicts_are_empty() -> None:
    assert identities.summarise_accumulation(NOTHING).empty and identities.summarise_identity(NOTHING).empty
    assert random_walk.compare_with_theory(NOTHING, NOTHING, NOTHING).empty
    assert random_walk.field_growth(NOTHING).empty
    verdicts = [claims.judge(claim, NOTHING, item="algorithm1", scale="quick") for claim in ("C5", "C12", "C13")]
    assert {verdict.verdict for verdict in verdicts} == {claims.VERDICTS[-1]}


def test_what_is_measured_of_the_theory_is_compared_alone() -> None:
    valleys = pd.DataFrame({"depth": [10.0] * 20, "x": range(20)})
    assert len(random_walk.compare_with_theory(NOTHING, NOTHING, valleys)) == 1
