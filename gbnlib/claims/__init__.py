"""From tidy frames to verdicts on the paper's claims. `claims.py` has a function for each, by `paper/criteria.toml`."""

from gbnlib.claims.advice import cautions, evidence_label
from gbnlib.claims.beyond import BEYOND
from gbnlib.claims.claims import RUN_CLAIMS
from gbnlib.claims.decision import VERDICTS, Effect
from gbnlib.claims.identities import IDENTITIES
from gbnlib.claims.scorecard import (
    completed,
    read_folder,
    read_verdicts,
    scorecard,
    scorecard_layout,
    summary,
    verdicts_folder,
    write_verdicts,
)
from gbnlib.claims.verdict import Subject, Verdict, judge, judge_rows

__all__ = [
    "BEYOND",
    "IDENTITIES",
    "RUN_CLAIMS",
    "VERDICTS",
    "Effect",
    "Subject",
    "Verdict",
    "cautions",
    "completed",
    "evidence_label",
    "judge",
    "judge_rows",
    "read_folder",
    "read_verdicts",
    "scorecard",
    "scorecard_layout",
    "summary",
    "verdicts_folder",
    "write_verdicts",
]
