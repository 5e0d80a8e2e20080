"""An update as one replay of a CUDA graph: the host asks once in place of launching hundreds of kernels."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gbnlib.errors import UsageError
from gbnlib.training.division import MicroBatch

if TYPE_CHECKING:
    from gbnlib.training.loop import Training

    Compute = Callable[[Training, Sequence[MicroBatch]], Tensor]

#: Updates of a kind that are computed before it is captured: they make what lasts (the buffers of the optimizer) and
#: let libraries choose, compile and load. PyTorch wants them, too.
COMPUTED = 2


@dataclass
class _Captured:
    """A graph, the batch that it reads and the sums that it writes, which stay where they are in memory."""

    graph: torch.cuda.CUDAGraph
    parts: list[MicroBatch]
    sums: Tensor

    def replay(self, parts: Sequence[MicroBatch]) -> Tensor:
        """Make the update with the batch at hand."""
        for own, given in zip(self.parts, parts, strict=True):
            own.images.copy_(given.images)
            own.labels.copy_(given.labels)
            if own.factors is not None:
                own.factors.copy_(given.factors)
        self.graph.replay()
        return self.sums


class Replays:
    """Makes the updates of a training as `compute` does, from the third of a kind on by replaying what it launched.

    A kind is a way to cut a batch under the same settings: the last batch of an epoch, if it is smaller, has a graph of
    its own, and a new phase has new ones. Rates and momenta are captured as the numbers they are, so that a replay
    computes the same bits; while a warm-up changes the rate at every update, none is replayed.

    What an update draws (dropout) is asked for in tensors that `Draws` fills beforehand.
    """

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute
        self._begin(())

    def __call__(self, training: "Training", parts: Sequence[MicroBatch]) -> Tensor:
        """What `compute` returns; it holds until the next update."""
        groups = training.optimizer.param_groups
        settings = tuple((group["lr"], group["momentum"], group["weight_decay"]) for group in groups)
        if settings != self.settings:
            self._begin(settings)
        kind = tuple((len(part.images), part.ghosts, part.first) for part in parts)
        self.seen[kind] += 1
        if self.seen[kind] <= COMPUTED:
            return self.compute(training, parts)
        if kind not in self.captured:
            self.captured[kind] = self._capture(training, parts)
        return self.captured[kind].replay(parts)

    def _begin(self, settings: Hashable) -> None:
        """Forget the graphs of other settings, and their memory."""
        self.settings, self.seen, self.pool = settings, Counter(), None
        self.captured: dict[Hashable, _Captured] = {}

    def _capture(self, training: "Training", parts: Sequence[MicroBatch]) -> _Captured:
        """The graph of an update; capturing computes nothing.

        Graphs are replayed one at a time, so all share memory. Other threads, as one that pins memory, go on meanwhile.
        """
        own = [replace(part, **{name: each.clone() for name, each in _tensors(part).items()}) for part in parts]
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                sums = self.compute(training, own)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            said = f"an update cannot be captured ({str(error).splitlines()[0][:120]})"
            raise UsageError(f"{said}: the same command without --graph goes on from the checkpoint") from error
        self.pool = graph.pool()
        return _Captured(graph, own, sums)


def _tensors(part: MicroBatch) -> dict[str, Tensor]:
    """The tensors of a micro-batch by name."""
    named = {name: getattr(part, name) for name in ("images", "labels", "factors")}
    return {name: each for name, each in named.items() if each is not None}
