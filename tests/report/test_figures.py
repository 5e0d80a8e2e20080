"""The form of the figures: colours that can be told apart, names at lines, sizes of text, titles from verdicts."""

import re
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from gbnlib import claims, paper
from gbnlib.report import effect_plots, figures, plots, wording


def lab(color: object) -> np.ndarray:
    """CIE L*a*b* of a colour, for sRGB and D65."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.array(matrix) @ linear / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_neighbouring_batch_sizes_are_told_apart_and_larger_ones_are_darker() -> None:
    """A difference of 18 is about eight times what is just noticed (2.3), side by side."""
    shades = [lab(plots.batch_style(2**power)["color"]) for power in range(5, 13)]
    assert all(np.linalg.norm(before - after) > 18 and after[0] < before[0] - 5 for before, after in pairwise(shades))
    ends = [lab(plt.get_cmap("viridis")(end)) for end in (1.0, 0.0)]
    np.testing.assert_allclose([shades[0], shades[-1]], ends)
    markers = [plots.batch_style(2**power)["marker"] for power in range(4, 14)]
    assert len(set(markers)) == len(markers)


@pytest.mark.parametrize(
    ("heights", "moved"),
    [([0, 0, 0], [-2, 0, 2]), ([0, 5], [0, 5]), ([0, 1, 9], [-0.5, 1.5, 9]), ([0, 1, 2], [-1, 1, 3]), ([], [])],
)
def test_heights_move_as_little_as_it_takes(heights, moved) -> None:
    assert figures.apart(heights, 2) == pytest.approx(moved)


@given(st.lists(st.floats(-100, 100), max_size=12), st.floats(0.1, 10))
def test_heights_end_apart_around_the_same_mean(heights: list[float], least: float) -> None:
    moved = figures.apart(sorted(heights), least)
    assert all(after - before >= least - 1e-9 for before, after in pairwise(moved))
    assert sum(moved) == pytest.approx(sum(heights), abs=1e-6)


def test_heights_stay_above_a_floor_and_apart() -> None:
    assert figures.apart([0, 1, 9], 2, floor=1) == [1, 3, 9]


def test_coordinates_are_short_and_the_numbers_of_an_axis_as_they_were(tmp_path) -> None:
    plots.set_theme()
    figure, ax = plt.subplots()
    ax.plot([0, 1], [0.0005, 0.0015])
    ax.set_yticks([0.0005, 0.001, 0.0015])
    figures.write(figure, tmp_path, "x")
    plt.close(figure)
    text = (tmp_path / "x.svg").read_text()
    assert all(f">{tick}<" in text for tick in ("0.0005", "0.0010", "0.0015"))
    assert not re.search(r'[" ]\d+\.\d{3,}[" ]', text)


def test_the_legend_of_a_forest_plot_is_below_the_marks() -> None:
    plots.set_theme()
    rows = [(method, "x", "before", 0.5, 0.4, 0.6, True, "declared") for method in ("SB", "LB", "LB+LR")]
    rows.append(("LB", "alone", *rows[0][2:]))
    names = ["method", "changed", "over", "estimate", "low", "high", "decided", "on"]
    ax = effect_plots.forest(pd.DataFrame(rows, columns=names), "before")
    ax.figure.draw_without_rendering()
    legend, label = ax.get_legend().get_window_extent(), ax.xaxis.label.get_window_extent()
    plt.close(ax.figure)
    assert legend.y1 <= label.y0 + 1
    heights = sorted(bar.lines[0].get_ydata()[0] for bar in ax.containers)
    assert heights == pytest.approx([-0.18, 0, 0.18, 1])  # what is alone stands at its row


def contrast_on_white(color: object) -> float:
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)


def curves() -> pd.DataFrame:
    """Five batch sizes that end within a tenth of a per cent of each other."""
    rows = [
        (size, seed, epoch, 2 + 20 / epoch + 0.02 * power)
        for power, size in enumerate((128, 512, 1024, 2048, 4096))
        for seed in range(3)
        for epoch in range(1, 30)
    ]
    frame = pd.DataFrame(rows, columns=["batch_size", "seed", "epoch", "validation_error"])
    return frame.assign(training_error=frame.validation_error)


@pytest.fixture
def pair():
    """Two panels of curves as Figure 1 has them."""
    plots.set_theme()
    figure, axes = plt.subplots(1, 2, sharey=True)
    for ax, which in zip(axes, ("training_error", "validation_error"), strict=True):
        plots.error_curves(curves(), which=which, ax=ax)
    yield figure
    plt.close(figure)


def test_lines_have_their_names_beside_their_ends_and_no_legend(pair) -> None:
    for ax in pair.axes:
        assert ax.get_legend() is None
        names = {text.get_text(): text for text in ax.texts}
        assert list(names) == ["batch 128", "batch 512", "batch 1,024", "batch 2,048", "batch 4,096"]
        for line in (line for line in ax.lines if line.get_label() in names):
            assert names[line.get_label()].xy == (line.get_xdata()[-1], line.get_ydata()[-1])
        assert all(contrast_on_white(text.get_color()) > 4.5 for text in names.values())


@pytest.mark.parametrize("form", ["-narrow", ""])
def test_a_title_of_capitals_fits_its_figure(form: str) -> None:
    plots.set_theme()
    figure = plt.subplots()[0]
    title = "ACCURACY OF LB+LR+GBN+RA MINUS THAT OF SB AND OF LB+LR+GBN " * 2
    next(each for each in figures._forms(figure, title) if each == form)
    figure.draw_without_rendering()
    plt.close(figure)
    assert figure._suptitle.get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize("form", ["-narrow", ""])
def test_names_do_not_touch_and_panels_are_below_each_other_when_narrow(pair, form: str) -> None:
    title = "A title that is as long as the finding of a claim with its numbers"
    next(each for each in figures._forms(pair, title) if each == form)
    pair.canvas.draw()
    for ax in pair.axes:
        boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.y0)
        assert all(below.y1 <= above.y0 + 1 for below, above in pairwise(boxes))
        assert all(box.x0 >= 0 and box.x1 <= pair.bbox.x1 for box in boxes)
    first, second = (ax.get_position() for ax in pair.axes)
    assert (second.x0 > first.x1) == (form == "") and (second.y1 < first.y0) == (form == "-narrow")


def test_all_text_has_one_size_which_is_nine_pixels_on_a_phone(pair, tmp_path) -> None:
    figures.write(pair, tmp_path, "x", "A title")
    for name, width in (("x", 860), ("x-narrow", 340)):
        text = (tmp_path / f"{name}.svg").read_text()
        points = float(re.search(r'viewBox="0 0 (\S+) ', text)[1])
        sizes = set(re.findall(r"(\d+(?:\.\d+)?)px", text))
        assert sizes == {"10.5"} and 10.5 * width / points >= 9
    assert (tmp_path / "x.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("verdict", "title"),
    [
        ("reproduced", "Larger batches err more (error: +0.50 points [+0.40, +0.60])"),
        ("partly reproduced", "Larger batches err more, in part (error: +0.50 points [+0.40, +0.60])"),
        ("not reproduced", "Larger batches do not err more (error: +0.50 points [+0.40, +0.60])"),
        ("inconclusive", "Undecided: larger batches err more? (error: +0.50 points [+0.40, +0.60])"),
    ],
)
def test_a_title_is_what_the_runs_say(verdict: str, title: str) -> None:
    effect = claims.Effect("error", "points", 0.5, 0.4, 0.6)
    assert wording.finding(claims.Verdict("C1", "x", verdict, effect=effect)) == title


def test_every_claim_has_words_for_both_outcomes() -> None:
    assert all(claim.otherwise and claim.otherwise != claim.title for claim in paper.claims().values())


def test_steps_in_which_the_error_rises_are_counted() -> None:
    keys = {"run": "r", "network": "f1", "dataset": "mnist", "method": "LB", "status": "finished"}
    errors = {32: 2.0, 64: 3.0, 128: 2.5, 256: 4.0}
    rows = [keys | {"batch_size": size, "seed": 0, "validation_error": error} for size, error in errors.items()]
    assert wording.rises(pd.DataFrame(rows)) == "Mean final error rises in 2 of 3 steps from batch 32 to 256"


def test_decided_changes_are_counted_by_their_side() -> None:
    rows = [("LB", "a", 0.5, True), ("LB", "b", -0.5, True), ("LB", "c", 2.0, False), ("before", "d", 1.0, True)]
    effects = pd.DataFrame(rows, columns=["over", "changed", "estimate", "decided"]).assign(method="LB+LR")
    assert wording.decided(effects, "LB") == "LB+LR lies above LB in 1 of 3 protocols, below in 1"
