"""The items of the suite: which notebook shows what."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from gbnlib.errors import unknown


@dataclass(frozen=True)
class Item:
    """An item: its notebook (file name without ending), what the paper has, claims it bears on, its limits."""

    name: str
    notebook: str
    title: str
    finding: str
    claims: tuple[str, ...]
    limits: tuple[str, ...]


@cache
def items() -> dict[str, Item]:
    """All items by name, in reading order."""
    text = resources.files("gbnlib.report").joinpath("items.toml").read_text(encoding="utf-8")
    return {
        name: Item(name=name, **{**entry, "claims": tuple(entry["claims"]), "limits": tuple(entry["limits"])})
        for name, entry in tomllib.loads(text).items()
    }


def get_item(name: str) -> Item:
    """One item; an unknown name raises a `UsageError`."""
    if name not in items():
        raise unknown("item", name, items())
    return items()[name]
