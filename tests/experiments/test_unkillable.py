"""Runs that are killed at random moments, that cannot write, or that many processes want at once.

The short forms run always; those marked `slow` are longer: `pytest -m slow tests/experiments/test_unkillable.py`.
"""

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from gbnlib import experiments, files
from gbnlib.errors import UsageError
from gbnlib.experiments import RunConfig, store
from gbnlib.regimes import Phase
from tests.configs import FIRST, REMEDIED

CONFIG = REMEDIED.model_copy(update={"noise": 0.5, "regime": (FIRST, Phase(epoch=4, lr=0.01))})
SMALL = CONFIG.model_copy(update={"train_size": 32, "epochs": 1, "regime": (Phase(epoch=0, lr=0.1, momentum=0.9),)})
COMMAND = (
    "import sys; from gbnlib import experiments; "
    "config = experiments.RunConfig.model_validate_json(sys.argv[1]); "
    "observer = experiments.Observer(print); "
    "run = experiments.run(config, checkpoint_seconds=float(sys.argv[2]), observer=observer); "
    "print(run.origin, run.status)"
)


def start(config: RunConfig, results: Path, checkpoint_seconds: float = 0.05) -> subprocess.Popen:
    """Train a run in a process of its own."""
    environment = {**os.environ, "GBN_RESULTS": str(results)}
    call = [sys.executable, "-c", COMMAND, config.model_dump_json(), str(checkpoint_seconds)]
    return subprocess.Popen(call, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(results: Path, config: RunConfig) -> tuple[str, ...]:
    """What a run must give bit for bit."""
    folder = results / "runs" / config.id
    texts = [(folder / name).read_text() for name in ("history.csv", "distance.csv")]
    return (files.read_json(folder / "done.json")["weights_sha256"], *texts)


def killed_at_random(results: Path, moments: int, seed: int) -> int:
    """Kill a training at random moments until it has been killed so often, then let it end; return how often.

    A training that ends before it is killed is removed and begun again.
    """
    chance, kills = random.Random(seed), 0
    while kills < moments:
        process = start(CONFIG, results)
        # Importing takes most of the first seconds, so that some kills come before the first update.
        time.sleep(chance.uniform(1.0, 6.0))
        number = chance.choice([signal.SIGKILL, signal.SIGTERM])
        asked = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
        if process.returncode == 0:
            files.remove_folder(results / "runs" / CONFIG.id)
            continue
        kills += 1
        assert time.monotonic() - asked < 5, errors
        assert "corrupt" not in errors
    assert start(CONFIG, results).wait(300) == 0
    return kills


@pytest.mark.parametrize(
    ("moments", "seed"), [(2, 0), *(pytest.param(10, seed, marks=pytest.mark.slow) for seed in range(5))]
)
def test_a_run_killed_at_random_moments_ends_bit_identical(tmp_path: Path, moments: int, seed: int) -> None:
    assert start(CONFIG, tmp_path / "whole").wait(300) == 0
    assert killed_at_random(tmp_path / "killed", moments, seed) == moments
    assert result(tmp_path / "killed", CONFIG) == result(tmp_path / "whole", CONFIG)


@pytest.mark.parametrize("count", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_processes_that_want_one_run_train_it_once(tmp_path: Path, count: int) -> None:
    processes = [start(SMALL, tmp_path) for _ in range(count)]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    assert sum("validation error" in output for output in outputs) == 1
    assert all(output.strip().endswith("local finished") for output in outputs)


class FailingDisk:
    """Lets a number of writes succeed and the next one fail, at every kind of call that writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, successes: int, number: int) -> None:
        self.left, self.failed = successes, False
        error = OSError(number, os.strerror(number))
        for owner, name in ((tempfile, "mkstemp"), (os, "fsync"), (os, "replace"), (Path, "write_text")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name), error))
        error = RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
        monkeypatch.setattr(torch, "save", self._counted(torch.save, error))

    def _counted(self, call, error):
        def counted(*arguments, **options):
            self.left -= 1
            if self.left < 0 and not self.failed:
                self.failed = True
                raise error
            return call(*arguments, **options)

        return counted


def test_a_disk_that_fails_at_any_write_loses_nothing(tmp_path, monkeypatch) -> None:
    """Fail the first write, then the second, and so on through a whole run; each time one line, and on it goes.

    The disk is full at one write and read-only at the next.
    """
    monkeypatch.setenv("GBN_RESULTS", str(tmp_path / "whole"))
    experiments.run(SMALL)
    expected = result(tmp_path / "whole", SMALL)
    for successes in range(1000):
        root = tmp_path / str(successes)
        monkeypatch.setenv("GBN_RESULTS", str(root))
        with monkeypatch.context() as patch:
            disk = FailingDisk(patch, successes, (errno.ENOSPC, errno.EROFS)[successes % 2])
            if not disk_failed(disk):
                break
        assert store.find(SMALL) is None
        experiments.run(SMALL, checkpoint_seconds=0.0)
        assert result(root, SMALL) == expected
        assert not list(root.rglob("*.corrupt"))
    assert successes > 20  # two checkpoints, tables at the start and at each evaluation, and what a finished run leaves


def disk_failed(disk: FailingDisk) -> bool:
    """Train on a failing disk; whether it failed, and if so, that it was said."""
    try:
        experiments.run(SMALL, checkpoint_seconds=0.0)
    except UsageError as error:
        assert "cannot write" in str(error) and "\n" not in str(error)
        return True
    return disk.failed
