"""What holds for every test: nothing is written into the checkout, one thread, the same examples on each CI run."""

import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("gbnlib", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("gbnlib")


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point results and data at empty folders, and train on one thread (two give other bits)."""
    folder: Path = tmp_path_factory.mktemp("isolated")
    monkeypatch.setenv("GBN_RESULTS", str(folder / "results"))
    monkeypatch.setenv("GBN_DATA", str(folder / "data"))
    torch.set_num_threads(1)
