"""The weights along a short training that leaves nothing else behind, for measurements that look at them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gbnlib import data
from gbnlib.experiments.initial import initial_network
from gbnlib.nn.networks.resnet import ResNet
from gbnlib.regimes import Regime
from gbnlib.training import SnapshotProbe, Training, train


def build(network: str, card: data.Card, seed: int) -> nn.Module:
    """A network with its initial weights, those of a run with this seed."""
    if network != "resnet8":
        return initial_network(network, card, seed)
    torch.manual_seed(seed)
    return ResNet(card.classes, card.channels, card.image_size, depth=8)


def snapshots(
    network: str,
    source: data.Dataset,
    batch_size: int,
    regime: Regime,
    clip_norm: float,
    seed: int,
    device: torch.device,
    *,
    augment: bool = True,
    every: int = 0,
) -> dict[int, Tensor]:
    """The flat vector of parameters (n,) at log-spaced updates of a training, or `every` so many, by their numbers."""
    model = build(network, source.card, seed).to(device, memory_format=torch.channels_last)
    batches = source.batches(batch_size, seed, device, augment=augment)
    probe = SnapshotProbe(model, regime.total_updates(batches.updates_per_epoch))
    if every:
        probe.updates = frozenset(range(every, regime.total_updates(batches.updates_per_epoch) + 1, every))
    training = Training(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=regime.phases[0].lr, fused=True),
        regime=regime,
        batches=batches,
        validation=(source.validation_images.to(device), source.validation_labels.to(device)),
        probe=probe,
        evaluate_every=regime.epochs,
        clip_norm=clip_norm,
    )
    train(training)
    return probe.kept


@contextmanager
def in_threads(count: int) -> Iterator[None]:
    """Compute with a number of threads, which decides how sums are rounded."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
