"""A data root with every data set, in small."""

from pathlib import Path

import pytest

from gbnlib import data
from gbnlib.data import cards, sources
from tests.data.formats import tiny


@pytest.fixture
def tiny_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a tiny copy of every data set, and a catalogue that expects these."""
    entries = {name: tiny(entry, tmp_path) for name, entry in data.catalog().items()}
    monkeypatch.setattr(cards, "catalog", lambda: entries)
    monkeypatch.setenv("GBN_DATA", str(tmp_path))
    sources.load.cache_clear()
    yield tmp_path
    sources.load.cache_clear()
