"""Tiny copies of the data sets in their real formats: IDX, CIFAR's pickles, Hugging Face's parquet, image folders."""

import io
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from pyarrow import parquet

from gbnlib.data import Card, presence

TRAIN, VALIDATION = 12, 5


def write_idx(path: Path, array: torch.Tensor) -> None:
    """An IDX file: magic number with the number of dimensions, sizes, bytes (LeCun's format)."""
    header = struct.pack(f">I{array.dim()}I", 0x800 + array.dim(), *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + array.to(torch.uint8).numpy().tobytes())


def pattern(count: int, *shape: int) -> torch.Tensor:
    """uint8 images (count, *shape), all different."""
    size = torch.Size(shape).numel()
    return (torch.arange(count * size) % 251).reshape(count, *shape).to(torch.uint8)


def labels(count: int) -> torch.Tensor:
    """Labels 0, 1, 2, … of ten."""
    return torch.arange(count) % 10


def picture(number: int, width: int = 32, height: int = 32) -> Image.Image:
    """A picture in soft colours, another one for each number."""
    chance = np.random.default_rng(number)
    return Image.fromarray(chance.integers(0, 256, (2, 2, 3), dtype=np.uint8)).resize((width, height))


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def write_mnist(folder: Path) -> None:
    for split, count in (("train", TRAIN), ("t10k", VALIDATION)):
        write_idx(folder / f"{split}-images-idx3-ubyte", pattern(count, 28, 28))
        write_idx(folder / f"{split}-labels-idx1-ubyte", labels(count))


def write_cifar(folder: Path, training: tuple[str, ...], test: str, key: str) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate((*training, test)):
        count = VALIDATION if name == test else TRAIN // len(training) + (number < TRAIN % len(training))
        content = {"data": pattern(count, 3072).numpy() + np.uint8(number), key: labels(count).tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))


def write_parquet(path: Path, column: str, count: int, kind: str = "JPEG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": encoded(picture(number), kind), "path": f"{number}.jpg"} for number in range(count)]
    parquet.write_table(pa.table({column: images, "label": labels(count).tolist()}), path, row_group_size=5)


def write_folder(folder: Path) -> None:
    """Classes with two training images and one validation image, of several sizes and modes."""
    for number in range(6):
        for split, each in (("train", 2), ("val", 1)):
            place = folder / split / f"n{number:08d}"
            place.mkdir(parents=True)
            for image in range(each):
                sizes = 90 + 7 * number, 80 + 5 * image
                picture(10 * number + image, *sizes).convert("L" if number == 5 else "RGB").save(
                    place / f"{image}.JPEG"
                )


WRITERS: dict[str, Callable[[Path], None]] = {
    "mnist": write_mnist,
    "fashion-mnist": write_mnist,
    "cifar10": lambda folder: write_cifar(
        folder, tuple(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "labels"
    ),
    "cifar100": lambda folder: write_cifar(folder, ("train",), "test", "fine_labels"),
    "imagenet": write_folder,
}
COLUMNS = {"cifar10-jpeg": "img", "tiny-imagenet-32": "image"}


def tiny(entry: Card, root: Path) -> Card:
    """The card of a tiny copy of a data set; its files are written unless an earlier card shares them."""
    folder = root / entry.folder
    if entry.kind == "parquet":
        for file in entry.files:
            write_parquet(folder / file, COLUMNS[entry.folder], TRAIN if file.startswith("train") else VALIDATION)
    elif entry.name in WRITERS:
        WRITERS[entry.name](folder)
    else:
        return entry
    sums = {file: presence.checksum(folder / file) for file in entry.files}
    counts = (12, 6) if entry.kind == "folder" else (TRAIN, VALIDATION)
    sizes = {"resize": 72, "image_size": 64} if entry.resize else {}
    return replace(entry, files=sums, train=counts[0], validation=counts[1], **sizes)
