"""What the front page says first: the answer of the runs that the repository comes with, and each claim in one grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from gbnlib import claims, files, paper
from gbnlib.report import answer, answer_figure, evidence
from gbnlib.report.site.chart import chart
from gbnlib.report.site.effects import effect_svg
from gbnlib.report.site.pictures import write_piece

_GROUPS = {
    "finding": "Findings",
    "diffusion": "Theory",
    "identity": "Identities",
    "uncertain": "Perhaps not in the paper",
}


@dataclass(frozen=True)
class Row:
    """A claim in the grid: what the shipped runs say of it, by the full protocol and by each reduced row, if anything,
    and what the report's own scale does."""

    claim: paper.Claim
    shipped: claims.Verdict | None
    reduced: list[claims.Verdict | None]
    own: list[claims.Verdict]

    @property
    def effect(self) -> claims.Effect | None:
        """What decided: in the shipped runs, or else in the first network of the scale."""
        found = [each.effect for each in (self.shipped, *self.own) if each is not None and each.effect is not None]
        return found[0] if found else None


def grid(
    shipped: Sequence[claims.Verdict], reduced: Sequence[Sequence[claims.Verdict]], own: Sequence[claims.Verdict]
) -> list[tuple[str, list[Row]]]:
    """All claims in their groups, each group with its title."""
    full, *others = ({verdict.claim: verdict for verdict in row if verdict.tested} for row in (shipped, *reduced))
    rows = [
        Row(
            claim,
            full.get(claim.id),
            [other.get(claim.id) for other in others],
            [verdict for verdict in own if verdict.claim == claim.id and verdict.tested],
        )
        for claim in paper.claims().values()
    ]
    return [(title, [row for row in rows if row.claim.group == group]) for group, title in _GROUPS.items()]


def write_front(own: Sequence[claims.Verdict], scale: str, source: Path) -> dict:
    """Write the pictures and the pieces of HTML of the front page into the sources; the facts that its template words.

    At the scale of the shipped runs its own verdicts are those, and are not told twice (`two` is false).
    """
    table, shipped = answer.table(), evidence.verdicts()
    title, sentence = answer.title(shipped), answer.sentence(shipped, table)
    for theme in answer_figure.THEMES:
        for narrow in (False, True):
            path = source / "static" / f"answer-{theme}{'-narrow' * narrow}.svg"
            files.write_text(path, answer_figure.svg(table, title, theme, narrow=narrow))
    answer_figure.draw(table, title).savefig(source / "static" / "answer.png", dpi=125, facecolor="white")
    reduced, two = evidence.reduced_verdicts(), scale != evidence.SCALE
    rows = grid(shipped, list(reduced.values()), own)
    runs = evidence.row_and_sweep()
    static = Markup('<img src="_static/answer-light.svg" alt="{}">').format(title)
    pieces = {"answer": _pictures(f"{title}. {sentence}"), "chart": chart(runs, static)}
    files.write_text(source / "static" / "answer.csv", table.to_csv(index=False))
    columns = ["MNIST, shipped", *map(evidence.reduced_name, reduced), *([f"Here, {scale}"] if two else [])]
    files.write_text(source / "static" / "columns.css", _columns_style(columns))
    pieces |= {f"effect-{row.claim.id}": effect_svg(row.effect) for _, group in rows for row in group if row.effect}
    for name, html in pieces.items():
        write_piece(name, html, source)
    found = [Markup(line) for line in answer.findings(shipped, full=False)]
    return {
        "title": title,
        "sentence": answer.sentence(shipped, table, intervals=False),
        "findings": found,
        "grid": rows,
        "columns": columns,
        "two": two,
        "chart": pieces["chart"],
    }


def _columns_style(names: Sequence[str]) -> str:
    """The style by which a phone, which shows the cells of a row one below the other, says what a verdict is of."""
    form = '  table.claims td:nth-child({}):has(.verdict)::before {{ content: "{}: "; }}'
    rules = "\n".join(form.format(number, name) for number, name in enumerate(names, start=3))
    return f"@media (max-width: 600px) {{\n{rules}\n}}\n"


def _pictures(alt: str) -> Markup:
    """The answer's picture, one for each theme and width."""
    form = (
        '<picture class="only-{0}"><source media="(max-width: 600px)" srcset="_static/answer-{0}-narrow.svg">'
        '<img class="only-{0}" src="_static/answer-{0}.svg" alt="{1}"></picture>'
    )
    pictures = Markup("").join(Markup(form).format(theme, alt) for theme in answer_figure.THEMES)
    offered = '<p class="downloads"><a download href="_static/answer.csv">Data (CSV)</a></p>'
    return Markup('<figure class="answer">{}</figure>').format(pictures) + Markup(offered)
