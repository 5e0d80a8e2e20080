"""Verdicts as a notebook shows them: a card a claim, with the badges that the report has."""

from collections.abc import Iterable
from html import escape
from itertools import groupby

from gbnlib import paper
from gbnlib.claims import Verdict
from gbnlib.claims.decision import INCONCLUSIVE, NOT, NOT_TESTED, PARTLY, REPRODUCED

#: Sign, colour and background of a badge; those of the report's light mode, which a notebook cannot turn dark.
LOOK = {
    REPRODUCED: ("●", "#0b5345", "#d5f0e8"),
    PARTLY: ("◐", "#5b4600", "#fbefc4"),
    NOT: ("○", "#8a2108", "#fde3d9"),
    INCONCLUSIVE: ("?", "#41396b", "#e7e4f6"),
    NOT_TESTED: ("–", "#4a4f57", "#ffffff"),
}
_FRAME = "border: 1px solid #8888; border-radius: 0.4em; padding: 0.4em 1.2em; margin: 0 0 1em"


def cards(verdicts: Iterable[Verdict]) -> list[dict[str, str]]:
    """A card a claim, its verdicts being neighbours, as HTML and as text."""
    return [_card(list(same)) for _, same in groupby(verdicts, key=lambda verdict: verdict.claim)]


def _card(verdicts: list[Verdict]) -> dict[str, str]:
    """What is said of one claim: a line for each tested network, one for all others, and criterion and paper once."""
    first = verdicts[0]
    told = [(each.verdict, ": ".join(filter(None, (each.where, each.evidence)))) for each in verdicts if each.tested]
    rest = [f"{each.where} ({each.evidence})" for each in verdicts if not each.tested]
    told += [(NOT_TESTED, "; ".join(rest))] if rest else []
    where = "In the paper" if first.claim in paper.claims() else "In the literature"
    facts = [("Criterion", first.criterion), (f"{where} [{first.tag}]", first.published)]
    html = [f"<b>{escape(first.claim)}</b> {escape(first.statement + first.caveat)}."]
    html += [f"{badge(verdict)} {escape(words)}." for verdict, words in told]
    html += [f"<i>{name}.</i> {escape(words.removesuffix('.'))}." for name, words in facts]
    text = [f"{first.claim} {first.statement}{first.caveat}."]
    text += [f"{name}: {words}" for name, words in (*told, *facts)]
    paragraphs = "".join(f"<p>{line}</p>" for line in html)
    return {
        "text/html": f'<div class="verdict-card" style="{_FRAME}">{paragraphs}</div>',
        "text/plain": "\n".join(text),
    }


def badge(verdict: str) -> str:
    """A verdict as the report has it; there the class has the say, in JupyterLab the style."""
    sign, colour, background = LOOK[verdict]
    style = f"color: {colour}; background: {background}; border: 1px solid; border-radius: 0.8em; padding: 0.1em 0.6em"
    named = f"verdict verdict-{verdict.replace(' ', '-')}"
    return f'<span class="{named}" style="{style}">{sign}\u00a0{verdict}</span>'
