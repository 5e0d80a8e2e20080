"""A card for images of one's own: parquet files of Hugging Face, or an image folder."""

import json
from pathlib import Path

import torch
from torch import Tensor

from gbnlib import files
from gbnlib.data.encoded import EncodedImages, parquet_splits, read_folder, read_parquet
from gbnlib.data.presence import SPLITS, checksum
from gbnlib.data.stream import StreamedImages
from gbnlib.errors import UsageError

#: Images of the training set that size, mean and standard deviation are taken from.
SAMPLE = 1000

CARD = """[{name}]
label = {name}
source = "say where the images are from"
licence = "say on what terms"
kind = "{kind}"
exact = true
note = "say what a reader has to know"
classes = {classes}
channels = 3
image_size = {image_size}
train = {train}
validation = {validation}
mean = {mean}
std = {std}
pad = {pad}
flip = true
resize = {resize}
folder = {name}
files = {{ {files} }}
"""


def describe(name: str, root: Path | None = None) -> str:
    """The card of a folder of the data root, for `catalog.toml` there.

    Parameters
    ----------
    name : the folder. It holds parquet files with a column `image` or `img` and a column `label`, those for training
        named "train…"; or folders train and val, in each a folder a class.
    root : the data root; None means `GBN_DATA`, by default `data/`.

    Returns
    -------
    TOML. Images of one square size are kept decoded, and cropped after padding; others are streamed, resized to 256
    and cropped to 224. Mean and standard deviation are those of the first 1000 training images of a fixed shuffle.

    Raises
    ------
    UsageError : the folder is not directly in the data root, or holds neither, or files that cannot be read.
    """
    root = Path(root or files.data_root())
    if Path(name).name != name:
        raise UsageError(f"{name!r} would be the name of the data set: give a folder directly in {root}, without '/'.")
    folder = root / name
    kind, paths = _contents(folder)
    if kind == "parquet":
        (images, labels), (_, validation) = [read_parquet(split, channels=3) for split in parquet_splits(paths)]
    else:
        (images, labels), (_, validation) = [read_folder(split, channels=3) for split in paths]
    size, resize = _sizes(images)
    mean, std = _statistics(images, size, resize)
    sums = ", ".join(f'"{path.relative_to(folder).as_posix()}" = "{checksum(path)}"' for path in paths)
    return CARD.format(
        name=json.dumps(name, ensure_ascii=False),
        kind=kind,
        classes=int(max(labels.max(), validation.max())) + 1,
        image_size=size,
        train=len(labels),
        validation=len(validation),
        mean=json.dumps(mean),
        std=json.dumps(std),
        pad=0 if resize else size // 8,
        resize=resize,
        files=sums,
    )


def _contents(folder: Path) -> tuple[str, list[Path]]:
    """Kind of a set, and the files or folders that its card has sums of."""
    if paths := sorted(folder.rglob("*.parquet")):
        return "parquet", paths
    splits = [folder / split for split in SPLITS]
    if all(split.is_dir() for split in splits):
        return "folder", splits
    raise UsageError(f"{folder} holds neither parquet files nor the folders {' and '.join(SPLITS)}.")


def _sample(images: EncodedImages) -> EncodedImages:
    """Some of the images, the same ones at each call."""
    return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:SAMPLE]]


def _sizes(images: EncodedImages) -> tuple[int, int]:
    """Side of the images as a network sees them, and what they are resized to before, 0 for not at all."""
    sample = _sample(images)
    sizes = {sample.decode(number).size for number in range(len(sample))}
    (width, height), *others = sizes
    return (224, 256) if others or width != height else (width, 0)


def _statistics(images: EncodedImages, size: int, resize: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of images in [0, 1], to four digits."""
    parts: list[Tensor] = list(StreamedImages(_sample(images), resize or size, size, workers=0).split(100))
    values = torch.cat([part.double().transpose(0, 1).flatten(1) for part in parts], dim=1) / 255
    return [[round(value, 4) for value in of.tolist()] for of in (values.mean(1), values.std(1, correction=0))]
