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
    with torch.random.fork_rng(devices=[]):
        model = initial_network(network, data.card(dataset), seed, initialisation)
    return dict(zip(DistanceProbe.quantities, map(_norm, watched_tensors(model)), strict=True))


@torch.no_grad()
def _norm(tensors: list[torch.Tensor]) -> float:
    """Euclidean norm of some tensors together, accumulated in float64."""
    return float(torch.stack([tensor.double().square().sum() for tensor in tensors]).sum().sqrt())
