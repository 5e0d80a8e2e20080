"""Folders with links, pipes and odd names, and images that would fill the memory."""

import os
import pickle
import signal
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision.datasets import ImageFolder

from gbnlib import data
from gbnlib.data import StreamedImages, presence
from gbnlib.data.encoded import EncodedImages, class_names, read_folder, read_parquet
from gbnlib.data.reading import files_below
from gbnlib.errors import UsageError
from tests.data.formats import picture, write_folder, write_parquet


@pytest.fixture(autouse=True)
def within_seconds() -> Iterator[None]:
    """A test that waits for a pipe fails, instead of waiting."""
    signal.signal(signal.SIGALRM, lambda number, frame: pytest.fail("it waits for ever"))
    signal.alarm(20)
    yield
    signal.alarm(0)


def fruit(root: Path, **splits: str) -> Path:
    """An image folder with the named classes in its splits; the first pixel of an image is that of its class."""
    for split, classes in splits.items():
        for name in classes.split():
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                image = picture(number)
                image.putpixel((0, 0), (ord(name[0]), 0, 0))
                image.save(root / split / name / f"{number}.png")
    return root


def classes_seen(images: EncodedImages, labels: torch.Tensor) -> set[tuple[str, int]]:
    """Which class, by its first pixel, has which label."""
    return {(chr(images.decode(n).getpixel((0, 0))[0]), int(labels[n])) for n in range(len(images))}


def one_line(call) -> str:
    with pytest.raises(UsageError) as raised:
        call()
    str(raised.value).encode()  # any stream can print it
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("validation", ["apple plum", "plum", "pear plum"])
def test_the_classes_are_numbered_by_the_training_images(tmp_path: Path, monkeypatch, validation: str) -> None:
    root = fruit(tmp_path / "fruit", train="apple pear zebra", val=validation.replace("plum", "zebra"))
    numbers = {("a", 0), ("p", 1), ("z", 2)}
    assert classes_seen(*read_folder(root / "train", 3)) == numbers
    wanted = {pair for pair in numbers if pair[0] in {name[0] for name in os.listdir(root / "val")}}
    assert classes_seen(*read_folder(root / "val", 3, class_names(root / "train"))) == wanted
    monkeypatch.setenv("GBN_DATA", str(tmp_path))
    (tmp_path / "catalog.toml").write_text(data.describe("fruit"))
    loaded = data.load("fruit", tmp_path)
    found = zip(loaded.validation_images[:, 0, 0, 0].tolist(), loaded.validation_labels.tolist(), strict=True)
    assert {(chr(red), label) for red, label in found} == wanted
    assert loaded.card.classes == 3


def test_a_class_that_the_training_images_lack_is_an_error(tmp_path: Path) -> None:
    fruit(tmp_path / "fruit", train="apple pear", val="apple quince")
    assert "val/quince: the training images have no such class" in one_line(lambda: data.describe("fruit", tmp_path))
    write_parquet(tmp_path / "mine" / "train-0.parquet", "img", 3, "PNG")
    write_parquet(tmp_path / "mine" / "test-0.parquet", "img", 4, "PNG")
    assert "a validation image has the label 3" in one_line(lambda: data.describe("mine", tmp_path))


def test_a_class_without_images_is_an_error_in_training_and_none_in_validation(tmp_path: Path) -> None:
    root = fruit(tmp_path, train="apple pear", val="apple pear")
    for image in (root / "val" / "pear").iterdir():
        image.unlink()
    assert read_folder(root / "val", 3, class_names(root / "train"))[1].tolist() == [0, 0]
    for image in (root / "train" / "pear").iterdir():
        image.unlink()
    assert "train/pear holds no image" in one_line(lambda: read_folder(root / "train", 3))


def test_images_come_in_the_order_of_torchvision(tmp_path: Path) -> None:
    write_folder(tmp_path)
    deeper = tmp_path / "train" / "n00000002"
    for place in ("b", "b/c", "b-d", "a"):
        (deeper / place).mkdir()
        picture(1).save(deeper / place / "1.png")
        picture(1).save(deeper / place / "0.PNG")
    images, labels = read_folder(tmp_path / "train", 3)
    theirs = ImageFolder(str(tmp_path / "train")).samples
    assert [(str(path), label) for path, label in zip(images.origins, labels.tolist(), strict=True)] == theirs


