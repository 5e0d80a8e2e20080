"""Turn an executed notebook into a page: code folded, alt text on pictures, traces of the tools gone.

A notebook is handled as the JSON that it is: importing nbformat takes longer than all that is done here.
"""

import re
from binascii import a2b_base64
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from gbnlib.errors import UsageError
from gbnlib.files import read_json
from gbnlib.report.site.escape import text

if TYPE_CHECKING:
    from gbnlib.report.site.contents import Item

PARAMETER_TAGS = {"parameters", "injected-parameters"}
ERROR_NOTICE = "papermill-error-cell-tag"
SHOWN = ("image/png", "text/html", "text/markdown", "text/plain")
WIDGET = "application/vnd.jupyter.widget-view+json"
LOCAL_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)([^)\s]*)\)")
# What MyST takes for a call of a directive or a role; a notebook has no use for them, and some of them read files.
DIRECTIVE = re.compile(r"([`~:]{3,})([^\S\n]*)(?=\{)")
ROLE = re.compile(r"(?<!\\)(?=\{[\w+:-]+\}`)")
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def _joined(value: object) -> object:
    """A text, which notebooks may keep as a list of lines."""
    return "".join(map(str, value)) if isinstance(value, list) else value


def _shown(data: object) -> object:
    """Of the forms of an output those that a page shows: of a widget none, and no picture that cannot be read."""
    if not isinstance(data, dict):
        return data
    kept = {} if WIDGET in data else {kind: _joined(data[kind]) for kind in SHOWN if kind in data}
    try:
        a2b_base64(kept.get("image/png", ""))
    except (ValueError, TypeError):
        del kept["image/png"]
    return kept


Text = Annotated[str, BeforeValidator(_joined)]


class Stream(BaseModel):
    """What was printed."""

    output_type: Literal["stream"]
    name: str
    text: Text


class Error(BaseModel):
    """Where the notebook stopped."""

    output_type: Literal["error"]
    ename: str
    evalue: str
    traceback: list[str]


class Display(BaseModel):
    """What was shown, in several forms."""

    output_type: Literal["display_data", "execute_result"]
    data: Annotated[dict[str, str], BeforeValidator(_shown)]
    metadata: dict[str, Any]
    execution_count: int | None = None


class Tags(BaseModel):
    """What is said of a cell."""

    tags: list[str] = []


class Cell(BaseModel):
    """A cell; one of code has outputs."""

    cell_type: Literal["markdown", "code", "raw"]
    source: Text
    metadata: Tags
    outputs: list[Annotated[Stream | Error | Display, Field(discriminator="output_type")]] = []


class Papermill(BaseModel):
    """How papermill executed the notebook."""

    parameters: dict[str, Any] = {}


class Facts(BaseModel):
    """What is said of a notebook."""

    papermill: Papermill = Papermill()


class Book(BaseModel):
    """A notebook of format 4, as much of it as a page shows."""

    cells: list[Cell]
    metadata: Facts


def read_notebook(path: Path) -> dict:
    """Read a notebook (format 4), with the source of each cell as one string; a `UsageError` if it is none."""
    try:
        return Book.model_validate(read_json(path)).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path} is no notebook ({where}: {first['msg']}). Execute it again.") from None


def first_error(notebook: dict) -> str:
    """Return the error at which the notebook stopped, as ``Name: message``, or ''."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if output["output_type"] == "error":
                return f"{output['ename']}: {output['evalue']}"
    return ""


def parameters(notebook: dict) -> dict[str, object]:
    """Return the parameters papermill was given."""
    return notebook["metadata"].get("papermill", {}).get("parameters", {})


def as_page(notebook: dict, item: "Item", note: str, shown: Collection[str] = ()) -> dict:
    """Return the notebook as the report shows it, with ``note`` below its first heading.

    Of the links to other files those to the notebooks in ``shown`` stay; the report holds nothing else.
    """
    kept = [cell for cell in notebook["cells"] if cell["source"].strip() and ERROR_NOTICE not in _tags(cell)]
    cells = []
    for cell in kept:
        cells += _code(cell) if cell["cell_type"] == "code" else [_text(_unlinked(_inert(cell["source"]), shown))]
    suffix = "" if item.only_text else " (notebook)"
    cells = _with_head(cells, item.title, suffix, note)
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": PYTHON, "cells": cells}


def _tags(cell: dict) -> set[str]:
    return set(cell["metadata"].get("tags", ()))


def _text(source: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _inert(source: str) -> str:
    """Markdown in which nothing is called: a directive is a listing, a role is words."""
    return ROLE.sub(r"\\", DIRECTIVE.sub(r"\1text ", source))


def _unlinked(source: str, shown: Collection[str]) -> str:
    """Leave the words of a link to a file that is not in the report, and take the link away."""

    def keep(link: re.Match) -> str:
        return link[0] if Path(link[2].partition("#")[0]).stem in shown else link[1]

    return LOCAL_LINK.sub(keep, source)


def _code(cell: dict) -> list[dict]:
    """A cell with its code folded, and one with hidden code for each further picture.

    MyST-NB has one alt text a cell, and leaves out a cell whose source is empty.
    """
    tag = "remove-input" if _tags(cell) & PARAMETER_TAGS else "hide-input"
    first, *others = _one_picture_each([output for output in cell.get("outputs", ()) if _visible(output)])
    return [_part(tag, cell["source"], first), *(_part("remove-input", "pass", outputs) for outputs in others)]


def _part(tag: str, source: str, outputs: list[dict]) -> dict:
    metadata = {"tags": [tag], "mystnb": {"image": {"alt": _alt(outputs)}}}
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": outputs, "execution_count": None}


def _one_picture_each(outputs: list[dict]) -> list[list[dict]]:
    """Cut outputs in front of each picture but the first."""
    parts: list[list[dict]] = [[]]
    for output in outputs:
        if _is_picture(output) and any(map(_is_picture, parts[-1])):
            parts.append([])
        parts[-1].append(output)
    return parts


def _is_picture(output: dict) -> bool:
    return "image/png" in output.get("data", {})


def _visible(output: dict) -> bool:
    """Tell whether there is anything to see: not in a progress line that was cleared at the end."""
    data = output.get("data", {"text/plain": "something"})
    return bool(data) and bool(data.get("text/markdown", "something").strip())


def _alt(outputs: list[dict]) -> str:
    """Return the alt text that ``save_figure`` leaves in the metadata of its output; MyST-NB looks for it elsewhere."""
    images = (image for output in outputs for image in output.get("metadata", {}).values() if isinstance(image, dict))
    return next((str(image["alt"]) for image in images if image.get("alt")), "Picture drawn by the code of this cell")


def _with_head(cells: list[dict], title: str, suffix: str, note: str) -> list[dict]:
    """Put the note below the first heading; a notebook that starts without one gets its item's title.

    The suffix tells the notebook's page from that of its results, which has the same title, in a list of both.
    """
    heading, _, rest = cells[0]["source"].lstrip().partition("\n") if cells else ("", "", "")
    if cells and cells[0]["cell_type"] == "markdown" and heading.startswith("# "):
        return [_text(f"{heading}{suffix}\n\n{note}\n\n{rest}"), *cells[1:]]
    return [_text(f"# {text(title)}{suffix}\n\n{note}"), *cells]
