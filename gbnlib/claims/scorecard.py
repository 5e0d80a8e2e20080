"""All verdicts of a scale: on disk, as a table, and as the answer to "does it hold up?"."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from gbnlib import files, paper
from gbnlib.claims.decision import NOT_TESTED, VERDICTS
from gbnlib.claims.verdict import Verdict
from gbnlib.errors import unknown


def write_verdicts(verdicts: Iterable[Verdict], folder: Path) -> None:
    """Write verdicts, one file each, for the scorecard and the report."""
    for verdict in verdicts:
        files.write_json(files.inside(folder, verdict.file), asdict(verdict))


def read_verdicts(scale: str, *, beyond: bool = False) -> list[Verdict]:
    """All verdicts of a scale on the paper's claims, or on those beyond it; see `completed`."""
    return completed(read_folder(verdicts_folder(scale)), scale, beyond=beyond)


def completed(verdicts: Sequence[Verdict], scale: str, *, beyond: bool = False) -> list[Verdict]:
    """The verdicts on the paper's claims, or on those beyond it, in their order; "not tested" where nothing judged."""
    asked = paper.claims_beyond() if beyond else paper.claims()
    verdicts = [verdict for verdict in verdicts if verdict.claim in asked]
    judged = {verdict.claim for verdict in verdicts}
    untested = [
        Verdict(
            claim.id,
            claim.statement,
            scale=scale,
            evidence="nothing at this scale bears on it",
            published=claim.published,
            tag=claim.tag,
        )
        for claim in asked.values()
        if claim.id not in judged
    ]
    order = list(asked)
    return sorted([*verdicts, *untested], key=lambda verdict: (order.index(verdict.claim), verdict.where))


def scorecard(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Verdicts as a table, one row each."""
    rows = [
        {
            "claim": verdict.claim,
            "statement": verdict.statement,
            "network and data": verdict.where or "–",
            "verdict": verdict.verdict,
            "evidence": verdict.evidence,
            "n": verdict.n or "–",
            "paper": f"{verdict.published} [{verdict.tag}]",
        }
        for verdict in verdicts
    ]
    return pd.DataFrame(rows)


def scorecard_layout(table: pd.DataFrame) -> pd.DataFrame:
    """`scorecard` laid out for reading: claim and statement in one column; the evidence names the numbers of seeds."""
    claims = table.claim + ": " + table.statement
    return table.drop(columns=["claim", "statement", "n"]).assign(claim=claims)[
        ["claim", "network and data", "verdict", "evidence", "paper"]
    ]


def summary(verdicts: Sequence[Verdict]) -> str:
    """What answers "does it hold up?", generated from the verdicts alone: two sentences and a Markdown list."""
    tested = [verdict for verdict in verdicts if verdict.tested]
    if not tested:
        return "Nothing has been tested at this scale yet."
    places = "; ".join(sorted({verdict.where for verdict in tested}))
    judged = len({each.claim for each in tested})
    lead = (
        f"At scale {tested[0].scale}, {judged} of {len(paper.claims())} claims are tested, with {places}. "
        f"Verdicts, one a claim, network and data set: {_counted(tested)}."
    )
    lines = []
    for kind in VERDICTS[:-1]:
        claims = dict.fromkeys(each.claim for each in tested if each.verdict == kind)
        if claims:
            told = _join([_told(kind, [each for each in tested if each.claim == claim]) for claim in claims])
            lines.append(f"- **{kind.capitalize()}**: {told}.")
    untested = {verdict.claim for verdict in verdicts} - {verdict.claim for verdict in tested}
    if untested:
        lines.append(f"- **{NOT_TESTED.capitalize()}**: {_join(sorted(untested, key=list(paper.claims()).index))}.")
    return "\n".join([lead, "", *lines])


def _counted(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts there are of each kind."""
    counts = {kind: sum(each.verdict == kind for each in verdicts) for kind in VERDICTS}
    return _join([f"{count} {kind}" for kind, count in counts.items() if count])


def _told(kind: str, verdicts: Sequence[Verdict]) -> str:
    """A claim in words, with the places of this kind of verdict where the claim was judged in several."""
    first = verdicts[0]
    where = f"; {_join([each.where for each in verdicts if each.verdict == kind])}" if len(verdicts) > 1 else ""
    return f"{first.claim} ({first.clause}{where})"


def _join(parts: Sequence[str]) -> str:
    """Parts joined with commas and a last "and"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def verdicts_folder(scale: str) -> Path:
    """Where the verdicts of a scale lie."""
    return files.inside(files.results_root(), scale) / "verdicts"


def read_folder(folder: Path) -> list[Verdict]:
    """The verdicts of a folder; a `UsageError` of one line names a file that holds none."""
    return [files.read_as(path, _checked) for path in sorted(folder.glob("*.json"))]


def _checked(content: Any) -> Verdict:
    """A verdict on one of the claims, of a kind that there is."""
    verdict = TypeAdapter(Verdict).validate_python(content)
    for kind, given, allowed in (("claim", verdict.claim, paper.all_claims()), ("verdict", verdict.verdict, VERDICTS)):
        if given not in allowed:
            raise unknown(kind, given, allowed)
    if verdict.item:
        files.check_name("item", verdict.item)
    return verdict
