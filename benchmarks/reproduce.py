"""Time `make reproduce` at the quick scale from an empty results folder, and again; keep what it found.

It writes results/reference/benchmarks/reproduce.json, from which README.md, docs/evidence.md and docs/speed.md show the
verdicts, the F1 row and the times (`python -m gbnlib.report.readme`). Run it on a machine that does nothing else.
Results are made in a temporary folder, or in the empty one that is given as an argument and kept.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from gbnlib import claims, data, files, paper
from gbnlib.experiments import provenance

SCALE = "quick"


def timed_reproduce() -> float:
    """Seconds of one call."""
    started = time.monotonic()
    subprocess.run(["make", "-C", files.REPOSITORY, "reproduce", f"SCALE={SCALE}"], check=True)
    return round(time.monotonic() - started, 1)


def findings() -> dict:
    """The F1 row and the verdicts on the paper's claims of the report that was just made."""
    table = pd.read_csv(files.results_root() / SCALE / "tables" / "table1.csv")
    row = table[table.network == paper.published("table1")["rows"][0]["label"]]
    # Where a claim is judged for other networks too, that of F1.
    verdicts = [verdict for verdict in claims.read_verdicts(SCALE) if verdict.network in ("f1", "exact")]
    return {
        "data": data.card(paper.protocol("f1", SCALE).dataset).label,
        "table1": row[["method", "paper", "ours", "low", "high", "n"]].to_dict("records"),
        "verdicts": [{"claim": v.claim, "verdict": v.verdict, "evidence": v.evidence} for v in verdicts],
    }


def main(results: Path) -> None:
    """Measure and write."""
    if results.exists() and any(results.iterdir()):
        sys.exit(f"{results} is not empty: the first call would find finished runs there")
    os.environ["GBN_RESULTS"] = str(results.resolve())
    times = {"first_seconds": timed_reproduce(), "again_seconds": timed_reproduce()}
    facts = {**provenance.software(), **provenance.hardware(), "cores": os.cpu_count(), **times, **findings()}
    files.write_json(files.reference_root() / "benchmarks" / "reproduce.json", facts)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary))
