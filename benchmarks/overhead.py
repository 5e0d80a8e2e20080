"""What a run costs besides its training, for 1, 10, 100 and 1000 planned runs; keep it in overhead.json.

It works in a copy of the repository whose smoke scale plans that many runs:

- plan, status: seconds of `gbn plan` and `gbn status`, half of the runs being finished;
- start-up: seconds of `gbn run --only` beyond those in which the run trains;
- store: writing what a run leaves and finding it again, beside the other runs;
- local, slurm: Snakemake's time a run, from its call to its end, by the two profiles, with runs that take no time. That
  of SLURM is on a single node (Debian's slurm-wlm and munge) and is left out without it. A job starts Snakemake twice,
  a further run that shares it once; so there it goes up to 100 runs only.

It writes results/reference/benchmarks/overhead.json, from which README.md and the report show a table. Run it on a
machine that does nothing else.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from gbnlib import experiments, files
from gbnlib.experiments import RunConfig, provenance, store

sys.path.insert(0, str(files.REPOSITORY))
from tests import slurm
from tests.stored import leave

COUNTS, SLURM_COUNTS = (1, 10, 100, 1000), (1, 10, 100)
BIN = Path(sys.executable).parent
SCALE = '[smoke.items.start_here]\nnetworks = ["f1"]\nmethods = ["SB"]\nseeds = {count}\n'
# What takes the place of `python -m gbnlib run … --only ID` where the training shall take no time.
DONE = """#!/bin/sh
for id; do :; done
mkdir -p "$GBN_RESULTS/runs/$id" && echo '{"status": "finished"}' > "$GBN_RESULTS/runs/$id/done.json"
"""


def copy_planning(folder: Path, count: int) -> Path:
    """A copy of the repository whose smoke scale plans `count` runs."""
    for name in ("gbnlib", "workflow", "notebooks"):
        shutil.copytree(files.REPOSITORY / name, folder / name, dirs_exist_ok=True)
    scales = folder / "gbnlib" / "paper" / "scales.toml"
    first, _, rest = scales.read_text().partition("[smoke.items.start_here]")
    scales.write_text(first + SCALE.format(count=count) + "\n[quick]" + rest.partition("\n[quick]")[2])
    return folder


def seconds(copy: Path, results: Path, *call: object, **variables: str) -> float:
    """Seconds of a call in the copy."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    known = {**os.environ, "PATH": path, **variables, "PYTHONPATH": str(copy), "GBN_RESULTS": str(results)}
    started = time.monotonic()
    subprocess.run([*map(str, call)], cwd=copy, env=known, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def gbn(copy: Path, results: Path, *words: object) -> float:
    """Seconds of `gbn`."""
    return seconds(copy, results, sys.executable, "-m", "gbnlib", *words, "--scale", "smoke")


def planned(count: int) -> list[RunConfig]:
    """The runs that the copy plans."""
    return experiments.plan("start_here", "smoke", count)[:count]


def own_times(copy: Path, results: Path, configs: list[RunConfig]) -> dict[str, float]:
    """Plan, status, start-up and store."""
    os.environ["GBN_RESULTS"] = str(results)
    for config in configs[1::2]:
        leave(config)
    plan, status = gbn(copy, results, "plan"), gbn(copy, results, "status")
    run = gbn(copy, results, "run", "--only", configs[0].id)
    trained = files.read_json(store.folder(configs[0]) / "done.json")["summary"]["seconds"]
    other = planned(len(configs) + 1)[-1]
    started = time.monotonic()
    leave(other)
    found = store.find(other)
    stored = time.monotonic() - started
    assert found is not None
    return {"plan": plan, "status": status, "start_up": run - trained, "store": stored}


def by_snakemake(copy: Path, results: Path, profile: str, count: int, *options: str, **variables: str) -> float:
    """Seconds a run of Snakemake with runs that take no time."""
    call = (BIN / "snakemake", "--profile", f"workflow/profiles/{profile}", *options)
    tools = copy / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "python").write_text(DONE)
    (tools / "python").chmod(0o755)
    path = os.pathsep.join([str(tools), str(BIN), variables.pop("PATH", os.environ["PATH"])])
    whole = seconds(copy, results, *call, "--config", "scale=smoke", "--until", "train", PATH=path, **variables)
    assert len(list(results.glob("runs/*/done.json"))) == count
    return whole / count


def measure(cluster: slurm.Cluster | None, count: int) -> dict[str, float | int]:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy = copy_planning(folder / "copy", count)
        row = {"runs": count, **own_times(copy, folder / "own", planned(count))}
        row["local"] = by_snakemake(copy, folder / "local", "local", count, "--cores", str(os.cpu_count()))
        if cluster and count in SLURM_COUNTS:
            eager = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1")
            row["slurm"] = by_snakemake(copy, folder / "slurm", "slurm", count, *eager, **cluster.environment)
    print(row, flush=True)
    return {name: round(value, 4) for name, value in row.items()}


def main() -> None:
    """Measure and write."""
    with nullcontext() if slurm.MISSING else slurm.running(cores=2 * os.cpu_count()) as cluster:
        rows = [measure(cluster, count) for count in COUNTS]
    facts = {**provenance.software(), **provenance.hardware(), "threads": os.cpu_count(), "rows": rows}
    files.write_json(files.reference_root() / "benchmarks" / "overhead.json", facts)


if __name__ == "__main__":
    main()
