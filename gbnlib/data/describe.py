"""A card for images of one's own: parquet files of Hugging Face, or an image folder."""

import json
import tomllib
from pathlib import Path

import torch
from torch import Tensor

from gbnlib import files
from gbnlib.data.cards import LARGEST_SIDE, LEAST_STD, check_name, checked
from gbnlib.data.encoded import EncodedImages, check_same_classes, class_names, read_folder, read_parquet
from gbnlib.data.presence import SPLITS, checksum
from gbnlib.data.reading import files_below
from gbnlib.data.splits import parquet_splits
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
    name : the folder. It holds parquet files with a column `image` or `img` and a column `label`, whose names begin
        with their split, train and validation or test; or folders train and val, in each a folder a class.
    root : the data root; None means `GBN_DATA`, by default `data/`.

    Returns
    -------
    TOML. Images of one square size are kept decoded, and cropped after padding; others are streamed, resized to 256
    and cropped to 224. Mean and standard deviation are those of the first 1000 training images of a fixed shuffle.

    Raises
    ------
    UsageError : the folder is not directly in the data root, or holds neither, or files that cannot be read, or images
        that no card can describe, such as constant ones.
    """
    root = Path(root or files.data_root())
    if Path(name).name != name:
        raise UsageError(f"{name!r} would be the name of the data set: give a folder directly in {root}, without '/'.")
    check_name(name)
    folder = root / name
    kind, paths, splits = _contents(folder)
    (images, labels), (_, validation) = splits
    classes = int(labels.max()) + 1
    if validation.max() >= classes:
        raise UsageError(f"{folder}: a validation image has the label {validation.max()}, no training image has it.")
    sample = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:SAMPLE]]
    size, resize = _sizes(sample)
    mean, std = _statistics(sample, size, resize)
    if min(std) < LEAST_STD:
        raise UsageError(f"{folder}: the training images are constant; their standard deviations are {std}.")
    sums = ", ".join(
        f'{json.dumps(path.relative_to(folder).as_posix(), ensure_ascii=False)} = "{checksum(path)}"' for path in paths
    )
    card = CARD.format(
        name=json.dumps(name),
        kind=kind,
        classes=classes,
        image_size=size,
        train=len(labels),
        validation=len(validation),
        mean=json.dumps(mean),
        std=json.dumps(std),
        pad=0 if resize else size // 8,
        resize=resize,
        files=sums,
    )
    checked(name, tomllib.loads(card)[name])
    return card


def _contents(folder: Path) -> tuple[str, list[Path], list[tuple[EncodedImages, Tensor]]]:
    """Kind of a set, the files or folders that its card has sums of, and images and labels of its splits."""
    found = sorted(path for path in files_below(folder) if path.suffix == ".parquet") if folder.is_dir() else []
    if found:
        splits = parquet_splits(found)
        check_same_classes(splits)
        return "parquet", [path for split in splits for path in split], [read_parquet(split, 3) for split in splits]
    train, val = paths = [folder / split for split in SPLITS]
    if train.is_dir() and val.is_dir():
        return "folder", paths, [read_folder(train, 3), read_folder(val, 3, class_names(train))]
    raise UsageError(f"{folder} holds neither parquet files nor the folders {' and '.join(SPLITS)}.")


def _sizes(sample: EncodedImages) -> tuple[int, int]:
    """Side of the images as a network sees them, and what they are resized to before, 0 for not at all."""
    sizes = {sample.decode(number).size for number in range(len(sample))}
    (width, height), *others = sizes
    return (224, 256) if others or width != height or width > LARGEST_SIDE else (width, 0)


def _statistics(sample: EncodedImages, size: int, resize: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of images in [0, 1], to four digits."""
    parts = StreamedImages(sample, resize or size, size, workers=0).split(10)
    counts = sum(torch.stack([plane.flatten().bincount(minlength=256) for plane in part.unbind(1)]) for part in parts)
    shares, values = counts / counts.sum(1, keepdim=True, dtype=torch.float64), torch.arange(256).double() / 255
    mean = shares @ values
    std = (shares * (values - mean[:, None]) ** 2).sum(1).sqrt()
    return [[round(value, 4) for value in of.tolist()] for of in (mean, std)]
