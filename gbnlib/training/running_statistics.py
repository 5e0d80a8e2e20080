"""Running statistics: those of a batch that went forward in parts, and those recomputed for one evaluation."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from gbnlib.nn import compose_running_statistics
from gbnlib.training.processes import Processes


class RunningStatistics:
    """The running statistics of a model.

    Micro-batches in turn lead to those of the whole batch by the sequential rule itself; only the count of forwards
    has to be corrected. Processes side by side start from the same statistics, and theirs are composed in the order of
    ranks.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
        self.counts = [layer.num_batches_tracked for layer in layers]
        self.buffers = [buffer for layer in layers for buffer in (layer.running_mean, layer.running_var)]
        self.momentum = layers[0].momentum if layers else None

    @contextmanager
    def of_one_batch(self, parts: int, ghosts_by_rank: Sequence[int], processes: Processes) -> Iterator[None]:
        """Inside, the parts of one batch go forward; afterwards the statistics are as if it had been one."""
        shared = processes.count > 1 and self.buffers
        before = self._flat() if shared else None
        yield
        if parts != 1:
            for count in self.counts:
                count.sub_(parts - 1)
        if shared:
            after = processes.gather(self._flat())
            self._set(compose_running_statistics(before, after, ghosts_by_rank, self.momentum))

    def _flat(self) -> Tensor:
        """All statistics in one tensor."""
        return torch.cat([buffer.double().reshape(-1) for buffer in self.buffers])

    def _set(self, flat: Tensor) -> None:
        """Put them back."""
        for buffer, values in zip(self.buffers, flat.split([each.numel() for each in self.buffers]), strict=True):
            buffer.copy_(values.view_as(buffer))


@contextmanager
def recomputed_statistics(model: nn.Module, batches: Iterable[Tensor]) -> Iterator[None]:
    """Inside, the running statistics are means over `batches` under the weights at hand; then the former are back."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    momenta = [(layer, layer.momentum) for layer in model.modules() if isinstance(layer, _BatchNorm)]
    try:
        update_bn(batches, model)
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)
        for layer, momentum in momenta:  # which `update_bn` has changed if it raised
            layer.momentum = momentum
