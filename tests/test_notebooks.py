"""The notebooks' source: order, sizes, parameters, no outputs."""

import ast
import re

import nbformat
import papermill
import pytest

from gbnlib import files
from gbnlib.report.items import items
from gbnlib.report.parameters import COMMON

FOLDER = files.REPOSITORY / "notebooks"
ITEMS = list(items().values())
ORDER = ["parameters", "setup", "method", "compute", "checks", "figure", "table", "comparison", "verdict", "provenance"]
HEADINGS = [
    "What the paper claims",
    "What we expect",
    "Parameters",
    "Method",
    "Limits",
    "Try it yourself",
    "Provenance",
]


@pytest.fixture(params=ITEMS, ids=lambda item: item.name)
def notebook(request) -> nbformat.NotebookNode:
    """The source of one notebook."""
    return nbformat.read(FOLDER / f"{request.param.notebook}.ipynb", as_version=4)


def tags(cell: nbformat.NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def test_every_notebook_belongs_to_an_item_and_back() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(item.notebook for item in ITEMS)


def test_sizes_leave_five_minutes_of_reading(notebook) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert 15 <= len(notebook.cells) <= 26 and len(code) <= 12
    assert all(len(cell.source.splitlines()) <= 15 for cell in code)
    assert all(len(cell.source.split()) <= 125 for cell in notebook.cells if cell.cell_type == "markdown")


def test_no_paragraph_is_longer_than_90_words(notebook) -> None:
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    paragraphs = re.split(r"\n\n|\n(?=\d\. |- |\|)", prose)
    assert [each for each in paragraphs if len(each.split()) > 90] == []


def test_sections_come_in_the_fixed_order(notebook) -> None:
    found = [tag for cell in notebook.cells for tag in tags(cell) if tag in ORDER]
    assert [tag for tag in found if tag in ("parameters", "setup", "provenance")] == [
        "parameters",
        "setup",
        "provenance",
    ]
    known = [ORDER.index(tag) for tag in found]
    assert known == sorted(known) and found[-1] == "provenance"
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    said = "What the follow-ups claim" if ": beyond the paper\n" in text else HEADINGS[0]
    places = [text.find(f"## {heading}") for heading in (said, *HEADINGS[1:])]
    assert -1 not in places and places == sorted(places)


def test_there_is_one_title_and_it_is_the_items(notebook) -> None:
    titles = re.findall(r"^# (.+)$", "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown"), re.M)
    assert titles == [item.title for item in ITEMS if item.title == titles[0]]


def test_the_source_has_no_outputs_and_no_tricks(notebook) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
            assert not re.search(r"^\s*[%!]|warnings|pip install|https?://|/home/", cell.source, re.M)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_papermill_sees_the_parameters_with_types_and_help(item) -> None:
    found = papermill.inspect_notebook(str(FOLDER / f"{item.notebook}.ipynb"))
    assert list(found)[: len(COMMON)] == list(COMMON)
    for name, parameter in found.items():
        assert parameter["inferred_type_name"] in ("str", "int", "float", "bool")
        assert 0 < len(parameter["help"]) < 60 and not re.search("[=#]", parameter["help"])
        if name in COMMON:
            assert type(ast.literal_eval(parameter["default"])) is COMMON[name]
