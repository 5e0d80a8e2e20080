"""The items of the suite: which notebook shows what."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from gbnlib import experiments
from gbnlib.errors import unknown


@dataclass(frozen=True)
class Item:
    """An item: its notebook (file name without ending), what the paper has, claims it bears on.

    `runs` names what is planned for it.
    """

    name: str
    notebook: str
    title: str
    finding: str
    claims: tuple[str, ...]
    runs: tuple[str, ...]


@cache
def items() -> dict[str, Item]:
    """All items by name, in reading order."""
    text = resources.files("gbnlib.report").joinpath("items.toml").read_text(encoding="utf-8")
    return {name: _item(name, entry) for name, entry in tomllib.loads(text).items()}


def _item(name: str, entry: dict) -> Item:
    """An item from its table; unless it says otherwise, its runs are those planned under its own name."""
    entry = {"runs": [name] if name in experiments.ITEMS else [], **entry}
    lists = {key: tuple(entry[key]) for key in ("claims", "runs")}
    return Item(name=name, **{**entry, **lists})


def get_item(name: str) -> Item:
    """One item; an unknown name raises a `UsageError`."""
    if name not in items():
        raise unknown("item", name, items())
    return items()[name]


def planned_name(name: str) -> str:
    """A name that has a plan, checked: an item, or the ablations, which Table 1's notebook shows."""
    names = dict.fromkeys([*items(), *experiments.ITEMS])
    if name not in names:
        raise unknown("item", name, names)
    return name
