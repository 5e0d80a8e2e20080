"""Folded code: what MyST-NB writes has a label for screen readers that leaves out what the summary says."""

from html import escape

from myst_nb.sphinx_ import HideCodeCellNode, depart_HideCellInput

SUMMARY = """<details class="admonition hide {classes}">
<summary>
<p class="collapsed admonition-title">{show}</p>
<p class="expanded admonition-title">{hide}</p>
</summary>
"""


def install(app):
    """Write folded cells anew."""
    app.add_node(HideCodeCellNode, override=True, html=(visit, depart_HideCellInput))


def visit(translator, node):
    """Open a folded cell, whose summary says what is in it."""
    show, hide = (escape(node[f"prompt_{state}"]) for state in ("show", "hide"))
    translator.body.append(SUMMARY.format(classes=" ".join(node["classes"]), show=show, hide=hide))
