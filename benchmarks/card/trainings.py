"""Trainings of the paper's networks on random images, and what all steps are told."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from gbnlib import data, paper
from gbnlib.experiments.initial import initial_network
from gbnlib.nn import convert_ghost_batchnorm
from gbnlib.regimes import Phase, Regime
from gbnlib.training import BatchDivision, DistanceProbe, Training
from gbnlib.training.step import take_step

PRECISIONS = ("fp32", "tf32", "bf16")
SETTINGS = Phase(epoch=0, lr=0.05, momentum=0.9, weight_decay=1e-4)


@dataclass(frozen=True)
class Setting:
    """What a call is about: device ("cuda" or "cpu"), tiny sizes or the paper's, networks, and the folder it writes."""

    device: str
    tiny: bool
    networks: tuple[str, ...]
    folder: Path

    def batches(self, network: str) -> tuple[int, int, int]:
        """Small batch, large batch and ghost size of a network."""
        row = paper.protocol(network)
        return (8, 16, 4) if self.tiny else (row.small_batch, row.large_batch, row.ghost_size)

    def wait(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def _card(network: str) -> data.Card:
    return data.card(paper.protocol(network).dataset)


@lru_cache(maxsize=1)
def random_images(network: str, number: int) -> tuple[Tensor, Tensor]:
    """uint8 images of the size of the paper's data, and labels; the same on each machine."""
    card, chance = _card(network), torch.Generator().manual_seed(0)
    shape = (number, card.channels, card.image_size, card.image_size)
    images = torch.randint(0, 256, shape, generator=chance, dtype=torch.uint8)
    return images, torch.randint(card.classes, (number,), generator=chance)


def training(
    network: str,
    batch_size: int,
    ghost_size: int = 0,
    precision: str = "fp32",
    device: str = "cuda",
    graph: bool = False,
) -> Training:
    """A training at its start, as a run makes it, on two batches of random images that lie on the device."""
    card = _card(network)
    model = initial_network(network, card, seed=0)
    model = convert_ghost_batchnorm(model, ghost_size) if ghost_size else model
    model = model.to(device, memory_format=torch.channels_last).train()
    # Two batches; on the meta device, which computes nothing, they are those of one image.
    few = 1 if device == "meta" else 2 * batch_size
    images, labels = (each.to(device) for each in random_images(network, few))
    images, labels = (each.expand(2 * batch_size, *each.shape[1:]) for each in (images, labels))
    options = {"mean": card.mean, "std": card.std, "pad": card.pad, "fill": card.fill, "flip": card.flip}
    return Training(
        model,
        torch.optim.SGD(model.parameters(), lr=SETTINGS.lr, momentum=0.9, weight_decay=1e-4, fused=True),
        Regime((SETTINGS,), epochs=1),
        data.Batches(images, labels, batch_size, 0, **options),
        (images, labels),
        DistanceProbe(model, 1, 1),
        clip_norm=5.0,
        precision=precision,
        division=BatchDivision(batch_size, ghost_size),
        graph=graph,
    )


def updates(of: Training) -> Iterator[Tensor]:
    """Make an update at each step, epoch after epoch from where the training is; yields its sums."""
    while True:
        epoch, start = divmod(of.update, of.batches.updates_per_epoch)
        for batch in of.batches.epoch(epoch, start):
            sums = take_step(of, of.cut(*batch))
            of.update += 1
            yield sums


def make(of: Training, number: int) -> Training:
    """The training after some more updates."""
    for _ in islice(updates(of), number):
        pass
    return of


def state(of: Training) -> Tensor:
    """All parameters and running statistics as one vector in float64 on the CPU; counts and seeds are left out."""
    tensors = (tensor for tensor in of.model.state_dict().values() if tensor.is_floating_point())
    return torch.cat([tensor.detach().cpu().double().flatten() for tensor in tensors])
