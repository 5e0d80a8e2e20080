"""Images as they lie on disk, JPEG or PNG, in Hugging Face's parquet files or as files in folders by class."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gbnlib.errors import UsageError

IMAGE_COLUMNS = ("image", "img")


class EncodedImages:
    """Images that are decoded one at a time.

    Parameters
    ----------
    origins : for each image its path, or an object whose ``as_py()`` is what a parquet file holds of it.
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

    def decode(self, number: int) -> Image.Image:
        """One image; a `UsageError` names one that cannot be decoded."""
        row = int(self.rows[number])
        origin = self.origins[row]
        try:
            with Image.open(origin if isinstance(origin, Path) else io.BytesIO(_content(origin))) as image:
                return image.convert("L" if self.channels == 1 else "RGB")
        except (OSError, SyntaxError, TypeError) as error:
            where = origin if isinstance(origin, Path) else f"{self.place}, image {row}"
            raise UsageError(f"{where} cannot be decoded ({' '.join(str(error).split())}).") from error

    def decode_all(self, size: int) -> Tensor:
        """All images, uint8 (N, C, `size`, `size`); they must have that size."""
        images = torch.empty(len(self), self.channels, size, size, dtype=torch.uint8)
        for number in range(len(self)):
            image = self.decode(number)
            if image.size != (size, size):
                width, height = image.size
                raise UsageError(
                    f"{self.place}, image {int(self.rows[number])} has {width} × {height} pixels, not {size} × {size}. "
                    "For images of several sizes give the card `resize`."
                )
            images[number] = pixels(image)
        return images


def pixels(image: Image.Image) -> Tensor:
    """An image as uint8 (C, H, W)."""
    values = torch.from_numpy(np.array(image))
    return values[None] if values.dim() == 2 else values.permute(2, 0, 1)


def _content(origin: object) -> bytes:
    """The bytes of an image in a parquet file: the value itself, or Hugging Face's {"bytes", "path"}."""
    value = origin.as_py()
    return value["bytes"] if isinstance(value, dict) else value


def parquet_splits(paths: Iterable[Path]) -> list[list[Path]]:
    """Parquet files for training, whose names begin with "train", and the others, for validation."""
    splits: list[list[Path]] = [[], []]
    for path in paths:
        splits[not path.name.startswith("train")].append(path)
    if not all(splits):
        names = ", ".join(path.name for split in splits for path in split) or "no file"
        raise UsageError(f"Parquet files named train… are needed, and others for validation; found: {names}.")
    return splits


def read_parquet(paths: Sequence[Path], channels: int) -> tuple[EncodedImages, Tensor]:
    """Images and labels of one split: files with a column `image` or `img`, and a column `label`."""
    import pyarrow as pa
    from pyarrow import parquet

    place = paths[0].parent / paths[0].name
    try:
        names = parquet.read_schema(paths[0]).names
        column = next((name for name in IMAGE_COLUMNS if name in names), "")
        if not column or "label" not in names:
            raise UsageError(f"{place} has the columns {', '.join(names)}; needed are label, and image or img.")
        table = pa.concat_tables(parquet.read_table(path, columns=[column, "label"]) for path in paths)
        labels = torch.from_numpy(table["label"].to_numpy().astype("int64"))
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{place} cannot be read as parquet ({' '.join(str(error).split())}).") from error
    return EncodedImages(table[column], str(place), channels), labels


def read_folder(folder: Path, channels: int) -> tuple[EncodedImages, Tensor]:
    """Images and labels of one split: a folder for each class, classes in the order of their names."""
    from torchvision.datasets import ImageFolder

    try:
        found = ImageFolder(str(folder)).samples
    except FileNotFoundError as error:
        raise UsageError(f"{folder} is not an image folder ({' '.join(str(error).split())}).") from error
    paths = [Path(path) for path, _ in found]
    return EncodedImages(paths, str(folder), channels), torch.tensor([label for _, label in found])
