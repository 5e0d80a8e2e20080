"""How many samples each update has: the same number throughout, or more from some epochs on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class BatchSizes:
    """Where updates and epochs meet.

    Parameters
    ----------
    samples : in an epoch.
    stages : (epoch, batch size) from which epoch on batches have which size, the first at epoch 0, in order.
    drop_last : leave out the last batch of an epoch if it is smaller.
    """

    samples: int
    stages: Sequence[tuple[int, int]]
    drop_last: bool = False

    def size_in(self, epoch: int) -> int:
        """Samples of a full batch."""
        return max(stage for stage in self.stages if stage[0] <= epoch)[1]

    def updates_in(self, epoch: int) -> int:
        """Batches of an epoch."""
        full, rest = divmod(self.samples, self.size_in(epoch))
        return full + (rest > 0 and not self.drop_last)

    def updates_until(self, epoch: int) -> int:
        """Updates before an epoch."""
        starts = [start for start, _ in self.stages] + [math.inf]
        spans = pairwise(starts)
        return sum(self.updates_in(start) * (min(end, epoch) - start) for start, end in spans if start < epoch)

    def place(self, update: int) -> tuple[int, int]:
        """The epoch of an update, counted from 0, and its number there."""
        start, per_epoch, more = self._since(update)
        epochs, number = divmod(more, per_epoch)
        return start + epochs, number

    def epochs_at(self, update: int) -> float:
        """Epochs that are over after a number of updates."""
        start, per_epoch, more = self._since(update)
        return start + more / per_epoch

    def _since(self, update: int) -> tuple[int, int, int]:
        """The first epoch of an update's stage, the updates of such an epoch, and those since it began."""
        start = max(start for start, _ in self.stages if self.updates_until(start) <= update)
        return start, self.updates_in(start), update - self.updates_until(start)
