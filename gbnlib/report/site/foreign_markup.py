"""Warnings on markup that is not the report's own: of docstrings, and of notebooks."""

import logging
import re

from docutils import nodes
from sphinx.util.logging import get_node_location

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


def ignore() -> None:
    """Set the filter before Sphinx counts a warning, which its own filters do."""
    for handler in logging.getLogger("sphinx").handlers:
        handler.filters.insert(0, OutsideDocstrings())
