"""The whole way at smoke scale: runs, notebooks, report; again, after a deletion, and by plain papermill."""

import json
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest

from gbnlib import experiments, measurements
from gbnlib.report.items import items
from gbnlib.report.record import Record
from tests.workflow import BIN, environment, execute, reproduce, stamps

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


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a first call of `make reproduce`, which trains before Snakemake looks."""
    results = tmp_path_factory.mktemp("workflow") / "results"
    subprocess.run([BIN / "gbn", "run", "--scale", "smoke"], env=environment(results), check=True, timeout=300)
    reproduce(results)
    return results


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


def executed(results: Path) -> dict[str, int]:
    """When each notebook was executed."""
    return {path.stem: path.stat().st_mtime_ns for path in (results / "smoke" / "notebooks").glob("*.ipynb")}


def changed(before: dict, after: dict) -> set[str]:
    """The names that have another value than before; none has come or gone."""
    assert set(before) == set(after)
    return {name for name in before if before[name] != after[name]}


def test_a_second_call_does_nothing(reproduced: Path) -> None:
    report = reproduced / "smoke" / "report" / "index.html"
    before = stamps(reproduced), executed(reproduced), report.stat().st_mtime_ns
    reproduce(reproduced)
    assert (stamps(reproduced), executed(reproduced), report.stat().st_mtime_ns) == before


def test_what_was_deleted_is_made_alone_with_what_shows_it(reproduced: Path) -> None:
    """A run and one of the measurements of Appendix A; that no other notebook shows them keeps the test short."""
    item = items()["appendix_a"]
    shown = {run.id for other in items().values() if other != item for name in other.runs for run in plan(name)}
    victim = next(run.id for run in plan("appendix_a") if run.id not in shown)
    lost, _ = (name for name in measurements.plan("smoke", "appendix_a") if name in stamps(reproduced, "measurements"))
    runs, notebooks, measured = stamps(reproduced), executed(reproduced), provenance(reproduced)
    weights = done(reproduced, victim)["weights_sha256"]
    shutil.rmtree(reproduced / "runs" / victim)
    shutil.rmtree(reproduced / "measurements" / lost)
    reproduce(reproduced)
    assert changed(runs, stamps(reproduced)) == {victim} and done(reproduced, victim)["weights_sha256"] == weights
    assert changed(measured, provenance(reproduced)) == {lost}
    assert changed(notebooks, executed(reproduced)) == {item.notebook, items()["scorecard"].notebook}


def plan(name: str) -> list[experiments.RunConfig]:
    """The runs of an item at this scale."""
    return experiments.plan(name, "smoke")


def done(results: Path, run: str) -> dict:
    """What a finished run says of itself."""
    return json.loads((results / "runs" / run / "done.json").read_text())


def provenance(results: Path) -> dict[str, str]:
    """Where each measurement is from, with the time when it was made."""
    return {path.parent.name: path.read_text() for path in results.glob("measurements/*/provenance.json")}


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
