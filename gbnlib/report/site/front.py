"""What the front page says first: the answer of the runs that the repository comes with, and each claim in one grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gbnlib import claims, files, paper
from gbnlib.report import answer, answer_figure, evidence
from gbnlib.report.site.chart import chart

_GROUPS = {
    "finding": "Findings",
    "diffusion": "The theory behind them",
    "identity": "Identities, which hold or do not",
    "uncertain": "Remembered, not verified to be in the paper",
}


@dataclass(frozen=True)
class Row:
    """A claim in the grid: what the shipped runs say of it, if anything, and what the report's own scale does."""

    claim: paper.Claim
    shipped: claims.Verdict | None
    own: list[claims.Verdict]

    @property
    def effect(self) -> claims.Effect | None:
        """What decided: in the shipped runs, or else in the first network of the scale."""
        found = [each.effect for each in (self.shipped, *self.own) if each is not None and each.effect is not None]
        return found[0] if found else None


def grid(shipped: Sequence[claims.Verdict], own: Sequence[claims.Verdict]) -> list[tuple[str, list[Row]]]:
    """All claims in their groups, each group with its title."""
    first = {verdict.claim: verdict for verdict in shipped if verdict.tested}
    rows = [
        Row(claim, first.get(claim.id), [verdict for verdict in own if verdict.claim == claim.id and verdict.tested])
        for claim in paper.claims().values()
    ]
    return [(title, [row for row in rows if row.claim.group == group]) for group, title in _GROUPS.items()]


def facts(own: Sequence[claims.Verdict], scale: str, folder: Path) -> dict:
    """All that the front page shows of the answer; its pictures are written to a folder.

    At the scale of the shipped runs its own verdicts are those, and are not told twice.
    """
    table, shipped = answer.table(), evidence.verdicts()
    title = answer.title(shipped)
    for theme in answer_figure.THEMES:
        for narrow in (False, True):
            name = f"answer-{theme}{'-narrow' * narrow}.svg"
            files.write_text(folder / name, answer_figure.svg(table, title, theme, narrow=narrow))
    runs = pd.concat([evidence.history(item) for item in ("table1", "figure1")]).drop_duplicates(["run", "update"])
    return {
        "sentence": answer.sentence(shipped, table),
        "caption": answer.caption(table) if len(table) else "",
        "alt": f"{title}. {answer.sentence(shipped, table)}",
        "findings": answer.findings(shipped),
        "grid": grid(shipped, [] if scale == evidence.SCALE else own),
        "chart": chart(runs, "files/front/answer-light.svg", title),
    }
