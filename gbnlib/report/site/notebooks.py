"""Turn an executed notebook into a page: figure first, then the card, code folded, traces of the tools gone."""

import re
from binascii import a2b_base64
from collections.abc import Callable, Collection, Iterator
from itertools import chain, pairwise
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from gbnlib.errors import UsageError
from gbnlib.files import read_json

PARAMETER_TAGS = {"parameters", "injected-parameters"}
FIGURE_TAGS = {"figure", "table"}
ERROR_NOTICE = "papermill-error-cell-tag"
SHOWN = ("image/png", "text/html", "text/markdown", "text/plain")
ABOUT = "## About this notebook"
#: With this the page shows a saved figure.
PICTURE = "{piece} figure-"
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
    notebook: NotebookNode,
    title: str,
    card: str,
    rest: str,
    words: Callable[[str, str], str],
    pages: Collection[str] = (),
) -> NotebookNode:
    """Return the notebook as the report shows it: ``title``, the first figure or table, ``card``, and all other text.

    ``words`` writes what the page says of a figure or table, given its id and the anchor of its code: of a saved figure
    this is the picture too, which takes the output's place. ``rest`` comes at the end. Of the links to other files
    those to the notebooks in ``pages`` stay; the report holds nothing else.
    """

    def written(source: str) -> NotebookNode:
        kept = LOCAL_LINK.sub(
            lambda link: link[0] if Path(link[2].partition("#")[0]).stem in pages else link[1], source
        )
        return new_markdown_cell(_inert(kept))

    cells = [cell for cell in notebook.cells if cell.source.strip() and ERROR_NOTICE not in _tags(cell)]
    if cells and cells[0].source.startswith("# "):  # the page has the title
        cells[0].source = "\n".join([ABOUT, *cells[0].source.splitlines()[1:]])
    made = [
        _code(cell, f"code-{place}", words) if cell.cell_type == "code" else [written(cell.source)]
        for place, cell in enumerate(cells)
    ]
    start, end = _first_figure(cells)
    own = {name: [new_markdown_cell(text)] for name, text in (("title", title), ("card", card), ("rest", rest))}
    parts = [own["title"], *made[start:end], own["card"], *made[:start], *made[end:], own["rest"]]
    return new_notebook(cells=list(chain.from_iterable(parts)), metadata=PYTHON)


def _first_figure(cells: list[NotebookNode]) -> tuple[int, int]:
    """Where the section with the first figure or table begins and ends; nowhere without any."""
    starts = [i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and cell.source.startswith("## ")]
    for start, end in pairwise([*starts, len(cells)]):
        if any(_tags(cell) & FIGURE_TAGS and cell.get("outputs") for cell in cells[start:end]):
            return start, end
    return 0, 0


def _tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def _inert(source: str) -> str:
    """Markdown in which nothing is called: a directive is a listing, a role is words."""
    return ROLE.sub(r"\\", DIRECTIVE.sub(r"\1text ", source))


def _code(cell: NotebookNode, anchor: str, words: Callable[[str, str], str]) -> list[NotebookNode]:
    """A cell with its code folded, below each figure or table what the page says of it, and the other outputs.

    Folded under its caption is a table that is beside what the cell is for. MyST-NB leaves out a cell whose source is
    empty.
    """
    tag, source, shown = "remove-input" if _tags(cell) & PARAMETER_TAGS else "hide-input", cell.source, []
    if exhibits(cell.outputs):
        shown.append(new_markdown_cell(f"({anchor})="))
    folds = not _tags(cell) & FIGURE_TAGS
    for outputs, below in _parts(cell.outputs, lambda exhibit: words(exhibit, anchor), folds):
        if outputs or tag != "remove-input" or source != "pass":
            shown.append(_outputs(source, tag, outputs, _caption(outputs) if folds else ""))
        if below:
            shown.append(new_markdown_cell(below))
        tag, source = "remove-input", "pass"
    return shown


def _outputs(source: str, tag: str, outputs: list[NotebookNode], caption: str) -> NotebookNode:
    """Outputs with the code that made them; with a caption they are folded, and it stands for them."""
    shown = {"image": {"alt": "Picture drawn by the code of this cell"}}
    folded = {"code_prompt_show": caption, "code_prompt_hide": caption} if caption else {}
    tags = [tag, "hide-output"] if caption else [tag]
    return new_code_cell(source, metadata={"tags": tags, "mystnb": shown | folded}, outputs=outputs)


def _caption(outputs: list[NotebookNode]) -> str:
    """What the table that these outputs are says it shows; '' if they are none."""
    html = "".join(output.get("data", {}).get("text/html", "") for output in outputs)
    if "<table" not in html:
        return ""
    caption = BeautifulSoup(html, "html.parser").find("caption")
    return caption.get_text() if caption else "Table"


def _parts(
    outputs: list[NotebookNode], words: Callable[[str], str], folds: bool
) -> Iterator[tuple[list[NotebookNode], str]]:
    """Outputs up to each figure or table, and the words below it, which hold a saved figure and its caption.

    A table that is folded is a part of its own.
    """
    kept, inside = [], set()
    for output in filter(_visible, outputs):
        if folds and _caption([output]):
            yield kept, ""
            yield [output], "".join(map(words, exhibits([output])))
            kept = []
            continue
        below = "".join(map(words, exhibits([output])))
        if PICTURE in below:
            inside.update(exhibits([output]))
        elif output.get("metadata", {}).get("caption") not in inside:
            kept.append(output)
        if below:
            yield kept, below
            kept = []
    yield kept, ""


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
