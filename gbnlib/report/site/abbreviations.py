"""The names of methods, explained where a page uses them first."""

import re

from docutils import nodes

MEANINGS = {
    "SB": "small batch",
    "LB": "large batch",
    "LR": "learning rate scaled by the square root of the ratio of the batches",
    "GBN": "ghost batch normalization",
    "RA": "regime adaptation: as many updates as the small batch",
}
_NAME = re.compile(rf"(?<!\w)({'|'.join(MEANINGS)})(?!\w)")
_LEFT_ALONE = (
    nodes.literal,
    nodes.literal_block,
    nodes.title,
    nodes.reference,
    nodes.math,
    nodes.math_block,
    nodes.raw,
)


def explain(app, doctree):
    """Put what a name means beside its first use in a document: `<abbr title="small batch">SB</abbr>`."""
    seen = set()
    for text in list(doctree.findall(nodes.Text)):
        if not _NAME.search(text) or any(isinstance(node, _LEFT_ALONE) for node in _above(text)):
            continue
        parts = [nodes.Text(part) for part in _NAME.split(text)]
        for place in range(1, len(parts), 2):
            if (name := str(parts[place])) not in seen:
                parts[place] = nodes.abbreviation("", name, explanation=MEANINGS[name])
                seen.add(name)
        text.parent.replace(text, [part for part in parts if part.astext()])


def _above(node):
    """The nodes that a node is in."""
    while node := node.parent:
        yield node
