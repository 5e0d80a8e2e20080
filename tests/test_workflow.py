"""The whole way at smoke scale: runs, notebooks, report; again, after a deletion, and with wrong parameters."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from gbnlib import experiments, files, measurements
from gbnlib.report.items import items
from gbnlib.report.record import Record
from tests.stored import leave

BIN = Path(sys.executable).parent
NOTEBOOKS = [item.notebook for item in items().values()]
FIGURES = (
    "figure1_error_curves",
    "figure1_final_error",
    "figure2_distance",
    "figure3_errors",
    "table2_alexnet",
    "table1_f1",
    "start_here_gap",
    "algorithm1_noise",
    "appendix_a_covariance",
    "figure4_spread",
    "random_walk_exponents",
)
IDENTITIES = {"C12": "reproduced", "C13": "reproduced"}


def environment(results: Path) -> dict[str, str]:
    """The environment of a call: the tools of this interpreter, results in a folder of their own."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "GBN_RESULTS": str(results), "PATH": path, "PYTHONPATH": str(files.REPOSITORY)}


def reproduce(results: Path, *settings: str, options: tuple[str, ...] = ("--cores", "2")) -> str:
    """What `make reproduce SCALE=smoke` calls, or with other settings and options; its whole output."""
    profile = files.REPOSITORY / "workflow" / "profiles" / "local"
    call = [BIN / "snakemake", "--profile", profile, *options, "--config", "scale=smoke", *settings]
    done = subprocess.run(
        call, cwd=files.REPOSITORY, env=environment(results), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a first call of `make reproduce`, which trains before Snakemake looks."""
    results = tmp_path_factory.mktemp("workflow") / "results"
    subprocess.run([BIN / "gbn", "run", "--scale", "smoke"], env=environment(results), check=True, timeout=300)
    reproduce(results)
    return results


def stamps(results: Path, kind: str = "runs") -> dict[str, int]:
    """When each run, or measurement, was finished."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (results / kind).glob("*/done.json")}


def provenance(results: Path) -> dict[str, str]:
    """Where each measurement is from, with the time when it was made."""
    return {path.parent.name: path.read_text() for path in results.glob("measurements/*/provenance.json")}


def test_the_first_call_makes_runs_notebooks_figures_and_report(reproduced: Path) -> None:
    assert set(stamps(reproduced)) == {config.id for config in experiments.plan_scale("smoke")}
    planned = measurements.plan("smoke")  # some are those of all scales, and among the reference ones
    assert set(stamps(reproduced, "measurements")) == {wanted for wanted in planned if not measurements.find(wanted)}
    smoke = reproduced / "smoke"
    assert (smoke / "report" / "index.html").is_file()
    assert sorted(path.stem for path in (smoke / "notebooks").glob("*.ipynb")) == sorted(NOTEBOOKS)
    records = [Record.read(path) for path in (smoke / "items").glob("*.json")]
    figures = {each.name: each for record in records for each in record.exhibits if each.folder == "figures"}
    for name in FIGURES:
        assert figures[name].caption and figures[name].alt
        assert (smoke / "figures" / f"{name}.png").stat().st_size > 5_000
        assert "<svg" in (smoke / "figures" / f"{name}.svg").read_text()
    verdicts = [json.loads(path.read_text()) for path in (smoke / "verdicts").glob("*.json")]
    found = {verdict["claim"]: verdict["verdict"] for verdict in verdicts}
    # One seed decides nothing; the identities need none.
    assert found == {
        **dict.fromkeys(("C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11"), "inconclusive"),
        **IDENTITIES,
        **dict.fromkeys(("B1", "B2", "B3", "B8"), "inconclusive"),
        **dict.fromkeys(("B4", "B5", "B6", "B7", "B9", "B10"), "not tested at this scale"),
    }


def test_executed_notebooks_hold_no_error_and_one_output_for_training(reproduced: Path) -> None:
    for name in NOTEBOOKS:
        notebook = nbformat.read(reproduced / "smoke" / "notebooks" / f"{name}.ipynb", as_version=4)
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        assert not [output for output in outputs if output.output_type == "error"]
        assert not [output for output in outputs if output.get("name") == "stderr"]


def test_a_second_call_does_nothing_and_what_was_deleted_is_made_alone(reproduced: Path) -> None:
    before = stamps(reproduced)
    index = (reproduced / "smoke" / "report" / "index.html").stat().st_mtime_ns
    reproduce(reproduced)
    assert stamps(reproduced) == before
    assert (reproduced / "smoke" / "report" / "index.html").stat().st_mtime_ns == index
    victim, measured = next(iter(before)), provenance(reproduced)
    lost = next(wanted for wanted in measured if wanted.startswith("landscape_f1"))
    shutil.rmtree(reproduced / "measurements" / lost)
    sums = json.loads((reproduced / "runs" / victim / "done.json").read_text())["weights_sha256"]
    shutil.rmtree(reproduced / "runs" / victim)
    reproduce(reproduced)
    after = stamps(reproduced)
    assert {run for run in before if before[run] != after[run]} == {victim}
    assert json.loads((reproduced / "runs" / victim / "done.json").read_text())["weights_sha256"] == sums
    again = provenance(reproduced)
    assert {wanted for wanted in measured if measured[wanted] != again[wanted]} == {lost}


def test_the_report_alone_trains_and_measures_nothing(tmp_path: Path) -> None:
    jobs = {}
    for train in ("true", "false"):
        listed = reproduce(tmp_path, f"train={train}", options=("--dry-run", "--quiet", "rules"))
        jobs[train] = set(re.findall(r"^(\w+) +\d+$", listed, flags=re.M))
    assert jobs["false"] == {"all", "notebook", "report", "total"}
    assert jobs["true"] - jobs["false"] >= {"train", "measure_figure4", "measure_algorithm1"}


@pytest.mark.parametrize(
    ("options", "variables", "message"),
    [
        (("--config", "scale=tiny"), {}, "gbn: unknown scale 'tiny'. Allowed: smoke, quick, desk, paper."),
        (("--cores", "0"), {}, "gbn: no cores, no jobs: JOBS, or --cores, must be at least 1."),
        ((), {"GBN_DATA": "{}"}, "gbn: {}/catalog.toml: "),
        ((), {"GBN_RESULTS": "{}/catalog.toml"}, "gbn: cannot write to {}/catalog.toml"),
        ((), {"HOME": "{}/catalog.toml", "XDG_CACHE_HOME": ""}, "Not a directory: '{}/catalog.toml/.cache'"),
    ],
)
def test_the_workflow_says_why_it_ends(tmp_path: Path, options, variables: dict, message: str) -> None:
    (tmp_path / "catalog.toml").write_text("x = [")
    own = {name: value.format(tmp_path) for name, value in variables.items()}
    call = [BIN / "snakemake", "--profile", files.REPOSITORY / "workflow" / "profiles" / "local", "--cores", "1"]
    settings = ["--config", "scale=smoke", "train=false", *options] if options[:1] != ("--config",) else options
    done = subprocess.run(
        [*call, *settings],
        cwd=files.REPOSITORY,
        env={**environment(tmp_path / "results"), **own},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and message.format(tmp_path) in done.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("JOBS=0", "JOBS is '0'; it must be a whole number, 1 or more"),
        ("JOBS=two", "JOBS is 'two'; it must be"),
        ("HOME=/dev/null", "cannot write to /dev/null/.cache: set XDG_CACHE_HOME to a folder you may write to"),
    ],
)
def test_make_refuses_what_snakemake_would_wait_for(setting: str, message: str) -> None:
    known = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    done = subprocess.run(["make", "ready", setting], cwd=files.REPOSITORY, env=known, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(message)


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


def execute(results: Path, folder: Path, name: str, *parameters: str) -> subprocess.CompletedProcess:
    """Plain papermill from another folder."""
    source = files.REPOSITORY / "notebooks" / f"{name}.ipynb"
    call = [BIN / "papermill", "--no-progress-bar", source, folder / "out.ipynb", *parameters]
    return subprocess.run(call, cwd=folder, env=environment(results), capture_output=True, text=True, timeout=300)


def contents(path: Path) -> list:
    """Sources and outputs of an executed notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return [(cell.source, json.dumps(cell.get("outputs", []), sort_keys=True)) for cell in cells]


@pytest.mark.parametrize(
    "name",
    [
        "02_figure2_weight_distance",
        "05_table2_imagenet",
        "06_algorithm1_ghost_batch_norm",
        "08_figure4_loss_landscape",
        "09_theory_random_walk",
    ],
)
def test_executing_a_notebook_again_gives_the_same_outputs(reproduced: Path, tmp_path: Path, name: str) -> None:
    before = stamps(reproduced), stamps(reproduced, "measurements")
    done = execute(reproduced, tmp_path, name, "-p", "scale", "smoke")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out.ipynb") == contents(reproduced / "smoke" / "notebooks" / f"{name}.ipynb")
    assert (stamps(reproduced), stamps(reproduced, "measurements")) == before


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["-p", "sede", "3"], "unknown parameter 'sede'; did you mean 'seeds'"),
        (["-p", "scale", "huge"], "unknown scale 'huge'"),
        (["-p", "seeds", "many"], "seeds is 'many'; it must be a whole number"),
    ],
)
def test_wrong_parameters_end_papermill_with_the_reason(reproduced, tmp_path, parameters, message) -> None:
    done = execute(reproduced, tmp_path, "04_table1_validation_accuracy", *parameters)
    assert done.returncode != 0 and message in done.stderr
