"""Write the pages of the public API, from the docstrings of what can be imported."""

import importlib
import logging
import pkgutil
import re
from pathlib import Path
from types import ModuleType

from docutils import nodes
from sphinx.util.logging import get_node_location

from gbnlib.report.site.pages import environment

#: Where a warning is about a notebook: a document, or a file and a line. MyST-NB counts 10,000 lines a cell, and the
#: first cell is the report's own.
NOTEBOOK = re.compile(r"(^|/)items/(?!index\b)[^/:]+(?!:1\d{4}\b)(:.*)?$")


class OutsideDocstrings(logging.Filter):
    """Let through the warnings that are not about the markup of a docstring or of a notebook.

    ``-W`` is for the pages that the report writes; a slip in a docstring or a notebook is a matter for whoever edits
    it, and must not keep somebody who trained for a day from the results.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        location = getattr(record, "location", "")
        location = get_node_location(location) if isinstance(location, nodes.Node) else location
        place = ":".join(map(str, location)) if isinstance(location, tuple) else str(location)
        return "docstring of" not in place and not NOTEBOOK.search(place)


def ignore_foreign_markup() -> None:
    """Set the filter before Sphinx counts a warning, which its own filters do."""
    for handler in logging.getLogger("sphinx").handlers:
        handler.filters.insert(0, OutsideDocstrings())


def write_pages(folder: Path, names: tuple[str, ...]) -> None:
    """Write a page for each module that can be imported, and the index of them."""
    folder.mkdir()
    modules = [module for module in map(_import, names) if module]
    for module in modules:
        page = environment().get_template("module.md.j2").render(name=module.__name__, parts=_parts(module))
        (folder / f"{module.__name__}.md").write_text(page, encoding="utf-8")
    index = environment().get_template("api.md.j2").render(modules=modules)
    (folder / "index.md").write_text(index, encoding="utf-8")


def _import(name: str) -> ModuleType | None:
    """Import a module; one that lacks an optional part of the suite gets no page."""
    try:
        return importlib.import_module(name)
    except Exception:
        return None


def _parts(module: ModuleType) -> list[str]:
    """Return what to document: a package that says what it exports, or else its public modules."""
    if hasattr(module, "__all__") or not hasattr(module, "__path__"):
        return [module.__name__]
    names = [info.name for info in pkgutil.iter_modules(module.__path__) if not info.name.startswith("_")]
    found = map(_import, (f"{module.__name__}.{name}" for name in names))
    return [module.__name__, *(part.__name__ for part in found if part)]
