"""An update: forward and backward, clip, step."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gbnlib.nn import force_num_ghosts
from gbnlib.training.devices import autocast
from gbnlib.training.division import MicroBatch
from gbnlib.training.shared_norm import normalised_together

if TYPE_CHECKING:
    from gbnlib.training.loop import Training


def take_step(training: "Training", parts: Sequence[MicroBatch]) -> Tensor:
    """One update by the micro-batches of a batch, as `Training.cut` gives them.

    Returns (summed loss, wrong answers, samples) over all processes, without waiting for the device.
    """
    _ = training.network  # made before the layers are told what to draw, which differs between processes
    training.draws.begin(training.update, training.batches.size_of(training.update))
    return training.compute(training, parts)


def compute_step(training: "Training", parts: Sequence[MicroBatch]) -> Tensor:
    """Forward, backward, clip and step, with what the layers were told to draw."""
    device, count = training.batches.labels.device, training.batches.size_of(training.update)
    network = training.network
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    training.optimizer.zero_grad(set_to_none=True)
    with _as_one_batch(training, len(parts), count):
        for part in parts:
            training.draws.go_to(part.first)
            forced = force_num_ghosts(training.model, part.ghosts) if part.ghosts else nullcontext()
            more = training.processes.count > 1 and part is not parts[-1]
            with network.no_sync() if more else nullcontext():  # gradients travel with the last part
                with forced, autocast(training.precision, device):
                    logits = network(part.images)
                losses = F.cross_entropy(logits.float(), part.labels, reduction="none")
                ((losses if part.factors is None else losses * part.factors).sum() / count).backward()
            wrong = (logits.detach().argmax(1) != part.labels).sum()
            seen = torch.full_like(wrong, len(part.labels))
            sums += torch.stack([losses.detach().sum().double(), wrong.double(), seen.double()])
        if not parts:  # the others wait for the gradients of this process too
            network(None).sum().backward()
    training.processes.add_up(sums)
    if training.clip_norm:
        _clip(list(training.model.parameters()), training.clip_norm)
    training.optimizer.step()
    return sums


def _as_one_batch(training: "Training", parts: int, count: int) -> AbstractContextManager[None]:
    """Inside, the parts of a batch of `count` samples go forward as if they were one."""
    if training.processes.count > 1 and not training.division.ghost_size:
        return normalised_together(training.model)
    return training.running_statistics.of_one_batch(parts, training.division.ghosts_by_rank(count), training.processes)


def _clip(parameters: list[nn.Parameter], limit: float) -> None:
    """Scale gradients to the global L2 norm `limit` if theirs is longer.

    A shorter one would be multiplied by one. On a CPU that pass over all gradients is saved; elsewhere looking at the
    norm would wait for the device.
    """
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if norm.device.type != "cpu" or not norm + 1e-6 <= limit:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
