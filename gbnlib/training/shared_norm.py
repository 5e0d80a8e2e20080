"""Batch normalization without ghosts over a batch of which each process has a part."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gbnlib.nn.convert import GHOST_OF


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
    """Batch normalization, in training, over a batch of which each process has a part; for CPUs.

    PyTorch's SyncBatchNorm refuses tensors of a CPU.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise a part, of shape (N, C, ...); N may be 0."""
        axes, shape = [0, *range(2, input.dim())], [1, -1, *[1] * (input.dim() - 2)]
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        count = _OverProcesses.apply(values.new_full((), values.numel() / values.shape[1]))
        if count.item() == 1:
            raise ValueError("Expected more than 1 value per channel when training, got 1 over all processes")
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
            layer.__class__ = nn.SyncBatchNorm if layer.weight.is_cuda else SharedBatchNorm
            layer.process_group = None  # all processes
        yield
    finally:
        for layer, kind in plain:
            layer.__class__ = kind
