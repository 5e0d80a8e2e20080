"""A cache gives the very pixels that decoding gives, and is made once, whatever stops the making."""

import multiprocessing
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from PIL import Image

from gbnlib import data, files
from gbnlib.data import cache, cards, prepare, sources, stream
from gbnlib.data.encoded import EncodedImages
from gbnlib.data.prepare import prepare as make
from gbnlib.errors import UsageError
from gbnlib.experiments import RunConfig
from gbnlib.experiments.preparing import prepare as begun
from gbnlib.experiments.recording import weights_sha256
from gbnlib.regimes import Phase
from gbnlib.training import Execution, train

#: The tiny ImageNet has twelve training images and six validation images: three shards and two, of pieces of two.
SHARDS = ["train-00000.bin", "train-00001.bin", "train-00002.bin", "val-00000.bin", "val-00001.bin"]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD", 5)
    monkeypatch.setattr(prepare, "PIECE", 2)
    monkeypatch.setattr(stream, "PIECE", 3)


@pytest.fixture
def folder(tiny_root: Path) -> Path:
    """Where the cache of the tiny ImageNet is to be."""
    return tiny_root / "imagenet.cache"


def loaded(workers: int = 0) -> data.Dataset:
    """The tiny ImageNet, loaded anew."""
    sources.load.cache_clear()
    dataset = data.load("imagenet")
    for images in dataset.streams.values():
        images.workers = workers
    return dataset


