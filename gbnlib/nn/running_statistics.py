"""Running statistics: kept still while a forward is repeated, and composed when the shards of a batch made them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gbnlib.errors import check_integer


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

    ``torch.utils.checkpoint.checkpoint`` takes a `context_fn` with ``use_reentrant=False`` only. Leave it out inside
    ``torch.compile``, which counts once anyway and refuses such contexts.

    Examples
    --------
    The first context is that of the forward, which counts; the second that of its repetition, which does not.

    >>> import torch
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
    before = [(layer, name, buffer) for layer in layers for name, buffer in layer.named_buffers(recurse=False)]
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
    """Compose the running statistics of processes with a shard of the batch each into those of one with all of it.

    With ``DistributedDataParallel``, each process moves its own running statistics by its own ghosts. One process,
    with the shards in the order of ranks as its batch, would move them by all ghosts in turn. From the same start s,
    the K_r ghosts of rank r lead by the sequential rule of `ghost_batch_norm` to ``s_r = (1 - η)^K_r s + d_r``. So
    one process would get, over r = 0, 1, … from c = s,

        ``c ← (1 - η)^K_r c + d_r = s_r + (1 - η)^K_r (c - s)``

    exactly, up to rounding, if each shard but the last is a multiple of the ghost size. Do not use it merely to
    train well: the statistics of any one rank estimate the same, from fewer ghosts. It is for results that must not
    depend on the number of processes.

    Parameters
    ----------
    before : Tensor of any shape
        s, a running mean or variance before the forward, the same on all ranks; or several of them concatenated.
    after : sequence of Tensor, each of the shape of `before`
        s_r, the same after one forward, by rank.
    num_ghosts : sequence of int
        K_r, ghosts of that forward by rank: ``len(ghost_sizes(shard_size, ghost_size))``.
    momentum : float, default 0.1
        η of the layers.

    Returns
    -------
    Tensor
        The composed statistic, of the shape of `before`.

    Raises
    ------
    ValueError
        If `after` and `num_ghosts` differ in length, or a number of ghosts is negative.
    TypeError
        If a number of ghosts is not an integer.

    Notes
    -----
    Pass ``broadcast_buffers=False`` to ``DistributedDataParallel``. By default it overwrites the running statistics
    of all ranks with those of rank 0 before each forward, so that the other shards never count.

    With ``running="mean"`` or ``momentum=None`` no such function is needed: what one process would get is the mean of
    s_r, weighted by the sizes of the shards.

    Examples
    --------
    In each of two processes, after each forward on a shard of four ghosts::

        model = DistributedDataParallel(model, broadcast_buffers=False)
        layers = [layer for layer in model.modules() if hasattr(layer, "ghost_size")]
        buffers = [buffer for layer in layers for buffer in (layer.running_mean, layer.running_var)]

        before = torch.cat(buffers)
        output = model(shard)
        after = [torch.empty_like(before) for rank in range(2)]
        torch.distributed.all_gather(after, torch.cat(buffers))
        composed = compose_running_statistics(before, after, num_ghosts=[4, 4])
        for buffer, values in zip(buffers, composed.split([buffer.numel() for buffer in buffers])):
            buffer.copy_(values)
    """
    if len(after) != len(num_ghosts):
        raise ValueError(
            f"after holds {len(after)} statistics and num_ghosts {len(num_ghosts)} numbers: give one of each per rank"
        )
    composed = before
    for statistic, count in zip(after, num_ghosts, strict=True):
        composed = statistic + (1 - momentum) ** check_integer("num_ghosts", count, 0) * (composed - before)
    return composed
