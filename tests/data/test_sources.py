"""Data sets: what comes out of real formats, and what is said of files that are missing or damaged."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gbnlib import data, files
from gbnlib.data import cards, sources
from gbnlib.errors import UsageError


def write_idx(path: Path, array: torch.Tensor) -> None:
    """An IDX file: magic number with the number of dimensions, sizes, bytes (LeCun's format)."""
    header = struct.pack(f">I{array.dim()}I", 0x800 + array.dim(), *array.shape)
    path.write_bytes(header + array.to(torch.uint8).numpy().tobytes())


@pytest.fixture
def tiny_mnist(tmp_path: Path, monkeypatch) -> Path:
    """A data root with an MNIST of 12 training and 5 validation images, and a catalogue that expects it."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, count in (("train", 12), ("t10k", 5)):
        images = torch.arange(count * 784).reshape(count, 28, 28) % 251
        write_idx(raw / f"{split}-images-idx3-ubyte", images)
        write_idx(raw / f"{split}-labels-idx1-ubyte", torch.arange(count) % 10)
    sums = {path.name: files.sha256(path) for path in raw.iterdir()}
    entry = replace(data.card("mnist"), files=sums, train=12, validation=5)
    monkeypatch.setattr(cards, "catalog", lambda: {"mnist": entry})
    sources.load.cache_clear()
    yield tmp_path
    sources.load.cache_clear()


def test_digits_are_split_by_class_and_share_no_image() -> None:
    digits = data.load("digits")
    assert digits.train_images.shape == (4000, 1, 28, 28) and digits.train_images.dtype == torch.uint8
    assert digits.train_labels.bincount().tolist() == [400] * 10
    assert digits.validation_labels.bincount().tolist() == [100] * 10
    train = {image.numpy().tobytes() for image in digits.train_images}
    assert not any(image.numpy().tobytes() in train for image in digits.validation_images)


def test_the_split_of_the_digits_never_changes() -> None:
    digits = data.load("digits")
    # Sums over the pixels of the two parts, taken when the split was fixed.
    sums = [int(images.long().sum()) for images in (digits.train_images, digits.validation_images)]
    assert sums == [105_427_129, 25_839_973]


def test_idx_files_are_read_as_they_were_written(tiny_mnist: Path) -> None:
    dataset = data.load("mnist", tiny_mnist)
    assert dataset.train_images.shape == (12, 1, 28, 28)
    assert dataset.train_images[3, 0, 2, 5] == (3 * 784 + 2 * 28 + 5) % 251
    assert dataset.validation_labels.tolist() == [0, 1, 2, 3, 4]


def test_a_missing_file_says_where_how_and_what_else(tiny_mnist: Path) -> None:
    (tiny_mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(UsageError, match=r"missing: .*t10k-labels.*gbn data fetch mnist.*GBN_DATA.*quick"):
        data.load("mnist", tiny_mnist)


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_file_is_refused(tiny_mnist: Path, damage: str) -> None:
    path = tiny_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[100] ^= 1
    path.write_bytes(content if damage == "flip" else content[:-1])
    with pytest.raises(UsageError, match="damaged: .*train-images.*Delete the file"):
        data.load("mnist", tiny_mnist)


def test_an_unknown_set_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'mnist'"):
        data.load("mnits")


def test_a_subset_is_the_same_for_every_seed_and_of_the_asked_size() -> None:
    digits = data.load("digits")
    torch.manual_seed(1)
    first = digits.subset(256)
    torch.manual_seed(2)
    assert torch.equal(first.train_images, digits.subset(256).train_images)
    assert len(first.train_labels) == 256
    assert digits.subset(0) is digits
    with pytest.raises(UsageError, match="train_size is 4001"):
        digits.subset(4001)


def test_every_card_is_complete_and_its_set_checked() -> None:
    for name, card in data.catalog().items():
        assert card.label and card.source and card.licence and card.note
        assert len(card.mean) == len(card.std) == card.channels
        assert data.check(name).startswith(("ready", "missing"))
    assert data.check("digits") == data.check("synthetic") == "ready"
