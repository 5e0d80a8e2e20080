"""The cards of the data sets: what is known of each, from `catalog.toml` and from a catalogue of one's own."""

import tomllib
from dataclasses import field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from gbnlib import files
from gbnlib.errors import UsageError, unknown

Kind = Literal["embedded", "synthetic", "idx", "cifar", "parquet", "folder"]


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
    classes: PositiveInt
    channels: Literal[1, 3]
    image_size: PositiveInt
    train: PositiveInt
    validation: PositiveInt
    mean: tuple[float, ...]
    std: tuple[PositiveFloat, ...]
    pad: NonNegativeInt = 0
    fill: Annotated[int, Field(ge=0, le=255)] = 0
    flip: bool = False
    resize: NonNegativeInt = 0
    folder: str = ""
    files: dict[str, str] = field(default_factory=dict)
    torchvision: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Card":
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std need {self.channels} values, one per channel")
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
    """The cards of the suite and of a data root."""
    text = resources.files("gbnlib.data").joinpath("catalog.toml").read_text(encoding="utf-8")
    cards = {name: _card(name, entry) for name, entry in tomllib.loads(text).items()}
    own = root / "catalog.toml"
    if not own.is_file():
        return cards
    try:
        added = {name: _card(name, entry) for name, entry in tomllib.loads(own.read_text(encoding="utf-8")).items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, UsageError) as error:
        raise UsageError(f"{own}: {error}") from error
    if taken := sorted(set(added) & set(cards)):
        raise UsageError(f"{own}: {taken[0]!r} is a set of the suite; give yours another name.")
    return cards | added


def _card(name: str, entry: Any) -> Card:
    """One card; what is wrong with it comes as a `UsageError` of one line."""
    try:
        return Card(name=name, **entry)
    except (ValidationError, TypeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"card {name!r}: {where or 'fields'}: {first['msg']}") from error
