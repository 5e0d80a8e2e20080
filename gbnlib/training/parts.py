"""Layers that treat a part of a batch as they would within the whole: dropout, and normalisation without ghosts."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gbnlib.data.batches import derived_seed
from gbnlib.nn.convert import GHOST_OF


class BatchDropout(nn.Dropout):
    """Dropout that draws for the whole batch, of which any part may go through it."""

    seed, count, first = 0, 0, 0
    kept: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Drop from samples `first`, `first` + 1, … of a batch of `count`."""
        if not self.training:
            return input
        if self.kept is None:
            chance = None if input.is_meta else torch.Generator(input.device).manual_seed(self.seed)
            shape = (self.count, *input.shape[1:])
            self.kept = torch.rand(shape, generator=chance, device=input.device) >= self.p
        return input * self.kept[self.first : self.first + len(input)] / (1 - self.p)


class Draws:
    """What the dropout layers of a model draw: a pure function of (seed, number of the batch, layer, sample).

    So nothing of it needs saving, and neither micro-batches nor processes change it.
    """

    def __init__(self, model: nn.Module, seed: int) -> None:
        self.layers = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
        self.seed = seed
        for layer in self.layers:
            layer.__class__ = BatchDropout

    def begin(self, batch: int, count: int, purpose: str = "training") -> None:
        """Draw anew for a batch of `count` samples."""
        for number, layer in enumerate(self.layers):
            layer.seed = derived_seed(self.seed, batch, f"dropout {number} of {purpose}")
            layer.count, layer.first, layer.kept = count, 0, None

    def go_to(self, first: int) -> None:
        """The next part of the batch begins with sample `first`."""
        for layer in self.layers:
            layer.first = first


class _OverProcesses(torch.autograd.Function):
    """The sum of a tensor over processes; the gradient of each part is the sum of theirs."""

    @staticmethod
    def forward(ctx: object, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return _OverProcesses.apply(gradient)


class SharedBatchNorm(_BatchNorm):
    """Batch normalization, in training, over a batch of which each process has a part."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise a part, of shape (N, C, ...); N may be 0."""
        axes, shape = [0, *range(2, input.dim())], [1, -1, *[1] * (input.dim() - 2)]
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        count = _OverProcesses.apply(values.new_tensor(values.numel() / values.shape[1]))
        mean = _OverProcesses.apply(values.sum(axes)) / count
        centred = values - mean.view(shape)
        variance = _OverProcesses.apply(centred.square().sum(axes)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(input.dtype)


@contextmanager
def normalised_together(model: nn.Module) -> Iterator[None]:
    """Inside, the plain layers of a model normalise over the parts of all processes, which all go forward at once."""
    plain = [(layer, type(layer)) for layer in model.modules() if type(layer) in GHOST_OF]
    try:
        for layer, _ in plain:
            layer.__class__ = SharedBatchNorm
        yield
    finally:
        for layer, kind in plain:
            layer.__class__ = kind
