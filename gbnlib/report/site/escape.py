"""The one place where what files hold becomes Markdown: all of it is text, whatever it looks like.

The templates write every value through `text`, unless a filter below has made it `Markup`, which says that it is ready.
"""

import json
import re
import string
from collections.abc import Callable

from markupsafe import Markup

from gbnlib.files import check_name

PUNCTUATION = re.compile(f"([{re.escape(string.punctuation)}])")
#: What a sentence may hold besides text: code, mathematics (which MathJax sets and nothing runs) and emphasis.
INLINE = re.compile(r"`(?P<code>[^`]+)`|\$(?P<math>[^$`]+)\$|(?<!\*)\*(?P<emphasis>[^*\s](?:[^*]*[^*\s])?)\*(?!\*)")
BORDER = re.compile(r"\|(\s*:?-+:?\s*\|)+")
BAR = re.compile(r"(?<!\\)\|")


def line(value: object) -> str:
    """Put a value on one line, without characters that cannot be seen."""
    seen = (character for character in str(value) if character.isprintable() or character.isspace())
    return " ".join("".join(seen).split())


def text(value: object) -> Markup:
    """Escape a value so that Markdown shows it as it is, on one line."""
    return value if isinstance(value, Markup) else Markup(_escaped(line(value)))


def _escaped(words: str) -> str:
    return PUNCTUATION.sub(r"\\\1", words)


def prose(value: object) -> Markup:
    """Escape a sentence, except for the code, mathematics and emphasis in it."""
    sentence, end, parts = line(value), 0, []
    for found in INLINE.finditer(sentence):
        parts += [_escaped(sentence[end : found.start()]), _inline(**found.groupdict())]
        end = found.end()
    return Markup("".join([*parts, _escaped(sentence[end:])]))


def _inline(code: str | None, math: str | None, emphasis: str | None) -> str:
    """Write a piece of code, of mathematics or of emphasised text."""
    if emphasis:
        return f"*{_escaped(emphasis)}*"
    return f"{{math}}`{math}`" if math else f"`{code}`"


def code(value: object) -> Markup:
    """Show a value as code; a backtick, which would end it, becomes an apostrophe."""
    return Markup(f"`{bare(value)}`")


def bare(value: object) -> Markup:
    """Write a value for a block of code: one line that cannot end it."""
    return Markup(line(value).replace("`", "'") or "–")


def option(value: object) -> Markup:
    """Quote a string for an option of a directive."""
    return Markup(json.dumps(line(value), ensure_ascii=False))


def entry(value: object) -> Markup:
    """Write the title of an entry of a table of contents, which is no Markdown."""
    return Markup(line(value).replace("`", "'").replace("<", "‹").replace(">", "›") or "–")


def path(value: object) -> Markup:
    """Write an address below the sources, each part of it a name."""
    return Markup("/".join(check_name("in an address,", part) for part in str(value).split("/")))


def table(markdown: str) -> Markup:
    """Write a table of Markdown anew, its cells as text; what is no table is nothing."""
    head, border, *rows = [each.strip() for each in markdown.strip().splitlines()] + [""] * 2
    if not (BORDER.fullmatch(border) and head.startswith("|")):
        return Markup("")
    width = border.count("|") - 1
    lines = [_row(head, width, prose), border, *(_row(each, width, text) for each in rows if each)]
    return Markup("\n".join(lines))


def _row(cells: str, width: int, write: Callable[[object], Markup]) -> str:
    """Write a row of as many cells as the table has columns."""
    given = [each.replace("\\|", "|") for each in BAR.split(cells.removeprefix("|").removesuffix("|"))]
    return f"| {' | '.join(map(write, [*given, *[''] * width][:width]))} |"


FILTERS = {each.__name__: each for each in (text, prose, code, bare, option, entry, path, table)}
