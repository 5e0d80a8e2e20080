"""The workflow on a real SLURM: end to end, and with jobs that are cancelled, out of time, or on a drained node."""

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gbnlib import experiments, files, measurements
from gbnlib.experiments import RunConfig
from gbnlib.report.items import items
from tests import slurm
from tests.experiments.test_unkillable import result
from tests.workflow import BIN, PROFILES, environment, stamps

# Snakemake that asks for the state of jobs each second; left alone the executor waits ten seconds more each time.
SNAKEMAKE = [
    sys.executable,
    "-c",
    "from snakemake.cli import main; from snakemake_executor_plugin_slurm import Executor; "
    "Executor.next_seconds_between_status_checks = property(lambda _: 1, lambda _, seconds: None); main()",
]
EAGER = ["--slurm-status-command", "squeue", "--latency-wait", "5"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[slurm.Cluster]:
    """A SLURM of one node with more cores than runs are asked for at once."""
    if slurm.MISSING:
        pytest.skip(f"{', '.join(slurm.MISSING)} not found; install Debian's slurm-wlm and munge")
    with slurm.running(cores=16) as there:
        yield there


def snakemake(results: Path, scale: str, *options: object, settings: dict[str, str] | None = None) -> subprocess.Popen:
    """Start what `make reproduce PROFILE=slurm` starts."""
    call = [*SNAKEMAKE, "--profile", PROFILES / "slurm", *EAGER, "--config", f"scale={scale}", *options]
    known = {**environment(results), **(settings or {})}
    return subprocess.Popen(
        call, cwd=files.REPOSITORY, env=known, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@contextmanager
def on(cluster: slurm.Cluster, results: Path, scale: str, *options: object) -> Iterator[subprocess.Popen]:
    """The workflow on a cluster, which has to end well within the block."""
    path = f"{BIN}{os.pathsep}{cluster.environment['PATH']}"
    process = snakemake(results, scale, *options, settings={**cluster.environment, "PATH": path})
    try:
        yield process
        output, _ = process.communicate(timeout=900)
        assert process.returncode == 0, output
    finally:
        process.kill()
        process.wait()


def until(is_so: Callable[[], bool], process: subprocess.Popen, seconds: float = 300) -> None:
    """Wait for something, as long as the workflow runs."""
    end = time.monotonic() + seconds
    while not is_so():
        assert process.poll() is None and time.monotonic() < end, process.stdout.read()
        time.sleep(0.2)


def test_runs_measurements_and_notebooks_are_jobs(cluster: slurm.Cluster, tmp_path: Path) -> None:
    table, landscape = items()["table1"], items()["figure4"]
    made = [tmp_path / "smoke" / "notebooks" / f"{item.notebook}.ipynb" for item in (table, landscape)]
    with on(cluster, tmp_path, "smoke", "--", *made):
        pass
    planned = {run.id for name in table.runs for run in experiments.plan(name, "smoke")}
    assert set(stamps(tmp_path)) == planned
    assert set(stamps(tmp_path, "measurements")) == set(measurements.plan("smoke", "figure4"))
    assert all(path.is_file() for path in made)
    jobs = cluster.jobs()
    assert len(cluster.jobs("completed")) == bundles(len(planned) + 1) + len(made)
    with on(cluster, tmp_path, "smoke", "--", *made):
        pass
    assert cluster.jobs() == jobs  # a second call has nothing to do


def bundles(short: int) -> int:
    """How many jobs what is short shares: all that an item measures is one, a run is one, and eight go together."""
    return math.ceil(short / 8)


@pytest.mark.slow
def test_the_smoke_scale_end_to_end(cluster: slurm.Cluster, tmp_path: Path) -> None:
    before = len(cluster.jobs("completed"))
    with on(cluster, tmp_path, "smoke"):
        pass
    planned = {config.id for config in experiments.plan_scale("smoke")}
    assert set(stamps(tmp_path)) == planned
    assert (tmp_path / "smoke" / "report" / "index.html").is_file()
    notebooks = len(list((tmp_path / "smoke" / "notebooks").glob("*.ipynb")))
    measuring = {plan.item for plan in measurements.plan("smoke").values()}
    jobs, completed = cluster.jobs(), len(cluster.jobs("completed")) - before
    assert completed == bundles(len(planned) + len(measuring)) + notebooks + 1
    with on(cluster, tmp_path, "smoke"):
        pass
    assert cluster.jobs() == jobs  # a second call has nothing to do


def rows(results: Path, config: RunConfig) -> int:
    """How many evaluations a run has had."""
    history = results / "runs" / config.id / "history.csv"
    return len(history.read_text().splitlines()) - 1 if history.is_file() else 0


def trainer(results: Path) -> int:
    """The id of the process that trains the one run of a results folder."""
    wanted = f"GBN_RESULTS={results}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables, words = ((process / name).read_bytes().split(b"\0") for name in ("environ", "cmdline"))
        except OSError:
            continue  # it has ended meanwhile
        if wanted in variables and words[1:4] == [b"-m", b"gbnlib", b"run"]:
            return int(process.name)
    raise ProcessLookupError(results)


def is_asked_to_leave(stopped: int) -> bool:
    """Whether SIGTERM waits for a process that is stopped, or had it go on."""
    try:
        status = Path(f"/proc/{stopped}/status").read_text()
    except OSError:
        return True
    pending = int(re.search(r"ShdPnd:\s*(\w+)", status)[1], 16)
    return "T (stopped)" not in status or bool(pending >> (signal.SIGTERM - 1) & 1)


def test_a_run_cancelled_drained_and_out_of_time_ends_bit_identical(cluster: slurm.Cluster, tmp_path: Path) -> None:
    """One run meets it all in turn: `scancel`, a node that is drained meanwhile, and the end of its time."""
    config = next(run for run in experiments.plan("remedies", "quick", seeds=1) if run.adapt)
    done = tmp_path / "slurm" / "runs" / config.id / "done.json"
    call = [sys.executable, "-m", "gbnlib", "run", "--scale", "quick", "--only", config.id]
    alone = subprocess.Popen(call, env=environment(tmp_path / "alone"), stdout=subprocess.DEVNULL)
    before = set(cluster.jobs())
    with on(cluster, tmp_path / "slurm", "quick", "--group-components", "bundle=1", "--", done) as process:

        def training_goes_on() -> str:
            """Wait until the run is an evaluation further; the job that it is in."""
            seen = rows(tmp_path / "slurm", config)
            until(lambda: rows(tmp_path / "slurm", config) > seen, process)
            (job,) = cluster.jobs("running")
            return job

        def ended(job: str, *states: str) -> None:
            until(lambda: job in cluster.jobs(*states), process)
            assert (done.parent / "checkpoint.pt").is_file() and not done.exists()

        first = training_goes_on()
        cluster.call("scontrol", "update", f"NodeName={cluster.node}", "State=drain", "Reason=test")
        assert training_goes_on() == first  # a drained node lets its job go on
        cluster.call("scancel", first)
        ended(first, "cancelled")
        until(lambda: len(cluster.jobs("pending")) == 1, process)
        assert not cluster.jobs("running")  # the retry waits for a node
        cluster.call("scontrol", "update", f"NodeName={cluster.node}", "State=resume")
        second = training_goes_on()
        stopped = trainer(tmp_path / "slurm")
        os.kill(stopped, signal.SIGSTOP)  # it must not end before SLURM looks at the time
        cluster.call("scontrol", "update", f"JobId={second}", "TimeLimit=1")
        until(lambda: is_asked_to_leave(stopped), process)
        os.kill(stopped, signal.SIGCONT)
        ended(second, "timeout", "failed")  # failed: it left when it was asked to, before its time was up
    assert len(set(cluster.jobs()) - before) == 3
    assert alone.wait(300) == 0
    assert result(tmp_path / "slurm", config) == result(tmp_path / "alone", config)
