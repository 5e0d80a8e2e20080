"""The answer of the shipped runs in words: one sentence, its cost, and the findings, all computed."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from gbnlib import analysis, claims, paper
from gbnlib.claims.decision import INCONCLUSIVE, NOT, NOT_TESTED, PARTLY, REPRODUCED
from gbnlib.report import evidence
from gbnlib.report.wording import number

#: What is added to the large batch, as a picture labels it.
REMEDIES = {
    "LB+LR": "+ √ rate",
    "LB+LR+GBN": "+ √ rate, ghosts",
    "LB+LR+GBN+RA": "+ both, as many updates",
}
#: What the verdict on C8 makes of the title of the answer's figure.
_TITLES = {
    REPRODUCED: "Given as many updates as the small batch, the large one catches up",
    PARTLY: "Given as many updates as the small batch, the large one catches up in part",
    NOT: "Even with as many updates as the small batch, the large one stays behind",
    INCONCLUSIVE: "With as many updates as the small batch: not decided yet",
    NOT_TESTED: "At equal epochs a larger batch makes fewer updates, and errs more",
}


def table() -> pd.DataFrame:
    """`analysis.errors_by_updates` of the shipped runs of Table 1 and Figure 1."""
    return analysis.errors_by_updates(evidence.row_and_sweep())


def title(verdicts: Sequence[claims.Verdict]) -> str:
    """The finding in one line: what C8 says; where it is not tested, what C1 does."""
    found = {verdict.claim: verdict.verdict for verdict in verdicts}
    first = found.get("C8", NOT_TESTED)
    if first == NOT_TESTED and found.get("C1") not in (REPRODUCED, PARTLY):
        return "Validation error by the number of weight updates"
    return _TITLES[first]


def caption(table: pd.DataFrame) -> str:
    """What the figure of `analysis.errors_by_updates` shows, and what the adapted run costs."""
    return (
        "Final validation error of F1 on MNIST, the paper's full protocol, by the number of weight updates. "
        f"Means of {seeds(table)}, 95 % t intervals. {cost(table)}"
    )


def seeds(table: pd.DataFrame) -> str:
    """Of how many seeds the means of `analysis.errors_by_updates` are, in words."""
    found = sorted({int(n) for n in table.n}) or [0]
    number = f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"
    return f"{number} seed{'s' * (found[-1] != 1)}"


def cost(table: pd.DataFrame) -> str:
    """What as many updates cost: the passes over the data of the adapted run against those of the large batch."""
    epochs = paper.paper_epochs("f1")
    row = paper.protocol("f1")
    adapted = table[table.method == "LB+LR+GBN+RA"].epochs
    longer = int(adapted.iloc[0]) if len(adapted) else epochs * row.large_batch // row.small_batch
    return f"As many updates take {longer:,} epochs in place of {epochs}, {longer / epochs:g} times the cost."


def sentence(verdicts: Sequence[claims.Verdict], table: pd.DataFrame, *, intervals: bool = True) -> str:
    """Does it hold up? In one sentence with numbers, after it what the remedy costs."""
    found = {verdict.claim: verdict for verdict in verdicts}
    row = paper.protocol("f1")
    sizes = {"large": f"batch {row.large_batch:,}", "small": f"batch {row.small_batch:,}"}
    parts = [
        f"{words.format(**sizes)} {_told(found[claim], intervals)}"
        for claim, words in _PARTS.items()
        if claim in found and found[claim].effect is not None
    ]
    missing = "" if found.get("C8") and found["C8"].tested else " The adapted run, C8, is not finished yet."
    return f"{_SUBJECT}: {'; '.join(parts)}.{missing} {cost(table)}" if parts else "Nothing is finished yet."


_SUBJECT = "F1, five hidden layers, on MNIST"
_PARTS = {
    "C1": "{large} errs more than {small} by",
    "C6": "of that the √ rate makes up",
    "C7": "ghost batch normalization adds",
    "C8": "with as many updates {large} is more accurate than {small} by",
}


def in_training(history: pd.DataFrame) -> str:
    """Whether the large batch has learned less as well, a sentence after `sentence`; none where runs are missing."""
    more = analysis.training_gap(history)
    if not min(more.n):
        return ""
    large, told = f"batch {paper.protocol('f1').large_batch:,}", more.text("points", sign=True)
    if more.above(0):
        return f" At equal epochs {large} errs more in training as well, {told}: it has learned less."
    return f" That at equal epochs {large} errs more in training as well is not shown, {told}."


def _told(verdict: claims.Verdict, intervals: bool) -> str:
    """The effect of a verdict on accuracy, in points."""
    shown = verdict.effect if intervals else replace(verdict.effect, low=None, high=None)
    return number(shown, sign=verdict.claim != "C1")


def findings(verdicts: Sequence[claims.Verdict], *, full: bool = True) -> list[str]:
    """The tested claims that are findings, a line of Markdown each; `full` with what the number is of, and seeds."""
    facts = paper.claims()
    return [
        f"**{facts[each.claim].title}** ({each.claim}): {each.verdict}, {number(each.effect)}"
        + (f" ({each.effect.what})" if full else "")
        + ("" if each.effect.paper is None else f"; the paper {each.effect.paper:+.2f}".replace("-", "−"))
        + (f"; n = {each.n}." if full else ".")
        for each in verdicts
        if each.tested and each.effect is not None and facts[each.claim].group == "finding"
    ]


def why_it_failed(effects: pd.DataFrame) -> list[str]:
    """What the defaults of 2017 do to the √ rate, a line of Markdown; none where runs are missing."""
    told = analysis.defaults_sentence(effects)
    return (
        [f"**Why a first reproduction failed C6**: three forgotten defaults of 2017, together. {told}"] if told else []
    )
