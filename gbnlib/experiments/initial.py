"""The weights that a run starts from: they depend on its network, its data set and its seed alone."""

from functools import cache

import torch
from torch import nn

from gbnlib import data
from gbnlib.nn import build_network
from gbnlib.training.probes import DistanceProbe, watched_tensors


def initial_network(network: str, card: data.Card, seed: int, initialisation: str = "today") -> nn.Module:
    """A network with its initial weights, without ghosts; sets the seed of torch."""
    torch.manual_seed(seed)
    return build_network(network, card.classes, card.channels, card.image_size, initialisation=initialisation)


@cache
def initial_norms(network: str, dataset: str, seed: int, initialisation: str = "today") -> dict[str, float]:
    """‖w_0‖ of what the distances of a run are of, by their names."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        watched = watched_tensors(initial_network(network, data.card(dataset), seed, initialisation))
        squares = [torch.stack([tensor.double().square().sum() for tensor in tensors]) for tensors in watched]
    return {name: float(each.sum().sqrt()) for name, each in zip(DistanceProbe.quantities, squares, strict=True)}
