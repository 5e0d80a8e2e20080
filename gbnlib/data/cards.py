"""The cards of the data sets: what is known of each, from `catalog.toml` and from a catalogue of one's own."""

import re
import tomllib
from dataclasses import field
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from gbnlib import files
from gbnlib.errors import UsageError, complaint, unknown

Kind = Literal["embedded", "synthetic", "idx", "cifar", "parquet", "folder"]

#: The classes of torchvision that download files which `sources` reads.
Torchvision = Literal["", "MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100"]

#: The largest side of an image in pixels, the most classes, and the most values that a synthetic set may have.
LARGEST_SIDE, MOST_CLASSES, MOST_VALUES = 2048, 100_000, 2**27

#: The least standard deviation, a quarter of a grey level: by a smaller one, noise would become large numbers.
LEAST_STD = 0.001


def check_name(name: str) -> str:
    """Return the name of a data set if it can be part of a path and of a run id; a `UsageError` says what can."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name) or not name.strip(".-"):
        raise UsageError(f"{name!r} cannot name a data set: give 1 to 100 letters A to z, digits, '.', '_' and '-'.")
    return name


def _below(path: str) -> str:
    """Return a path of a card if it stays below the folder that it is relative to."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or "\\" in path or ".." in parts or not path.isprintable():
        raise ValueError(
            f"{path!r} leads out of the data root or cannot be printed; leave out '..', '\\' and a first '/'"
        )
    return path


Below = Annotated[str, AfterValidator(_below)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Card:
    """What is known of a data set.

    Attributes
    ----------
    name : the name that configs and run ids use.
    label : the name that people read; that of a stand-in never equals that of the set it stands for.
    source, licence, note : where the images are from, on what terms, and what to know of them.
    kind : the format of the files.
    exact : these are the very data of the paper, or of the named public set.
    classes, channels, image_size : of the images as a network sees them; a card with fewer classes than its files
        takes the first ones.
    train, validation : number of images in each split.
    mean, std : per channel, of images in [0, 1], for normalisation.
    pad, fill, flip : the official augmentation: pixels added on each side before a random crop, their value from 0 to
        255, and mirroring.
    resize : 0 for images kept decoded in memory; else they are decoded while training, the shorter side is scaled to
        this many pixels, and a random crop is taken, in evaluation the central one.
    folder : below the data root.
    files : checksum of each file in `folder`, SHA-256 or, where it has 32 digits, MD5; for a folder of an image
        folder the SHA-256 of its listing.
    torchvision : the class of torchvision that downloads the set; empty if it has to be put there by hand.
    """

    name: str
    label: str
    source: str
    licence: str
    kind: Kind
    exact: bool
    note: str
    classes: Annotated[int, Field(gt=0, le=MOST_CLASSES)]
    channels: Literal[1, 3]
    image_size: Annotated[int, Field(gt=0, le=LARGEST_SIDE)]
    train: PositiveInt
    validation: PositiveInt
    mean: tuple[float, ...]
    std: tuple[PositiveFloat, ...]
    pad: NonNegativeInt = 0
    fill: Annotated[int, Field(ge=0, le=255)] = 0
    flip: bool = False
    resize: Annotated[int, Field(ge=0, le=LARGEST_SIDE)] = 0
    folder: Below = ""
    files: dict[Below, str] = field(default_factory=dict)
    torchvision: Torchvision = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Card":
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std need {self.channels} values, one per channel")
        if any(not 0 <= mean <= 1 for mean in self.mean) or any(not LEAST_STD <= std <= 1 for std in self.std):
            raise ValueError(f"mean must lie in [0, 1] and std in [{LEAST_STD}, 1], as those of images in [0, 1] do")
        if self.pad > self.image_size:
            raise ValueError(f"pad is {self.pad}; it must be at most image_size, {self.image_size}")
        values = (self.train + self.validation) * self.channels * self.image_size**2
        if self.kind == "synthetic" and values > MOST_VALUES:
            raise ValueError(f"train + validation images have {values:,} values; a synthetic set has {MOST_VALUES:,}")
        if 0 < self.resize < self.image_size:
            raise ValueError(f"resize is {self.resize}; it must be 0 or at least image_size, {self.image_size}")
        return self


def catalog() -> dict[str, Card]:
    """All cards by name: those of the suite, and those of `catalog.toml` in the data root if there is one."""
    return _with_own(files.data_root())


def card(name: str) -> Card:
    """The card of one data set; an unknown name raises a `UsageError` with the nearest one."""
    cards = catalog()
    if name not in cards:
        raise unknown("data set", name, cards)
    return cards[name]


@cache
def _with_own(root: Path) -> dict[str, Card]:
    text = resources.files("gbnlib.data").joinpath("catalog.toml").read_text(encoding="utf-8")
    cards = {name: checked(name, entry) for name, entry in tomllib.loads(text).items()}
    own = root / "catalog.toml"
    if not own.is_file():
        return cards
    try:
        added = {name: checked(name, entry) for name, entry in tomllib.loads(own.read_text(encoding="utf-8")).items()}
    except (ValueError, OSError, RecursionError) as error:  # TOML's, UTF-8's, a card's; a pipe or depth
        raise UsageError(f"{own}: {error}") from error
    if taken := sorted(set(added) & set(cards)):
        raise UsageError(f"{own}: {taken[0]!r} is a set of the suite; give yours another name.")
    return cards | added


def checked(name: str, entry: Any) -> Card:
    """One card; what is wrong with it comes as a `UsageError` of one line."""
    try:
        return Card(name=check_name(name), **entry)
    except (ValidationError, TypeError) as error:
        said = complaint(error).encode("unicode_escape").decode()  # a field's name can hold anything
        raise UsageError(f"card {name!r}: {said}") from error
