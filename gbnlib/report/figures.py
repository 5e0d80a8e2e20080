"""The form of a figure: names at the ends of its lines, a wide form for a page and a narrow one for a phone."""

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from gbnlib import files

#: The size of all text in points, and of a panel in inches.
TYPE, PANEL = 10.5, (4.8, 3.7)
#: Inches of the narrow form and of a panel that is alone; characters of a title in an inch, at most.
_NARROW, _ALONE, _CHARACTERS = 4.4, 6.6, 11.5
#: Names of lines stand so far apart, up and down and, to be neighbours at all, to the side; in points.
_APART, _ASIDE = 1.15 * TYPE, 45.0
_LONG = re.compile(r"\d+\.\d{3,}")
_LUMINANCE = (0.2126, 0.7152, 0.0722)


def name_lines(ax: Axes) -> None:
    """Write the label of each line at its last point within the axes, in place of a legend."""
    (left, right), (bottom, top) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    for line in ax.get_lines():
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        inside = np.flatnonzero((x >= left) & (x <= right) & (y >= bottom) & (y <= top))
        if len(inside) and not line.get_label().startswith("_"):
            name_point(ax, line.get_label(), x[inside[-1]], y[inside[-1]], line.get_color())


def name_point(ax: Axes, name: str, x: float, y: float, color: object) -> None:
    """Write a name to the right of a point, in its colour as dark as text has to be."""
    shade = np.array(to_rgb(color))
    while np.dot(shade**2.2, _LUMINANCE) > 0.18:  # 4.5 : 1 on white
        shade = 0.95 * shade
    place = {"textcoords": "offset points", "va": "center", "annotation_clip": False, "gid": "name"}
    ax.annotate(name, (x, y), (7, 0), color=tuple(shade), **place)


def write(figure: Figure, folder: Path, name: str, title: str = "") -> Path:
    """Write a figure as PNG and SVG, its panels as they are placed, and as a narrow SVG, one below the other.

    Returns the path of the PNG.
    """
    for form in _forms(figure, title):
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        files.write_text(files.inside(folder, f"{name}{form}", ".svg"), _shorter(text.getvalue()))
    figure.set_layout_engine("none")  # the PNG keeps what the wide form has worked out
    png = files.inside(folder, name, ".png")
    with files.atomic(png) as path:
        figure.savefig(path, format="png")
    return png


def _shorter(svg: str) -> str:
    """An SVG whose tags have coordinates of two digits; its text, such as the numbers of an axis, is as it was."""
    return re.sub(r"<[^>]*>", lambda tag: _LONG.sub(lambda number: f"{float(number[0]):.2f}", tag[0]), svg)


def _forms(figure: Figure, title: str) -> Iterator[str]:
    """Bring a figure into its narrow form and then into its wide one; what their files' names end in."""
    axes = figure.axes
    wide = [ax.get_subplotspec() for ax in axes]
    rows, columns = wide[0].get_gridspec().get_geometry() if axes else (1, 1)
    height = figure.get_figheight() / rows
    for ax in axes:
        ax.tick_params(labelleft=True, labelbottom=True)  # those that share an axis may be apart
    forms = {
        "-narrow": (list(GridSpec(len(axes) or 1, 1, figure=figure)), _NARROW, len(axes)),
        "": (wide, _ALONE if columns == 1 else columns * PANEL[0], rows),
    }
    for form, (places, width, down) in forms.items():
        for ax, place in zip(axes, places, strict=False):
            ax.set_subplotspec(place)
        figure.set_size_inches(width, height * down)
        figure.set_figheight(height * down + 0.2 * _head(figure, title).count("\n"))
        _move_names_apart(figure)
        yield form


def _head(figure: Figure, title: str) -> str:
    """Give a figure its title in lines that fit its width, and return them."""
    for characters in range(int(figure.get_figwidth() * _CHARACTERS), 0, -1):
        lines = textwrap.fill(title, characters)
        heading = figure.suptitle(lines, x=0.01, ha="left", fontweight="bold")
        if heading.get_window_extent().width <= 0.96 * figure.bbox.width:
            break
    return lines


def _move_names_apart(figure: Figure) -> None:
    """Move names of lines that end side by side up or down, as little as it takes."""
    named = {ax: [text for text in ax.texts if text.get_gid() == "name"] for ax in figure.axes}
    if any(named.values()):
        figure.draw_without_rendering()
    for ax, names in named.items():
        at = {text: ax.transData.transform(text.xy) * 72 / figure.dpi for text in names}
        names.sort(key=lambda text: at[text][1])
        for column in {round(at[text][0] / _ASIDE) for text in names}:
            beside = [text for text in names if round(at[text][0] / _ASIDE) == column]
            heights = [at[text][1] for text in beside]
            floor = (ax.bbox.y0 * 72 / figure.dpi) + TYPE / 2  # below are the axis and its numbers
            for text, height, moved in zip(beside, heights, apart(heights, _APART, floor), strict=True):
                text.set_position((7, moved - height))


def apart(heights: Sequence[float], least: float, floor: float = -np.inf) -> list[float]:
    """Rising heights, moved as little as it takes until neighbours are `least` apart: those too near share a middle.

    None ends below `floor`.
    """
    pools: list[list[float]] = []
    for height in heights:
        pools.append([height])
        while len(pools) > 1 and np.mean(pools[-1]) - np.mean(pools[-2]) < least * sum(map(len, pools[-2:])) / 2:
            pools[-2:] = [pools[-2] + pools[-1]]
    moved = [np.mean(pool) + least * (place - (len(pool) - 1) / 2) for pool in pools for place in range(len(pool))]
    return [max(height, floor + least * place) for place, height in enumerate(moved)]
