"""Ghost batch normalization as a function: how a batch is cut into ghosts, and what each of them does to it.

A *ghost* is a run of consecutive samples that are normalised together, with their own mean and variance
(Hoffer, Hubara & Soudry 2017, Algorithm 1).
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from gbnlib.errors import check_choice, check_integer
from gbnlib.nn import formula, kernel

Remainder = Literal["own", "error"]
Running = Literal["sequential", "mean"]


def ghost_sizes(
    batch_size: int,
    ghost_size: int,
    *,
    remainder: Remainder = "own",
    values_per_sample: int = 1,
    num_ghosts: int = 0,
) -> list[int]:
    """Cut a batch into ghosts of consecutive samples.

    Parameters
    ----------
    batch_size : int
        Samples in the batch, N. A batch without samples has no ghosts.
    ghost_size : int
        Samples of a ghost, at least 1.
    remainder : {"own", "error"}, default "own"
        What happens to the last ``N mod ghost_size`` samples. ``"own"``: they are a smaller last ghost; if it would
        hold a single value per channel, which cannot be normalised, it joins the ghost before it. ``"error"``: a
        batch that is not a multiple of `ghost_size` is refused.
    values_per_sample : int, default 1
        Values a sample holds per channel: 1 for ``(N, C)``, L for ``(N, C, L)``, H·W for ``(N, C, H, W)``.
    num_ghosts : int, default 0
        If positive, cut as the official code does, with ``torch.chunk(batch, num_ghosts)``: ghosts of
        ``ceil(N / num_ghosts)`` samples, whatever `ghost_size` and `remainder` say (848 into 16: sixteen of 53). As
        with ``torch.chunk`` there can be fewer ghosts than asked for. A last ghost with a single value per channel
        joins the one before it, as with ``"own"``.

    Returns
    -------
    list of int
        The sizes in order; they add to `batch_size`.

    Raises
    ------
    ValueError
        For ``remainder="error"`` and a batch that is not a multiple of `ghost_size`; for values out of range.
    TypeError
        For sizes that are not integers.

    Examples
    --------
    >>> ghost_sizes(100, 32)
    [32, 32, 32, 4]
    >>> ghost_sizes(97, 32)
    [32, 32, 33]
    >>> ghost_sizes(848, 128, num_ghosts=16) == [53] * 16
    True
    """
    batch_size = check_integer("batch_size", batch_size, 0)
    ghost_size = check_integer("ghost_size", ghost_size, 1)
    check_choice("remainder", remainder, get_args(Remainder))
    if check_integer("num_ghosts", num_ghosts, 0):
        ghost_size, remainder = max(1, -(-batch_size // num_ghosts)), "own"
    full, tail = divmod(batch_size, ghost_size)
    if tail and remainder == "error":
        raise ValueError(
            f"a batch of {batch_size} samples is not a multiple of ghost_size {ghost_size} ({tail} left over): change "
            "one of the two, drop the last partial batch, or use remainder='own'"
        )
    sizes = [ghost_size] * full + [tail] * (tail > 0)
    if full and tail * values_per_sample == 1:
        sizes[-2:] = [ghost_size + tail]
    return sizes


def ghost_batch_norm(
    input: Tensor,
    ghost_size: int,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
    *,
    remainder: Remainder = "own",
    running: Running = "sequential",
    num_ghosts: int = 0,
) -> Tensor:
    """Normalise each ghost of a batch with its own statistics.

    In training, for the ghost B of a channel, ``y = weight · (x - mean(B)) / sqrt(var(B) + eps) + bias`` with the
    biased variance (Hoffer et al. 2017, Algorithm 1). In evaluation this is plain batch normalization with the
    running statistics, at any batch size. Do not use it to make a batch statistically larger: it only ever
    normalises over fewer samples than plain batch normalization does.

    Parameters
    ----------
    input : Tensor of shape (N, C, ...)
        The batch. A batch without values passes through and changes no statistics, as in ``nn.BatchNorm*``; so does
        one without channels, which ``nn.BatchNorm*`` refuses if it has parameters.
    ghost_size : int
        Samples of a ghost; see `ghost_sizes` for the cut. A batch of at most `ghost_size` samples is one ghost.
    running_mean, running_var : Tensor of shape (C,), optional
        Running statistics, updated in place in training, both or neither; required in evaluation.
    weight, bias : Tensor of shape (C,), optional
        Scale and shift, shared by all ghosts.
    training : bool, default True
        Normalise with the statistics of the ghosts, and update the running ones.
    momentum : float or 0-d Tensor, default 0.1
        η, the share of the new value in a running statistic. A tensor needs ``running="mean"``.
    eps : float, default 1e-5
        Added to the variance, inside the root.
    remainder : {"own", "error"}, default "own"
        What happens to ``N mod ghost_size`` samples in training; see `ghost_sizes`.
    running : {"sequential", "mean"}, default "sequential"
        How K ghosts with means μ_1 … μ_K (and unbiased variances, likewise) change the running ones.
        ``"sequential"``: ghost after ghost, ``μ ← (1 - η) μ + η μ_l``, which is what the official code does and adds
        to ``(1 - η)^K μ + Σ_l η (1 - η)^(K - l) μ_l``. ``"mean"``: one such step with the mean over ghosts, weighted
        by their sizes.
    num_ghosts : int, default 0
        If positive, the number of ghosts, in place of their size; see `ghost_sizes`.

    Returns
    -------
    Tensor of shape (N, C, ...)
        In the dtype and the memory layout that ``nn.BatchNorm*`` would give.

    Raises
    ------
    ValueError
        For a cut that is refused, for a ghost with one value per channel, for an unknown option. Whatever is raised,
        the running statistics are as they were.

    Notes
    -----
    Which code serves which input, in training:

    - inside a transform of ``torch.func``, or input or parameters with a forward-mode derivative: elementary
      operations, which are slower and have derivatives of every mode and order.
    - else more than one ghost of float32, float64 or bfloat16 on the processor: one call of a compiled kernel, if the
      installation has it (it is built where there is a C++ compiler; ``gbnlib.nn.kernel.NAME`` tells).
    - likewise of float32, bfloat16 or float16 on a GPU of compute capability 8.0 or more, with Triton 3.5 or newer:
      two launches forward, two backward, and one for the running statistics.
    - one ghost, other dtypes, other devices, or no kernel: PyTorch's own kernel, ghost after ghost, which refuses
      third derivatives.

    The kernels want contiguous or channels-last memory, and copy other input. Their gradients come from the elementary
    operations where they are to be differentiated in turn (``create_graph=True``). All compile. ``GBN_KERNEL=off`` in
    the environment leaves the kernels unused. A transform of ``torch.func`` changes
    only those running statistics that are among the arguments of the function it transforms; PyTorch refuses others.
    """
    check_choice("running", running, get_args(Running))
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var belong together: give both or neither")
    no_channels = input.shape[1:2] == (0,)
    if not training and not no_channels:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, 0.0, eps)
    if not eps > 0:
        raise ValueError(f"eps must be positive, got {eps}")
    for name, values in {"running_mean": running_mean, "weight": weight, "bias": bias}.items():
        if values is not None and values.shape != input.shape[1:2]:
            raise ValueError(f"{name} must have one value per channel, {input.shape[1]}, got shape {(*values.shape,)}")
    if no_channels:  # where F.batch_norm would look for the first scale
        return formula.scaled(input.clone(), weight, bias)
    if input.numel() == 0:
        return F.batch_norm(input, running_mean, running_var, weight, bias, True, 0.0, eps)
    sizes = _normalizable_sizes(input, ghost_size, remainder, num_ghosts)
    buffers = () if running_mean is None else (running_mean, running_var)
    elementary = formula.is_needed(input, weight, bias)
    served = not elementary and kernel.serves(input, weight, bias, *buffers)
    if len(sizes) == 1 and not isinstance(momentum, Tensor) and not elementary:
        updated = [buffer.clone() for buffer in buffers]
        output = F.batch_norm(input, *(updated or (None, None)), weight, bias, True, momentum, eps)
    elif served and kernel.moves(momentum, *buffers):
        output, *statistics = kernel.ghost_norm(input, weight, bias, sizes[0], len(sizes), eps)
        samples, values = len(input), math.prod(input.shape[2:])
        kernel.move_statistics(*buffers, *statistics, samples, sizes[0], values, momentum, running == "sequential")
        return output
    else:
        normalise = _by_formula if elementary else _by_kernel if served else _by_loop
        output, statistics = normalise(input, sizes, weight, bias, eps, buffers)
        updated = [
            _updated(buffer, values, sizes, momentum, running)
            for buffer, values in zip(buffers, statistics, strict=True)
        ]
    # Only now, when nothing can raise any more, do the caller's buffers change.
    for buffer, value in zip(buffers, updated, strict=True):
        buffer.copy_(value)
    return output


def _normalizable_sizes(input: Tensor, ghost_size: int, remainder: Remainder, num_ghosts: int) -> list[int]:
    """Cut `input` into ghosts and refuse those that hold a single value per channel."""
    values = math.prod(input.shape[2:])
    sizes = ghost_sizes(
        input.shape[0], ghost_size, remainder=remainder, values_per_sample=values, num_ghosts=num_ghosts
    )
    if min(sizes) * values == 1:
        raise ValueError(
            f"a ghost needs more than 1 value per channel in training, but input of shape {tuple(input.shape)} was cut "
            f"into ghosts of {min(sizes)}: use a larger ghost_size or a larger batch"
        )
    return sizes


def _by_kernel(
    input: Tensor,
    sizes: list[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    buffers: Sequence[Tensor],
) -> tuple[Tensor, Sequence[Tensor]]:
    """Normalise all ghosts at once; return the output, and means and unbiased variances (ghosts, channels)."""
    output, mean, variance = kernel.ghost_norm(input, weight, bias, sizes[0], len(sizes), eps)
    counts = _filled(sizes, variance.dtype, variance.device).unsqueeze(1) * math.prod(input.shape[2:])
    return output, (mean, variance * (counts / (counts - 1)))[: len(buffers)]


def _by_loop(
    input: Tensor,
    sizes: list[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    buffers: Sequence[Tensor],
) -> tuple[Tensor, Sequence[Tensor]]:
    """Normalise ghost after ghost; return what `_by_kernel` does, in the dtype of the buffers."""
    # A step of 1 leaves the ghost's own mean and unbiased variance in its buffers. Each is a tensor of its own: under
    # vmap, PyTorch forgets what it writes to a row of a tensor.
    of_ghosts = [[torch.zeros_like(buffer) for buffer in buffers] for _ in sizes]
    outputs = [
        F.batch_norm(ghost, *(own or (None, None)), weight, bias, True, 1.0, eps)
        for ghost, own in zip(input.split(sizes), of_ghosts, strict=True)
    ]
    statistics = [torch.stack(values) for values in zip(*of_ghosts, strict=True)]
    return torch.cat(outputs) if len(outputs) > 1 else outputs[0], statistics


def _by_formula(
    input: Tensor,
    sizes: list[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    buffers: Sequence[Tensor],
) -> tuple[Tensor, Sequence[Tensor]]:
    """Return what `_by_loop` does, statistics and refusals included, with an output of all derivatives."""
    with torch.no_grad():
        _, statistics = _by_loop(input, sizes, weight, bias, eps, buffers)
    return formula.ghost_norm(input, weight, bias, sizes, eps), statistics


def _updated(buffer: Tensor, values: Tensor, sizes: list[int], momentum: float | Tensor, running: Running) -> Tensor:
    """Return a running statistic after the ghosts, whose own `values` are (ghosts, channels)."""
    count, dtype, device = len(sizes), torch.promote_types(values.dtype, torch.float32), values.device
    if running == "sequential":
        kept = (1 - momentum) ** count
        shares = momentum * (1 - momentum) ** torch.arange(count - 1, -1, -1, dtype=dtype, device=device)
    else:
        kept = 1 - momentum
        shares = momentum * (_filled(sizes, dtype, device) / sum(sizes))
    return kept * buffer.to(dtype) + shares.to(dtype) @ values.to(dtype)


def _filled(sizes: list[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The sizes of ghosts, alike but for the last, as a tensor; without a copy, which would wait for a GPU."""
    counts = torch.full((len(sizes),), sizes[0], dtype=dtype, device=device)
    counts[-1] = sizes[-1]
    return counts
