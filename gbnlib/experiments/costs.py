"""What an image costs in a network, in multiply-adds.

Counting needs torch, which takes longer to import than a plan to make, so `costs.toml` keeps the counts of what the
scales run; `write_kept` makes it anew, and a test compares. Others are counted when they are asked for.
"""

import tomllib
from functools import cache
from importlib import resources
from pathlib import Path

from gbnlib import data, files, paper

_HEAD = "# Multiply-adds of an image, forward alone and with the backward pass; made by `gbnlib.experiments.costs`.\n"


def multiply_adds(network: str, dataset: str) -> tuple[int, int]:
    """Multiply-adds of one image of a data set, forward, and forward and backward."""
    card = data.card(dataset)
    shape = (card.classes, card.channels, card.image_size)
    known = _kept().get(network, {}).get(_name(shape))
    return tuple(known) if known else _counted(network, shape)


def kept_text() -> str:
    """What `costs.toml` has to hold: the networks of all scales, on their data sets."""
    rows = [paper.protocol(network, scale) for network in paper.networks() for scale in paper.scales()]
    lines = [_HEAD]
    for network in paper.networks():
        cards = [data.card(row.dataset) for row in rows if row.network == network]
        lines.append(f"\n[{network}]\n")
        for shape in dict.fromkeys((card.classes, card.channels, card.image_size) for card in cards):
            lines.append(f'"{_name(shape)}" = {list(_counted(network, shape))}\n')
    return "".join(lines)


def write_kept() -> None:
    """Write `costs.toml` anew."""
    files.write_text(Path(__file__).with_name("costs.toml"), kept_text())


def _name(shape: tuple[int, int, int]) -> str:
    """Classes, channels and side of the images as a key."""
    return "{} classes, {} × {}²".format(*shape)


@cache
def _kept() -> dict[str, dict[str, list[int]]]:
    """The counts in `costs.toml`."""
    return tomllib.loads(resources.files("gbnlib.experiments").joinpath("costs.toml").read_text(encoding="utf-8"))


@cache
def _counted(network: str, shape: tuple[int, int, int]) -> tuple[int, int]:
    """The counts of a network that is built without memory for its weights."""
    import torch

    from gbnlib import nn

    with torch.device("meta"):
        model = nn.build_network(network, *shape)
    return nn.multiply_adds(model, *shape[1:])
