"""The table of the networks: how large they are, what an image costs, and where each choice is from."""

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from gbnlib import data, paper
from gbnlib.nn import build_network


def network_table() -> pd.DataFrame:
    """A row for each network of the paper, on the images and classes of its own data set.

    Returns
    -------
    Columns network, data, parameters, forward and training (multiply-adds of an image, the latter with the backward
    pass), sources (each choice with its tag: P printed, C read in the authors' code, R not verified).
    """
    return pd.DataFrame([network_row(name) for name in paper.networks()])


def network_row(name: str) -> dict[str, object]:
    """One network, built without memory for its weights; PyTorch counts two operations for a multiply-add."""
    protocol = paper.protocol(name)
    card = data.card(protocol.dataset)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = build_network(name, card.classes, card.channels, card.image_size).eval()
        scores = network(torch.empty(1, card.channels, card.image_size, card.image_size))
        forward = counter.get_total_flops() // 2
        scores.sum().backward()
    sources = paper.network_sources(name).items()
    return {
        "network": protocol.label,
        "data": card.label,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "forward": forward,
        "training": counter.get_total_flops() // 2,
        "sources": "; ".join(f"{choice.replace('_', ' ')} [{of['tag']}]: {of['source']}" for choice, of in sources),
    }