@pytest.mark.parametrize("target", [".", "..", "../..", "../../val/../train"])
def test_a_link_that_leads_back_is_refused_and_others_are_followed(tmp_path: Path, target: str) -> None:
    root = fruit(tmp_path / "fruit", train="apple pear", val="apple pear")
    (tmp_path / "elsewhere").mkdir()
    picture(1).save(tmp_path / "elsewhere" / "1.png")
    (root / "train" / "apple" / "more").symlink_to(tmp_path / "elsewhere")
    assert read_folder(root / "train", 3)[1].bincount().tolist() == [3, 2]
    before = presence.checksum(root / "train")
    picture(1).save(tmp_path / "elsewhere" / "2.png")
    assert presence.checksum(root / "train") != before
    (root / "train" / "apple" / "loop").symlink_to(target)
    assert "is a link to a folder above it" in one_line(lambda: read_folder(root / "train", 3))
    assert "is a link to a folder above it" in one_line(lambda: data.describe("fruit", tmp_path))


def test_a_pipe_is_not_waited_for(tmp_path: Path, monkeypatch) -> None:
    root = fruit(tmp_path / "fruit", train="apple pear", val="apple pear")
    monkeypatch.setenv("GBN_DATA", str(tmp_path))
    (tmp_path / "catalog.toml").write_text(data.describe("fruit"))
    os.mkfifo(root / "train" / "apple" / "2.png")
    for call in (lambda: read_folder(root / "train", 3), lambda: data.describe("fruit"), lambda: data.load("fruit")):
        assert "train/apple/2.png is neither a file nor a folder" in one_line(call)
    assert data.check("fruit").startswith("damaged: ")


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tiny_root: Path) -> None:
    path = tiny_root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    path.unlink()
    os.mkfifo(path)
    assert data.check("mnist").startswith(f"damaged: {path}")
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "neither a file nor a folder" in one_line(lambda: data.load("mnist", tiny_root))
    (tiny_root / "own").mkdir()
    os.mkfifo(tiny_root / "own" / "train.parquet")
    assert "train.parquet is neither" in one_line(lambda: data.describe("own", tiny_root))


def test_a_link_that_leads_nowhere_is_said(tmp_path: Path) -> None:
    root = fruit(tmp_path, train="apple", val="apple")
    (root / "train" / "apple" / "9.png").symlink_to("nowhere")
    assert "9.png is neither a file nor a folder" in one_line(lambda: list(files_below(root)))


def test_a_file_name_that_is_not_utf_8_is_read_like_others(tmp_path: Path) -> None:
    root = fruit(tmp_path / "fruit", train="apple", val="apple")
    odd = Path(os.fsdecode(os.fsencode(root / "train" / "apple") + b"/n\xe9.png"))
    picture(1).save(odd)
    assert len(read_folder(root / "train", 3)[0]) == 3
    assert "train = 3" in data.describe("fruit", tmp_path)
    odd.write_bytes(b"no image")
    images, _ = read_folder(root / "train", 3)
    assert "udce9.png cannot be decoded" in one_line(lambda: [images.decode(number) for number in range(3)])
    write_parquet(tmp_path / "mine" / "train-0.parquet", "img", 2, "PNG")
    (tmp_path / "mine" / "train-0.parquet").rename(
        Path(os.fsdecode(os.fsencode(tmp_path / "mine") + b"/train\xe9-0.parquet"))
    )
    assert "splits found are: train\\udce9" in one_line(lambda: data.describe("mine", tmp_path))


def bomb(path: Path, width: int, height: int) -> None:
    """A small PNG of many pixels, all of them black."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * min(height, 1000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def test_an_image_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    bomb(tmp_path / "bomb.png", 30_000, 30_000)
    bomb(tmp_path / "narrow.png", 2, 1_000_000)
    images = EncodedImages([tmp_path / "bomb.png"], "here", 1)
    assert "bomb.png cannot be decoded (Image size (900000000 pixels)" in one_line(lambda: images.decode(0))
    for workers in (0, 1):
        streamed = StreamedImages(EncodedImages([tmp_path / "narrow.png"], "here", 1), 256, 224, workers=workers)
        assert "narrow.png" in one_line(lambda: list(streamed.split(1)))  # noqa: B023


def test_images_that_do_not_fit_into_memory_are_refused_before_they_are_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", "img", 1, "PNG")
    images = read_parquet([tmp_path / "train.parquet"], 3)[0]
    assert "do not fit" in one_line(lambda: images.decode_all(10**9))


def test_a_pickle_of_ones_own_card_runs_nothing(tiny_root: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tiny_root / "opened"),)

    path = tiny_root / "cifar-100-python" / "test"
    path.write_bytes(pickle.dumps(Evil()))
    card = data.card("cifar100")
    data.cards.catalog()["cifar100"] = replace(card, files={**card.files, "test": presence.checksum(path, "MD5")})
    assert "is not a batch of CIFAR (it names posix.mkdir)" in one_line(lambda: data.load("cifar100", tiny_root))
    assert not (tiny_root / "opened").exists()
