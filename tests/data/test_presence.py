"""Fetching: what is damaged is set aside, and nothing that torchvision or the disk does is a traceback."""

import gzip
import os
from pathlib import Path

import pytest
import torchvision
from torchvision.datasets import mnist

from gbnlib import data
from gbnlib.data import presence
from gbnlib.errors import UsageError

FILES = tuple(data.card("mnist").files)


@pytest.fixture
def archives(tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archives that torchvision's own code would download, already where it puts them."""
    sums = []
    for file in FILES:
        path = tiny_root / "MNIST" / "raw" / file
        archive = path.with_name(f"{file}.gz")
        archive.write_bytes(gzip.compress(path.read_bytes()))
        sums.append((archive.name, presence.checksum(archive, "MD5")))
    monkeypatch.setattr(mnist.MNIST, "resources", sums)


@pytest.mark.parametrize("damage", ["empty", "short", "flipped", "folder", "pipe", "loose link"])
@pytest.mark.parametrize("file", FILES[::3])
def test_a_damaged_file_is_set_aside_and_fetched(tiny_root, archives, capsys, file: str, damage: str) -> None:
    path = tiny_root / "MNIST" / "raw" / file
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage == "loose link":
        path.symlink_to(tiny_root.parent / "outside")
    else:
        flipped = bytes([content[0] ^ 1]) + content[1:]
        path.write_bytes({"empty": b"", "short": content[:-3], "flipped": flipped}[damage])
    data.fetch("mnist", tiny_root)
    assert data.check("mnist") == "ready" and path.read_bytes() == content
    assert f"raw/{file}: " in capsys.readouterr().err and os.path.lexists(f"{path}.corrupt")
    assert not (tiny_root.parent / "outside").exists()


def test_a_missing_file_is_fetched_and_nothing_set_aside(tiny_root: Path, archives: None) -> None:
    (tiny_root / "MNIST" / "raw" / FILES[2]).unlink()
    data.fetch("mnist", tiny_root)
    assert data.check("mnist") == "ready"
    assert not list(tiny_root.rglob("*.corrupt"))


@pytest.mark.parametrize("error", [AssertionError(), ValueError("a\nb"), EOFError("end"), KeyError("key")])
def test_whatever_torchvision_raises_is_one_line(tmp_path: Path, monkeypatch, error: Exception) -> None:
    def refuse(root: Path, download: bool) -> None:
        raise error

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", refuse)
    with pytest.raises(UsageError, match=r"^CIFAR-10 could not be downloaded \([^\n]+\)\. [^\n]+ by hand\.$"):
        data.fetch("cifar10", tmp_path)


def test_a_damaged_set_that_is_not_downloaded_says_which_file_to_delete(tiny_root: Path) -> None:
    path = tiny_root / "cifar10-jpeg" / "test-00000-of-00001.parquet"
    path.write_bytes(b"")
    with pytest.raises(UsageError, match=f"damaged: {path} .*Delete the file. .* by hand"):
        data.load("cifar10-jpeg", tiny_root)
    with pytest.raises(UsageError, match=f"damaged: {path} .* by hand"):
        data.fetch("cifar10-jpeg", tiny_root)
    assert path.exists()
