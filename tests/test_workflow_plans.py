"""What the workflow would do, as a dry run says it: what it makes again, what a job asks for, what `make` calls."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gbnlib import experiments, files, measurements
from tests.stored import leave
from tests.workflow import PROFILES, environment, reproduce


def test_the_report_alone_trains_and_measures_nothing(tmp_path: Path) -> None:
    jobs = {}
    for train in ("true", "false"):
        listed = reproduce(tmp_path, f"train={train}", options=("--dry-run", "--quiet", "rules"))
        jobs[train] = set(re.findall(r"^(\w+) +\d+$", listed, flags=re.M))
    assert jobs["false"] == {"all", "notebook", "report", "total"}
    assert jobs["true"] - jobs["false"] >= {"train", "measure_figure4", "measure_algorithm1"}


def test_a_damaged_run_or_measurement_is_said_and_made_again_although_its_files_exist(tmp_path, monkeypatch) -> None:
    """The store says what is missing, not whether a file exists."""
    monkeypatch.setenv("GBN_RESULTS", str(tmp_path))
    configs = experiments.plan_scale("smoke")
    for config in configs:
        leave(config)
    measured = measurements.root() / next(
        wanted for wanted in measurements.plan("smoke", "figure4") if not measurements.find(wanted)
    )
    files.write_text(measured / "done.json", "")
    damaged = experiments.folder(configs[0]) / "history.csv"
    damaged.write_text("update\n2\n")
    listed = reproduce(tmp_path, options=("--dry-run", "--quiet", "rules"))
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", listed, flags=re.M))
    assert jobs["train"] == "1" and jobs["measure_figure4"] == "1"
    assert f"{damaged.parent}: damaged run (history.csv changed since it was finished)" in listed
    assert f"{measured}: damaged measurement (" in listed
    assert damaged.is_file() and measured.is_dir()


@pytest.mark.parametrize(
    ("settings", "trained"),
    [
        ([], ".venv/bin/gbn run --scale 'quick'"),
        (["SCALE=desk", "JOBS=3"], ".venv/bin/gbn run --scale 'desk' --jobs 3"),
        (["PROFILE=slurm"], None),
    ],
)
def test_make_trains_in_one_pool_on_one_machine_and_leaves_a_cluster_its_jobs(settings: list, trained) -> None:
    call = ["make", "--dry-run", "--assume-old", "setup", "reproduce", *settings]
    said = subprocess.run(call, cwd=files.REPOSITORY, capture_output=True, text=True, check=True).stdout
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert [line for line in lines if "gbn run" in line] == ([trained] if trained else [])
    assert sum("bin/snakemake --profile" in line for line in lines) == 1


def planned_jobs(scale: str, folder: Path) -> str:
    """What the profile would submit where nothing is finished; this needs no SLURM."""
    forget = f"from gbnlib import files; files.reference_root = lambda: files.Path({str(folder)!r})"
    options = [
        "--profile",
        PROFILES / "slurm",
        "--config",
        f"scale={scale}",
        "--dry-run",
        "--printshellcmds",
        "--quiet",
        "host",
    ]
    call = [sys.executable, "-c", f"{forget}; from snakemake.cli import main; main()", *options]
    done = subprocess.run(call, cwd=files.REPOSITORY, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_job_asks_for_what_it_needs(tmp_path: Path) -> None:
    printed = planned_jobs("paper", tmp_path)
    by_run = {re.search(r"run=(\S+)", job)[1]: job for job in printed.split("rule train:")[1:]}
    configs = {config.id: config for config in experiments.plan_scale("paper")}
    assert set(by_run) == set(configs)
    longest = max(configs, key=lambda run: experiments.estimated_seconds(configs[run], "paper"))
    assert configs[longest].network == "alexnet"
    torchrun = f"exec torchrun --standalone --nproc-per-node 4 -m gbnlib run --scale paper --only {longest}"
    assert torchrun in by_run[longest]
    assert "gpu=4," in by_run[longest] and "runtime=1440," in by_run[longest] and "mem_mb=65536," in by_run[longest]
    short = next(run for run in configs if configs[run].network == "f1")
    assert "gpu=1," in by_run[short] and f"exec python -m gbnlib run --scale paper --only {short}" in by_run[short]
    measuring = dict(re.findall(r"rule measure_(\w+):.*?gpu=(\d)", printed, re.DOTALL))
    assert measuring == {"figure4": "1", "random_walk": "0", "algorithm1": "0", "appendix_a": "0", "best_rate": "1"}
