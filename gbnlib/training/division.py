"""How a batch is divided among the processes of a run, and by each into micro-batches; ghosts stay whole."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from gbnlib.errors import UsageError
from gbnlib.nn import ghost_sizes


@dataclass(frozen=True)
class MicroBatch:
    """A part of a batch that goes through the network at once.

    images, labels : its samples, of which the first is number `first` of the batch.
    factors : what the loss of each is multiplied by, or None.
    ghosts : number of ghosts that it is forced into; 0: as the layers themselves cut it.
    """

    images: Tensor
    labels: Tensor
    factors: Tensor | None
    ghosts: int
    first: int


@dataclass(frozen=True)
class BatchDivision:
    """Which part of every batch a process takes, and in which micro-batches.

    Parameters
    ----------
    batch_size : samples in a full batch, over all processes.
    ghost_size : samples normalised together; 0: all of a batch, whatever process has them.
    tail_ghosts : number of ghosts that a last partial batch is cut into (0: ghosts keep their size).
    micro_batch : the most samples that go through the network at once, though never less than a ghost; 0: the whole
        share.
    rank, processes : which of how many processes this is.

    Raises
    ------
    UsageError
        If a batch without ghosts is to go in micro-batches, or there are more processes than ghosts or samples.
    """

    batch_size: int
    ghost_size: int = 0
    tail_ghosts: int = 0
    micro_batch: int = 0
    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        if not self.ghost_size and self.micro_batch:
            raise UsageError(
                "micro_batch cannot be set without ghosts: the whole batch is normalised together (ghost_size 0)."
            )
        if (ghosts := len(self.ghosts(self.batch_size))) < self.processes:
            parts = f"ghosts of {self.ghost_size}" if self.ghost_size else "samples"
            raise UsageError(
                f"{self.processes} processes: a batch of {self.batch_size} has {ghosts} {parts}, so at most {ghosts} "
                "processes can share it."
            )

    def ghosts(self, count: int) -> list[int]:
        """The ghosts of a batch of `count` samples, or single samples where several processes share it without ghosts.

        A tail of one sample joins the ghost before it, since some layers could not normalise it alone; layers that
        can will cut it off again.
        """
        if not self.ghost_size:
            return [count] if self.processes == 1 else [1] * count
        return ghost_sizes(count, self.ghost_size, num_ghosts=self._forced(count))

    def mine(self, count: int) -> slice:
        """The samples of this process: whole ghosts, as evenly as they go."""
        ghosts = self.ghosts(count)
        first, last = (sum(ghosts[: self._first_ghost(len(ghosts), rank)]) for rank in (self.rank, self.rank + 1))
        return slice(first, last)

    def ghosts_by_rank(self, count: int) -> list[int]:
        """How many ghosts each process has."""
        total = len(self.ghosts(count))
        ends = [self._first_ghost(total, rank) for rank in range(self.processes + 1)]
        return [end - start for start, end in pairwise(ends)]

    def micro_batches(self, count: int) -> list[tuple[int, int]]:
        """Sizes of this process's micro-batches of a batch of `count`, each with its forced number of ghosts or 0.

        Without ghosts it is one, even if empty: the process takes part in the normalisation of the others' samples.
        """
        if not self.ghost_size:
            mine = self.mine(count)
            return [(mine.stop - mine.start, 0)]
        ghosts = self.ghosts(count)
        start, stop = (self._first_ghost(len(ghosts), rank) for rank in (self.rank, self.rank + 1))
        groups: list[list[int]] = []
        for ghost in ghosts[start:stop]:
            if groups and self._has_room(groups[-1], ghost, bool(self._forced(count))):
                groups[-1].append(ghost)
            else:
                groups.append([ghost])
        return [(sum(group), len(group) if self._forced(count) else 0) for group in groups]

    def cut(self, count: int, images: Tensor, labels: Tensor, factors: Tensor | None = None) -> list[MicroBatch]:
        """The micro-batches of this process's samples, which are all of the arguments, of a batch of `count`."""
        parts, before, start = [], self.mine(count).start, 0
        for size, ghosts in self.micro_batches(count):
            part = slice(start, start + size)
            weights = None if factors is None else factors[part]
            parts.append(MicroBatch(images[part], labels[part], weights, ghosts, before + start))
            start += size
        return parts

    def _has_room(self, group: list[int], ghost: int, forced: bool) -> bool:
        """Whether a ghost goes into a group; where numbers of ghosts are forced, all of a group have one size."""
        return (not self.micro_batch or sum(group) + ghost <= self.micro_batch) and not (forced and ghost != group[0])

    def _forced(self, count: int) -> int:
        return self.tail_ghosts if count < self.batch_size else 0

    def _first_ghost(self, ghosts: int, rank: int) -> int:
        """Number of the first ghost of a process; the first ones have one more where they do not go evenly."""
        each, rest = divmod(ghosts, self.processes)
        return rank * each + min(rank, rest)
