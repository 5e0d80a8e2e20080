"""Running statistics: kept still while a forward is repeated, and composed when the shards of a batch made them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gbnlib.nn.functional import check_integer

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[nn.Module]:
    """Keep the running statistics of `module` as they are, whatever goes through it inside a ``with`` block.

    Its layers still normalise as their mode says, so in training by the statistics of the batch. Activation
    checkpointing repeats a forward to save memory, and without this the repetition counts twice. Do not use it for
    fine-tuning with fixed statistics: there, put the layers into evaluation mode.

    Parameters
    ----------
    module : nn.Module
        A layer or a model. All its batch normalization layers are meant: ghost layers, the plain ones of PyTorch,
        and their subclasses.

    Yields
    ------
    nn.Module
        `module`. Afterwards, and after an exception, its layers hold the same buffer objects with the same values
        as before: what was loaded into the buffers inside the block is gone.

    Notes
    -----
    Each layer works on copies of its buffers inside the block. Merely setting ``track_running_stats=False`` there
    would not do: the repeated forward would save fewer tensors than the first, and checkpointing refuses that.

    With ``use_reentrant=True``, ``torch.utils.checkpoint.checkpoint`` has no `context_fn`, and the statistics cannot
    be kept.

    Examples
    --------
    The first context is that of the forward, which counts; the second that of its repetition, which does not.

    >>> from contextlib import nullcontext
    >>> from torch.utils.checkpoint import checkpoint
    >>> block = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU())
    >>> contexts = lambda: (nullcontext(), frozen_statistics(block))
    >>> output = checkpoint(block, torch.randn(8, 4), use_reentrant=False, context_fn=contexts)
    >>> output.sum().backward()
    >>> block[1].num_batches_tracked
    tensor(1)
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    before = [(layer, name, getattr(layer, name)) for layer in layers for name in _BUFFERS]
    before = [(layer, name, buffer) for layer, name, buffer in before if buffer is not None]
    try:
        for layer, name, buffer in before:
            setattr(layer, name, buffer.clone())
        yield module
    finally:
        for layer, name, buffer in before:
            setattr(layer, name, buffer)


def compose_running_statistics(
    before: Tensor, after: Sequence[Tensor], num_ghosts: Sequence[int], momentum: float = 0.1
) -> Tensor:
    """Return the running statistic that one process would have, from those of processes with a shard of the batch each.

    With ``DistributedDataParallel`` each process moves its own running statistics by its own ghosts. One process,
    with the shards one after the other as its batch, would move them by all ghosts in order. From the same start
    s, the K_r ghosts of rank r lead to ``s_r = (1 - η)^K_r s + d_r``, so the composition over ranks is

        c ← (1 - η)^K_r c + d_r = s_r + (1 - η)^K_r (c - s),    r = 0, 1, …, starting with c = s

    which follows from the sequential rule of `ghost_batch_norm` and is exact up to rounding. Training does not need
    this: any one rank's statistics estimate the same thing from fewer ghosts. It is for results that shall not depend on the
    number of processes.

    Parameters
    ----------
    before : Tensor of any shape
        A running mean or variance before the forward, the same on all ranks; or several of them concatenated.
    after : sequence of Tensor, each of the shape of `before`
        The same after one forward, by rank.
    num_ghosts : sequence of int
        Ghosts that each rank normalised in that forward, K_r: ``len(ghost_sizes(shard, ghost_size))``.
    momentum : float, default 0.1
        η of the layers.

    Returns
    -------
    Tensor
        A new tensor like `before`.

    Raises
    ------
    ValueError
        If `after` and `num_ghosts` differ in length, or a number of ghosts is negative.
    TypeError
        If a number of ghosts is not an integer.
    """
    composed = before
    for statistic, count in zip(after, num_ghosts, strict=True):
        composed = statistic + (1 - momentum) ** check_integer("num_ghosts", count, 0) * (composed - before)
    return composed
