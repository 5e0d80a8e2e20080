"""What holds for every test: nothing is written into the checkout, one thread, the same examples on each CI run."""

import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("gbnlib", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("gbnlib")

#: Files that take minutes; they begin first, so that no process of `make test` idles at the end.
LONGEST = ("test_slurm.py", "test_workflow.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point results and data at empty folders, train on one thread (two give other bits), execute as the workflow."""
    folder: Path = tmp_path_factory.mktemp("isolated")
    monkeypatch.setenv("GBN_RESULTS", str(folder / "results"))
    monkeypatch.setenv("GBN_DATA", str(folder / "data"))
    monkeypatch.setenv("GBN_REPORT", "1")
    torch.set_num_threads(1)