def seen(dataset: data.Dataset) -> list[torch.Tensor]:
    """What an epoch shows, of a part and of all, and what an evaluation does."""
    part = dataset.subset(7)
    trained = [images for each in (dataset, part) for images, _ in each.batches(5, seed=1).epoch(3)]
    still = [images for images, _ in dataset.batches(5, seed=1, augment=False).epoch(3)]
    return [*trained, *still, *dataset.validation_images.split(4)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were decoded."""
    names: list[str] = []
    resized = EncodedImages.resized

    def noted(self: EncodedImages, number: int, shorter: int) -> object:
        names.append(self.where(number))
        return resized(self, number, shorter)

    monkeypatch.setattr(EncodedImages, "resized", noted)
    return names


@pytest.mark.parametrize("threads", [0, 2])
def test_batches_and_evaluation_from_a_cache_are_bit_for_bit_those_decoded(folder, decoded, threads: int) -> None:
    expected = seen(loaded())
    make("imagenet", workers=0)
    decoded.clear()
    found = seen(loaded(threads))
    assert not decoded and len(found) == len(expected) == 10
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, theirs)


def test_worker_processes_make_the_same_files(folder) -> None:
    make("imagenet", workers=2)
    made = [(folder / name).read_bytes() for name in SHARDS]
    files.remove_folder(folder)
    make("imagenet", workers=0)
    assert [(folder / name).read_bytes() for name in SHARDS] == made


def test_a_run_from_a_cache_ends_with_the_weights_of_one_that_decodes(folder) -> None:
    def weights() -> str:
        sources.load.cache_clear()
        regime = (Phase(epoch=0, lr=0.1, momentum=0.9),)
        config = RunConfig(network="c1", dataset="imagenet", batch_size=4, regime=regime, epochs=1)
        training = begun(config, Execution(device="cpu", threads=1))
        train(training)
        return weights_sha256(training.model)

    expected = weights()
    make("imagenet", workers=0)
    assert weights() == expected


def test_a_killed_making_goes_on_with_what_is_missing(folder, decoded) -> None:
    def killed() -> None:
        make_pieces = prepare._Decoder.__getitem__

        def until_the_second_shard(self: prepare._Decoder, piece: tuple[str, int, int]) -> object:
            if piece[1:] == (7, 9):
                os.kill(os.getpid(), signal.SIGKILL)
            return make_pieces(self, piece)

        prepare._Decoder.__getitem__ = until_the_second_shard
        make("imagenet", workers=0)

    process = multiprocessing.get_context("fork").Process(target=killed)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    left = sorted(path.name for path in folder.iterdir())
    assert left[1:] == ["cache.json", SHARDS[0]] and left[0].startswith(f".{SHARDS[1]}.")
    make("imagenet", workers=0)
    assert len(decoded) == 12 + 6 - 5 and sorted(path.name for path in folder.iterdir()) == ["cache.json", *SHARDS]
    decoded.clear()
    said: list[str] = []
    make("imagenet", workers=0, say=said.append)
    assert not decoded and said == [f"ImageNet: 18 images at 72 pixels are ready in {folder}"]


def test_an_unfinished_cache_is_not_used_and_that_is_said(folder, decoded, capsys) -> None:
    make("imagenet", workers=0)
    (folder / SHARDS[3]).unlink()
    decoded.clear()
    next(loaded().batches(5, seed=0).epoch(0))
    assert len(decoded) == 5
    line = capsys.readouterr().err
    assert re.search(r"ImageNet is decoded: .*val-00000.bin .*; `gbn data prepare imagenet` finishes it\n$", line)
    assert line.count("\n") == 1


@pytest.mark.parametrize("damage", ["byte", "cut", "empty"])
def test_a_damaged_shard_is_set_aside_and_made_again(folder, decoded, capsys, damage: str) -> None:
    make("imagenet", workers=0)
    path, whole = folder / SHARDS[1], (folder / SHARDS[1]).read_bytes()
    broken = {"byte": bytes([whole[0] ^ 1]) + whole[1:], "cut": whole[:-100], "empty": b""}[damage]
    path.write_bytes(broken)
    decoded.clear()
    make("imagenet", workers=0)
    assert path.read_bytes() == whole and len(decoded) == 5
    assert f"{SHARDS[1]}.corrupt" in capsys.readouterr().err


def test_an_image_that_cannot_be_decoded_is_named_and_once_mended_its_shard_alone_is_made(folder, decoded) -> None:
    image = folder.parent / "imagenet" / "train" / "n00000003" / "1.JPEG"  # the eighth
    whole = image.read_bytes()
    image.write_bytes(whole[:-30])
    with pytest.raises(UsageError, match=r"n00000003/1.JPEG cannot be decoded .* Mend the file, and the same command"):
        make("imagenet", workers=0)
    assert (folder / SHARDS[0]).exists() and not (folder / SHARDS[1]).exists()
    image.write_bytes(whole)
    decoded.clear()
    make("imagenet", workers=0)
    assert len(decoded) == 12 + 6 - 5
    Image.new("RGB", (80, 90)).save(image)  # another picture, later
    decoded.clear()
    assert seen(loaded()) and decoded
    decoded.clear()
    make("imagenet", workers=0)
    assert len(decoded) == 5


class Other(NamedTuple):
    """Another data set under the same name."""

    change: dict
    remove: str = ""


@pytest.mark.parametrize("other", [Other({"resize": 80}), Other({"channels": 1}), Other({"train": 11}, "0.JPEG")])
def test_a_cache_of_another_size_or_source_is_set_aside_and_said(folder, monkeypatch, capsys, other: Other) -> None:
    make("imagenet", workers=0)
    if other.remove:
        (folder.parent / "imagenet" / "train" / "n00000001" / other.remove).unlink()
    entry = cards.card("imagenet")
    values = {"mean": (0.5,), "std": (0.5,)} if "channels" in other.change else {}
    changed = replace(entry, **other.change, **values)
    monkeypatch.setattr(cards, "catalog", lambda: {"imagenet": changed})
    expected = seen(loaded())
    assert "ImageNet is decoded: its cache cannot be used (it is of other images" in capsys.readouterr().err
    make("imagenet", workers=0)
    assert "imagenet.cache: not of ImageNet as it is there" in capsys.readouterr().err
    assert (folder.parent / "imagenet.cache.corrupt" / SHARDS[0]).exists()
    for mine, theirs in zip(seen(loaded()), expected, strict=True):
        assert torch.equal(mine, theirs)


def test_the_bytes_are_told_before_and_a_small_disk_is_refused(folder, monkeypatch, decoded) -> None:
    said: list[str] = []
    make("imagenet", workers=0, say=said.append)
    assert re.match(
        r"ImageNet: decodes 18 of 18 images to 72 pixels, about 0\.0 GB in .*, where [\d,.]+ GB are free", said[0]
    )
    files.remove_folder(folder)
    decoded.clear()
    of_one = prepare._bytes_of_one
    monkeypatch.setattr(prepare, "_bytes_of_one", lambda cache: 1e6 * of_one(cache))
    free = type("Usage", (), {"free": 10**11})
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda path: free)
    with pytest.raises(
        UsageError, match=r"ImageNet needs about 3\d\d\.\d GB in .*, where 100\.0 GB are free\. Make room"
    ):
        make("imagenet", workers=0)
    assert not decoded


def test_the_bytes_are_estimated_from_the_heads_of_the_files(folder) -> None:
    make("imagenet", workers=0)
    dataset = data.load("imagenet")
    made = sum((folder / name).stat().st_size for name in SHARDS if name.startswith("train"))
    estimated = 12 * prepare._bytes_of_one(cache.Cache(dataset.card, folder.parent, dataset.streams))
    assert estimated == pytest.approx(made, rel=0.02)


def test_a_set_that_is_kept_decoded_has_no_cache(tiny_root) -> None:
    with pytest.raises(UsageError, match=r"MNIST is small enough .* only .*imagenet.* have a cache"):
        make("mnist")


def test_progress_tells_images_speed_and_time(folder, monkeypatch) -> None:
    clock = iter(range(0, 1000, 30))
    monkeypatch.setattr(prepare.time, "monotonic", lambda: next(clock))
    shown: list[str] = []
    make("imagenet", workers=0, show=shown.append)
    assert shown[0] == "ImageNet: 2/18 images  0 images/s  4 min left"  # two images in 30 s, sixteen to go
