"""Images as they lie on disk, JPEG or PNG, in Hugging Face's parquet files or as files in folders by class."""

import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gbnlib.data.modes import eight_bits
from gbnlib.data.reading import files_below, shown, told
from gbnlib.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_COLUMNS = ("image", "img")


class EncodedImages:
    """Images that are decoded one at a time.

    Parameters
    ----------
    origins : for each image its path, or an object whose ``as_py()`` is the bytes of its file.
    place : what messages call the images: "<place>, image <number>".
    channels : 1 (grey) or 3 (RGB), whatever the files hold.
    rows : int64 (N,), which of `origins`; None means all.
    """

    def __init__(self, origins: Sequence, place: str, channels: int, rows: Tensor | None = None) -> None:
        self.origins, self.place, self.channels = origins, place, channels
        self.rows = torch.arange(len(origins)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: Tensor) -> "EncodedImages":
        """Some of the images, by their numbers or a mask."""
        return EncodedImages(self.origins, self.place, self.channels, self.rows[chosen])

    def where(self, number: int) -> str:
        """What messages call an image."""
        row = int(self.rows[number])
        origin = self.origins[row]
        return shown(origin) if isinstance(origin, Path) else f"{self.place}, image {row}"

    def decode(self, number: int) -> Image.Image:
        """One image, in mode L or RGB; a `UsageError` names one that cannot be decoded without loss."""
        with self._opened(number) as image:
            return eight_bits(image, self.channels)

    def resized(self, number: int, shorter: int) -> np.ndarray:
        """One image whose shorter side is scaled to so many pixels, uint8 (H, W, C)."""
        from torchvision.transforms import functional

        image = self.decode(number)
        if shorter * max(image.size) * shorter > min(image.size) * Image.MAX_IMAGE_PIXELS:
            width, height = image.size
            raise UsageError(f"{self.where(number)} is too narrow to be resized: {width} × {height} pixels.")
        return np.atleast_3d(np.asarray(functional.resize(image, [shorter])))

    def elongation(self, number: int) -> float:
        """Longer over shorter side of one image, of which only the head is read."""
        with self._opened(number) as image:
            return max(image.size) / min(image.size)

    @contextmanager
    def _opened(self, number: int) -> Iterator[Image.Image]:
        """One image that is not decoded yet."""
        origin = self.origins[int(self.rows[number])]
        with (
            told(f"{self.where(number)} cannot be decoded"),
            Image.open(origin if isinstance(origin, Path) else io.BytesIO(origin.as_py())) as image,
        ):
            yield image

    def decode_all(self, size: int) -> Tensor:
        """All images, uint8 (N, C, `size`, `size`); they must have that size."""
        with told(f"{self.place}: {len(self)} images of {size} × {size} do not fit", " Give the card `resize`."):
            images = torch.empty(len(self), self.channels, size, size, dtype=torch.uint8)
        for number in range(len(self)):
            image = self.decode(number)
            if image.size != (size, size):
                width, height = image.size
                raise UsageError(
                    f"{self.place}, image {int(self.rows[number])} has {width} × {height} pixels, not {size} × {size}. "
                    "For images of several sizes give the card `resize`."
                )
            images[number] = torch.from_numpy(np.array(image)).view(size, size, -1).permute(2, 0, 1)
        return images


def read_parquet(paths: Sequence[Path], channels: int) -> tuple[EncodedImages, Tensor]:
    """Images and labels of one split: files with a column `image` or `img`, and a column `label`."""
    import pyarrow as pa
    from pyarrow import parquet

    place = shown(paths[0])
    with told(f"{place} cannot be read as parquet"):
        names = parquet.read_schema(paths[0]).names
        column = next((name for name in IMAGE_COLUMNS if name in names), "")
        if not column or "label" not in names:
            raise UsageError(f"{place} has the columns {', '.join(names)}; needed are label, and image or img.")
        table = pa.concat_tables(parquet.read_table(path, columns=[column, "label"]) for path in paths)
        if not len(table):
            raise UsageError(f"{place} holds no images.")
        return EncodedImages(_bytes(table[column], place), place, channels), _labels(table["label"], place)


def _bytes(column: "pa.ChunkedArray", place: str) -> "pa.ChunkedArray":
    """The bytes of each image file: the column itself, or that part of Hugging Face's {"bytes", "path"}."""
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = compute.struct_field(column, "bytes")
    remedy = "Write the images with their bytes into the parquet files."
    if column.null_count:
        row = compute.index(column.is_null(), True).as_py()
        raise UsageError(f"{place}, image {row} has no bytes, a path at most. {remedy}")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise UsageError(f"{place} holds {column.type} in place of the bytes of image files. {remedy}")
    return column


def _labels(column: "pa.ChunkedArray", place: str) -> Tensor:
    """Labels as int64 (N,); nothing is rounded, and no image is without one."""
    import pyarrow as pa

    needed = "Needed are the numbers of the classes, from 0, one for each image."
    if not any(of(column.type) for of in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)):
        raise UsageError(f"{place} has labels of type {column.type}. {needed}")
    if column.null_count:
        raise UsageError(f"{place} has {column.null_count} images whose label is null. {needed}")
    with told(f"{place} has labels that are not whole numbers", f" {needed}"):
        labels = torch.tensor(column.cast("int64").to_numpy())
    if labels.min() < 0:
        raise UsageError(f"{place}, image {int(labels.argmin())} has the label {int(labels.min())}. {needed}")
    return labels


def check_same_classes(splits: Sequence[Sequence[Path]]) -> None:
    """Refuse parquet files that number the classes differently, where they name them as Hugging Face does."""
    from pyarrow import parquet

    known: list[str] = []
    for path in (path for paths in splits for path in paths):
        with told(f"{shown(path)} cannot be read as parquet"):
            features = json.loads((parquet.read_schema(path).metadata or {}).get(b"huggingface", b"{}"))
            names = features.get("info", {}).get("features", {}).get("label", {}).get("names") or known
        if known and names != known:
            raise UsageError(f"{shown(path)} numbers its classes otherwise than the files before it.")
        known = names


def class_names(folder: Path) -> list[str]:
    """The classes of one split of an image folder, in the order of their names."""
    with told(f"{shown(folder)} is not an image folder"):
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def read_folder(folder: Path, channels: int, classes: Sequence[str] = ()) -> tuple[EncodedImages, Tensor]:
    """Images and labels of one split: a folder for each class.

    Parameters
    ----------
    folder : the split.
    channels : 1 (grey) or 3 (RGB), whatever the files hold.
    classes : names of the classes in the order of their labels, those of the training images; by default the folders
        of this split in the order of their names, and each of them has to hold an image.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    found = class_names(folder)
    if strange := sorted(set(found) - set(classes or found)):
        raise UsageError(f"{shown(folder / strange[0])}: the training images have no such class. Delete the folder.")
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes or found):
        below = files_below(folder / name) if name in found else ()
        images = sorted((path for path in below if path.suffix.lower() in IMG_EXTENSIONS), key=os.path.split)
        if not images and not classes:
            raise UsageError(f"{shown(folder / name)} holds no image. Delete the folder or fill it.")
        paths += images
        labels += [label] * len(images)
    if not paths:
        raise UsageError(f"{shown(folder)} is not an image folder: in it has to be a folder for each class.")
    return EncodedImages(paths, shown(folder), channels), torch.tensor(labels)
