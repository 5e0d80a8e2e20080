"""Verdicts: what the runs and measurements say of a claim, by the criterion that was written down before."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

import pandas as pd

from gbnlib import data, paper
from gbnlib.analysis.outcomes import count_diverged, row_runs
from gbnlib.claims.beyond import BEYOND
from gbnlib.claims.claims import CLAIMS, RUN_CLAIMS
from gbnlib.claims.convergence import doubled_history, row_history, shortfall
from gbnlib.claims.decision import INCONCLUSIVE, NOT_TESTED, Case, Decision, Effect
from gbnlib.claims.identities import IDENTITIES

#: Claims of distances, and of places in a regime, which a diverged run does not have.
_WITHOUT_DIVERGED = ("C2", "C3", "C4", "C11")


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
    effect: Effect | None = None
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
        """What has to be said of a claim that is only remembered as the paper's, or as the literature's; else empty."""
        source = "the literature" if self.claim in BEYOND else "the paper"
        return f" (remembered, not verified to be in {source})" if self.tag == "R" else ""

    @property
    def where(self) -> str:
        """Network and data set, as far as they are known."""
        return " on ".join(filter(None, (self.network_label, self.dataset_label)))

    @property
    def file(self) -> str:
        """Name of the verdict's file."""
        return f"{self.claim}-{self.network}-{self.dataset}.json"


@dataclass(frozen=True)
class Subject:
    """What a verdict is about: a network and a data set, by name and as they are shown."""

    network: str
    network_label: str
    dataset: str
    dataset_label: str


def subject(network: str, scale: str) -> Subject:
    """A network and its data set as a scale runs them."""
    row = paper.protocol(network, scale)
    return Subject(network, row.label, row.dataset, data.card(row.dataset).label)


def _studied(scale: str) -> Subject:
    """What the studies beyond the paper are of at a scale."""
    row = paper.recipe(scale)
    return Subject(row.network, row.label, row.dataset, f"{data.card(row.dataset).label}, {row.train_size:,} images")


def judge(
    claim: str,
    frame: pd.DataFrame,
    *,
    item: str,
    scale: str,
    network: str = "f1",
    about: Subject | None = None,
    row: pd.DataFrame | None = None,
    beside: Mapping[str, pd.DataFrame] | None = None,
) -> Verdict:
    """The verdict on a claim for one network.

    Parameters
    ----------
    claim : "C1" to "C13", or "B1" to "B10".
    frame : what its function asks for: the history of an item, for C2 to C4 the frame of `diffusion.high_rate_curves`,
        for C5, C12 and C13 a measurement, for B1 to B10 the history of a study. It may be empty or lack methods.
    item, scale, network : what the frame is of.
    about : network and data set in words; by default those of the scale's protocol, or of the studies.
    row : history with SB and LB of the same network, which say whether it has converged and how wide the gap is; by
        default those that the store has.
    beside : frames that the evidence tells of; for C2 to C4 "history", that of the runs whose curves are judged.
    """
    about = about or (_studied(scale) if claim in BEYOND else subject(network, scale))
    fact = paper.all_claims()[claim]
    frame = frame[frame.network == network] if claim in RUN_CLAIMS and len(frame) else frame
    found = _decided(claim, frame, scale, network, row, beside or {})
    return Verdict(
        claim=claim,
        statement=fact.statement,
        scale=scale,
        item=item,
        criterion=fact.criterion,
        published=fact.published,
        tag=fact.tag,
        runs=tuple(frame.run.unique()) if "run" in frame else (),
        **asdict(about),
        **found._asdict(),
    )


def _decided(
    claim: str,
    frame: pd.DataFrame,
    scale: str,
    network: str,
    row: pd.DataFrame | None,
    beside: Mapping[str, pd.DataFrame],
) -> Decision:
    """The decision on a claim, after what each is asked first: that there is something, and that it converged."""
    if frame.empty:
        return Decision(NOT_TESTED, "no finished runs" if claim in (*RUN_CLAIMS, *BEYOND) else "nothing was measured")
    by_runs = claim in RUN_CLAIMS
    row = row_history(network, scale) if by_runs and row is None else row
    doubled = doubled_history(network, scale) if by_runs else pd.DataFrame()
    found = {**CLAIMS, **BEYOND}[claim](Case(frame, pd.DataFrame() if row is None else row, beside, scale, doubled))
    if found.verdict == NOT_TESTED or claim in IDENTITIES:
        return found
    if by_runs and (fallen_short := shortfall(network, scale, row, doubled)):
        evidence = f"under-trained, not tested: {fallen_short} ({found.evidence})"
        return found._replace(verdict=NOT_TESTED, evidence=evidence, n=0)
    evidence = "; ".join(filter(None, [found.evidence, _diverged(claim, beside.get("history", frame), network)]))
    if found.n < paper.minimum_seeds():
        few = f"{found.n} seed{'s' * (found.n != 1)}, and a verdict takes at least {paper.minimum_seeds()}"
        return found._replace(verdict=INCONCLUSIVE, evidence=f"{evidence}; {few}")
    return found._replace(evidence=evidence)


def _diverged(claim: str, history: pd.DataFrame, network: str) -> str:
    """The words on the diverged runs of a claim's history; empty where none did, or no run was asked."""
    if "validation_error" not in history:
        return ""
    own = history[history.network == network] if claim in RUN_CLAIMS else history
    left_out = claim in _WITHOUT_DIVERGED
    return count_diverged(own, "left out" if left_out else "counted with the accuracy of guessing")


def judge_rows(claims: Iterable[str], history: pd.DataFrame, *, item: str, scale: str) -> list[Verdict]:
    """The verdicts on some claims for each row of a table that has several of one network; empty without runs."""
    verdicts = []
    for row in paper.published(item)["rows"] if len(history) else ():
        own = row_runs(history, row)
        named = {"network": row["label"].lower().replace(", ", "-").replace(" ", "-"), "network_label": row["label"]}
        for claim in claims:
            verdicts.append(replace(judge(claim, own, item=item, scale=scale, network=row["network"]), **named))
    return verdicts
