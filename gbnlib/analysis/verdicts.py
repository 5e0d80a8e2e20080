"""Verdicts: what the runs say of a claim, by the criterion that was written down before."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from gbnlib import data, files, paper
from gbnlib.analysis import distance_judges, judges, places
from gbnlib.analysis.judges import INCONCLUSIVE, NOT_TESTED, VERDICTS
from gbnlib.analysis.outcomes import row_runs

_JUDGES = judges.JUDGES | distance_judges.JUDGES | places.JUDGES
#: The claims that runs decide; measurements decide the others.
RUN_CLAIMS = tuple(_JUDGES)


@dataclass(frozen=True)
class Verdict:
    """What the runs say of a claim for one network and data set at one scale; `evidence` names what decided."""

    claim: str
    statement: str
    verdict: str = NOT_TESTED
    scale: str = ""
    item: str = ""
    network: str = ""
    network_label: str = ""
    dataset: str = ""
    dataset_label: str = ""
    criterion: str = ""
    evidence: str = ""
    n: int = 0
    published: str = ""
    tag: str = ""
    runs: tuple[str, ...] = ()

    @property
    def tested(self) -> bool:
        """Whether anything at this scale bears on the claim."""
        return self.verdict != NOT_TESTED

    @property
    def clause(self) -> str:
        """The statement as it continues a sentence."""
        return f"{self.statement[:1].lower()}{self.statement[1:]}{self.caveat}"

    @property
    def caveat(self) -> str:
        """What has to be said of a claim that is only remembered as the paper's; else empty."""
        return " (remembered, not verified to be in the paper)" if self.tag == "R" else ""

    @property
    def where(self) -> str:
        """Network and data set, as far as they are known."""
        return " on ".join(filter(None, (self.network_label, self.dataset_label)))

    @property
    def file(self) -> str:
        """Name of the verdict's file."""
        return f"{self.claim}-{self.network}-{self.dataset}.json"


def judge(claim: str, history: pd.DataFrame, *, item: str, scale: str, network: str = "f1") -> Verdict:
    """The verdict on a claim for one network, from a tidy frame.

    Parameters
    ----------
    claim : one that runs decide.
    history : the runs of the item, for C2 to C4 those of `high_rate_curves`; it may be empty or lack methods.
    item, scale, network : what the runs are of.
    """
    runs = history if history.empty else history[history.network == network]
    protocol = paper.protocol(network, scale)
    decision, evidence, n = (NOT_TESTED, "no finished runs", 0) if runs.empty else _JUDGES[claim](runs, network)
    if n and n < paper.minimum_seeds():
        decision = INCONCLUSIVE
        evidence += f"; {n} seed{'s' * (n > 1)}, and a verdict takes at least {paper.minimum_seeds()}"
    fact = paper.claims()[claim]
    return Verdict(
        claim=claim,
        statement=fact.statement,
        network=network,
        network_label=protocol.label,
        dataset=protocol.dataset,
        dataset_label=data.card(protocol.dataset).label,
        scale=scale,
        item=item,
        verdict=decision,
        criterion=fact.criterion,
        evidence=evidence,
        n=n,
        published=fact.published,
        tag=fact.tag,
        runs=() if runs.empty else tuple(runs.run.unique()),
    )


def judge_rows(claims: Iterable[str], history: pd.DataFrame, *, item: str, scale: str) -> list[Verdict]:
    """The verdicts on some claims for each row of a table that has several of one network; empty without runs."""
    verdicts = []
    for row in paper.published(item)["rows"] if len(history) else ():
        own = row_runs(history, row)
        named = {"network": row["label"].lower().replace(", ", "-").replace(" ", "-"), "network_label": row["label"]}
        for claim in claims:
            verdicts.append(replace(judge(claim, own, item=item, scale=scale, network=row["network"]), **named))
    return verdicts


def write_verdicts(verdicts: Iterable[Verdict], scale: str) -> None:
    """Write verdicts, one file each, for the scorecard and the report."""
    for verdict in verdicts:
        files.write_json(files.inside(verdicts_folder(scale), verdict.file), asdict(verdict))


def read_verdicts(scale: str) -> list[Verdict]:
    """All verdicts of a scale in the order of the claims, with a "not tested" one for each claim nothing judged."""
    return completed([_from_file(path) for path in verdicts_folder(scale).glob("*.json")], scale)


def completed(verdicts: Sequence[Verdict], scale: str) -> list[Verdict]:
    """Some verdicts and the missing claims as "not tested at this scale", in the order of the claims."""
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
        for claim in paper.claims().values()
        if claim.id not in judged
    ]
    order = list(paper.claims())
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
        lines.append(f"- **{NOT_TESTED.capitalize()}**: {_listed(untested)}.")
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


def _listed(claims: Iterable[str]) -> str:
    """Claim ids in their order, joined."""
    return _join(sorted(claims, key=list(paper.claims()).index))


def _join(parts: Sequence[str]) -> str:
    """Parts joined with commas and a last "and"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def verdicts_folder(scale: str) -> Path:
    """Where the verdicts of a scale lie."""
    return files.inside(files.results_root(), scale) / "verdicts"


def _from_file(path: Path) -> Verdict:
    """A verdict from its file."""
    content = files.read_json(path)
    return Verdict(**{**content, "runs": tuple(content["runs"])})
