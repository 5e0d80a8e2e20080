"""Turn an executed notebook into a page: a card on top, the figure first, code folded, traces of the tools gone."""

import re
from binascii import a2b_base64
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from gbnlib.errors import UsageError
from gbnlib.files import read_json

PARAMETER_TAGS = {"parameters", "injected-parameters"}
FIGURE_TAGS = {"figure", "table"}
ERROR_NOTICE = "papermill-error-cell-tag"
SHOWN = ("image/png", "text/html", "text/markdown", "text/plain")
ABOUT = "## About this notebook"
WIDGET = "application/vnd.jupyter.widget-view+json"
LOCAL_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)([^)\s]*)\)")
# What MyST takes for a call of a directive or a role; a notebook has no use for them, and some of them read files.
DIRECTIVE = re.compile(r"([`~:]{3,})([^\S\n]*)(?=\{)")
ROLE = re.compile(r"(?<!\\)(?=\{[\w+:-]+\}`)")
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook (format 4); a `UsageError` of one line if it is none."""
    content = read_json(path)
    try:
        nbformat.validate(content, version=4)
        return nbformat.v4.to_notebook(content)
    except Exception as error:  # what is wrong in a file decides which one comes
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{path} is no notebook ({said}). Execute it again.") from None


def first_error(notebook: NotebookNode) -> str:
    """Return the error at which the notebook stopped, as ``Name: message``, or ''."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    errors = (f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error")
    return next(errors, "")


def exhibits(outputs: list[NotebookNode]) -> list[str]:
    """Return the figures and tables of some outputs, by the ids that were saved with them."""
    return [str(output.metadata.exhibit) for output in outputs if "exhibit" in output.get("metadata", {})]


def as_page(
    notebook: NotebookNode, card: str, rest: str, downloads: Callable[[list[str]], str], pages: Collection[str] = ()
) -> NotebookNode:
    """Return the notebook as the report shows it: ``card`` in place of its heading, its first figure before the text.

    ``downloads`` writes what is offered below each figure or table; ``rest`` comes at the end. Of the links to other
    files those to the notebooks in ``pages`` stay; the report holds nothing else.
    """

    def written(source: str) -> NotebookNode:
        kept = LOCAL_LINK.sub(
            lambda link: link[0] if Path(link[2].partition("#")[0]).stem in pages else link[1], source
        )
        return new_markdown_cell(_inert(kept))

    cells = [cell for cell in notebook.cells if cell.source.strip() and ERROR_NOTICE not in _tags(cell)]
    if cells and cells[0].source.startswith("# "):  # the card has the title
        cells[0].source = "\n".join([ABOUT, *cells[0].source.splitlines()[1:]])
    shown = [new_markdown_cell(card)]
    for cell in _figure_first(cells):
        shown += _code(cell, downloads) if cell.cell_type == "code" else [written(cell.source)]
    return new_notebook(cells=[*shown, new_markdown_cell(rest)], metadata=PYTHON)


def _figure_first(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Put the section with the first figure or table before all others."""
    starts = [i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and cell.source.startswith("## ")]
    for start, end in pairwise([*starts, len(cells)]):
        if any(_tags(cell) & FIGURE_TAGS and cell.get("outputs") for cell in cells[start:end]):
            return cells[start:end] + cells[:start] + cells[end:]
    return cells


def _tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def _inert(source: str) -> str:
    """Markdown in which nothing is called: a directive is a listing, a role is words."""
    return ROLE.sub(r"\\", DIRECTIVE.sub(r"\1text ", source))


def _code(cell: NotebookNode, downloads: Callable[[list[str]], str]) -> list[NotebookNode]:
    """A cell with its code folded, and one with hidden code for each further picture, with their downloads.

    MyST-NB has one alt text a cell, and leaves out a cell whose source is empty.
    """
    tag, source, shown = "remove-input" if _tags(cell) & PARAMETER_TAGS else "hide-input", cell.source, []
    for outputs in _one_picture_each([output for output in cell.outputs if _visible(output)]):
        metadata = {"tags": [tag], "mystnb": {"image": {"alt": _alt(outputs)}}}
        shown.append(new_code_cell(source, metadata=metadata, outputs=outputs))
        if offered := downloads(exhibits(outputs)):
            shown.append(new_markdown_cell(offered))
        tag, source = "remove-input", "pass"
    return shown


def _one_picture_each(outputs: list[NotebookNode]) -> list[list[NotebookNode]]:
    """Cut outputs in front of each picture but the first."""
    parts: list[list[NotebookNode]] = [[]]
    for output in outputs:
        if _is_picture(output) and any(map(_is_picture, parts[-1])):
            parts.append([])
        parts[-1].append(output)
    return parts


def _is_picture(output: NotebookNode) -> bool:
    return "image/png" in output.get("data", {})


def _visible(output: NotebookNode) -> bool:
    """Leave of an output the forms that a page shows; tell whether there is anything to see.

    There is not in a widget, in a picture that cannot be read, and in a progress line that was cleared at the end.
    """
    if "data" not in output:
        return True
    output.data = {} if WIDGET in output.data else {kind: output.data[kind] for kind in SHOWN if kind in output.data}
    try:
        a2b_base64(output.data.get("image/png", ""))
    except (ValueError, TypeError):
        del output.data["image/png"]
    return bool(output.data) and bool(output.data.get("text/markdown", "something").strip())


def _alt(outputs: list[NotebookNode]) -> str:
    """Return the alt text that ``save_figure`` leaves in the metadata of its output; MyST-NB looks for it elsewhere."""
    images = (output.get("metadata", {}).get("image/png") for output in outputs)
    alts = (str(image["alt"]) for image in images if isinstance(image, dict) and image.get("alt"))
    return next(alts, "Picture drawn by the code of this cell")
