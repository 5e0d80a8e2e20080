"""Training a run: killed at any point, asked for by several processes, diverging, or where nothing can be written."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gbnlib import experiments, files
from gbnlib.errors import UsageError
from gbnlib.experiments import RunConfig, store
from gbnlib.regimes import Phase

SLOW = RunConfig(
    network="f1",
    dataset="synthetic",
    batch_size=32,
    base_batch=16,
    ghost_size=16,
    lr_rule="sqrt",
    adapt=True,
    clip_norm=5.0,
    epochs=6,
    regime=(Phase(epoch=0, lr=0.1, momentum=0.9, weight_decay=1e-4), Phase(epoch=2, lr=0.01)),
)
QUICK = SLOW.model_copy(update={"train_size": 64, "epochs": 2, "regime": (Phase(epoch=0, lr=0.1),)})
COMMAND = (
    "import sys; from gbnlib import experiments; "
    "config = experiments.RunConfig.model_validate_json(sys.argv[1]); "
    "run = experiments.run(config, checkpoint_seconds=0.0, say=print); print(run.origin, run.status)"
)


def start(config: RunConfig, results: Path) -> subprocess.Popen:
    """Train a run in a process of its own, saving a checkpoint after every update."""
    environment = {**os.environ, "GBN_RESULTS": str(results)}
    call = [sys.executable, "-c", COMMAND, config.model_dump_json()]
    return subprocess.Popen(call, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_several_processes_that_want_one_run_train_it_once(tmp_path: Path) -> None:
    processes = [start(QUICK, tmp_path) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum("validation error" in output for output in outputs) == 1
    assert all(output.strip().endswith("local finished") for output in outputs)


def test_runs_side_by_side_give_what_runs_alone_give() -> None:
    configs = [QUICK.model_copy(update={"seed": seed}) for seed in range(2)]
    alone = [experiments.run(config).done["weights_sha256"] for config in configs]
    for config in configs:
        files.remove_folder(store.folder(config))
    lines: list[str] = []
    together = experiments.run_all(configs, "smoke", jobs=2, say=lines.append)
    assert [run.done["weights_sha256"] for run in together] == alone
    assert len(lines) == 2 and lines[-1].startswith("[2/2]")


def test_processes_of_the_pool_leave_when_their_parent_is_killed() -> None:
    config = experiments.plan("table1", "quick", seeds=1)[-1]
    call = [
        sys.executable,
        "-m",
        "gbnlib",
        "run",
        "--item",
        "table1",
        "--scale",
        "quick",
        "--seeds",
        "1",
        "--jobs",
        "1",
    ]
    parent = subprocess.Popen(call)
    wait_for(lambda: experiments.progress(config)[0] == "running", 60)
    parent.kill()
    parent.wait()
    wait_for(lambda: experiments.progress(config)[0] == "stopped", 25)
    assert (store.folder(config) / "checkpoint.pt").is_file()


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds, or fail."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_run_that_diverges_is_a_recorded_result() -> None:
    wild = QUICK.model_copy(update={"regime": (Phase(epoch=0, lr=1e30),), "clip_norm": 0.0})
    run = experiments.run(wild)
    assert run.status == "diverged" == experiments.run(wild).status
    assert run.done["summary"]["final_validation_error"] is None
    assert len(run.frame("history")) >= 1
    assert "diverged after" in experiments.describe(run)


def test_results_that_cannot_be_written_are_one_line_and_nothing_is_lost(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("kept")
    monkeypatch.setenv("GBN_RESULTS", str(tmp_path / "file" / "results"))
    with pytest.raises(UsageError, match="cannot write to .*GBN_RESULTS"):
        experiments.run(QUICK)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_config_of_another_run_in_the_folder_is_set_aside(capsys) -> None:
    files.write_text(store.folder(QUICK) / "config.json", "{}")
    assert experiments.run(QUICK).status == "finished"
    assert "config.json: not the config of this run; set aside" in capsys.readouterr().err
