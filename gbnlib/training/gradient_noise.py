"""The gradient noise scale of a model and its data: about the batch at which more of it stops paying.

McCandlish, Kaplan, Amodei and others, "An Empirical Model of Large-Batch Training" (arXiv 1812.06162): with the
gradient G of the whole loss and the covariance Σ of single samples' gradients, ``B = tr Σ / |G|²``. A batch far below B
is mostly noise, and twice the batch is nearly worth twice the updates; far above it buys almost nothing.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

#: Groups of the jackknife, and the 97.5 % quantile of Student's t for one degree of freedom fewer.
GROUPS, T_QUANTILE = 10, 2.262


@dataclass(frozen=True)
class NoiseScale:
    """What `noise_scale` found.

    scale : ``B = tr Σ / |G|²``, in samples; infinite where the gradient is lost in the noise of so few batches.
    low, high : its 95 % interval, from a jackknife over groups of batches; infinite where a group's gradient is lost.
    trace : tr Σ, without bias. squared_norm : ``|G|²``, without bias, so that it may come out negative.
    batches, batch_size : what it rests on.
    """

    scale: float
    low: float
    high: float
    trace: float
    squared_norm: float
    batches: int
    batch_size: int


def noise_scale(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    *,
    batches: int = 100,
) -> NoiseScale:
    """Estimate the gradient noise scale at the model's present weights, without changing the model.

    The gradients of many small batches of b samples each have the mean square ``|G|² + tr Σ / b``, that of all m of
    them together ``|G|² + tr Σ / (m b)``: two equations for two unknowns (appendix A.1 of the paper).

    Parameters
    ----------
    model : in the mode whose gradients are asked for. In training mode the layers that normalise over a batch make its
        samples depend on each other: the scale is then that of batches, or ghosts, of this size.
    loader : batches (inputs, targets) of one size, drawn at random and independent; a smaller last one ends it. They
        are moved to the device of the parameters. Small batches serve best: 16 to 64.
    loss : from outputs and targets to the mean over the batch.
    batches : how many to use at most; their gradients are kept as `GROUPS` sums.

    Raises
    ------
    ValueError : fewer than two batches a group; no parameter that requires a gradient.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("no parameter of the model requires a gradient")
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        sums, squares, counts, size = _group_sums(model, loader, loss, batches, parameters)
    finally:
        model.load_state_dict(kept)
    number = int(counts.sum())
    if counts.min() < 2:
        raise ValueError(f"{number} batches are too few: {GROUPS} groups need at least two each")
    trace, norm = _solve(sums.sum(0).square().sum(), squares.sum(), number, size)
    left_out = [
        _solve((sums.sum(0) - each).square().sum(), squares.sum() - square, number - int(count), size)
        for each, square, count in zip(sums, squares, counts, strict=True)
    ]
    return NoiseScale(_ratio(trace, norm), *_interval(trace, norm, left_out), trace, norm, number, size)


def _group_sums(
    model: nn.Module, loader: Iterable, loss: Callable, batches: int, parameters: list[nn.Parameter]
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Of each group: the sum of its batches' gradients (GROUPS, n), the sum of their squares, how many; batch size."""
    device = parameters[0].device
    sums = torch.zeros(GROUPS, sum(parameter.numel() for parameter in parameters), device=device)
    squares, counts = torch.zeros(GROUPS, dtype=torch.float64), torch.zeros(GROUPS, dtype=torch.int64)
    size = 0
    for number, (inputs, targets) in enumerate(islice(loader, batches)):
        size = size or len(targets)
        if len(targets) != size:
            break
        value = loss(model(inputs.to(device)), targets.to(device))
        gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
        flat = torch.cat([gradient.reshape(-1).float() for gradient in gradients])
        sums[number % GROUPS] += flat
        squares[number % GROUPS] += float(flat.double().square().sum())
        counts[number % GROUPS] += 1
    return sums.double(), squares, counts, size


def _solve(square_of_sum: Tensor, sum_of_squares: Tensor, number: int, size: int) -> tuple[float, float]:
    """tr Σ and ``|G|²`` from `number` gradients: the square of their sum, and the sum of their squares."""
    mean_square, square_of_mean = float(sum_of_squares) / number, float(square_of_sum) / number**2
    trace = size * number / (number - 1) * (mean_square - square_of_mean)
    return trace, (number * square_of_mean - mean_square) / (number - 1)


def _ratio(trace: float, norm: float) -> float:
    """B; infinite for a gradient that the noise drowns."""
    return trace / norm if norm > 0 else math.inf


def _interval(trace: float, norm: float, left_out: list[tuple[float, float]]) -> tuple[float, float]:
    """The ends of B's interval: the jackknife's standard error of log B over the groups, with Student's t."""
    logs = [math.log(each) if 0 < each < math.inf else math.nan for each in (_ratio(*pair) for pair in left_out)]
    if norm <= 0 or trace <= 0 or any(map(math.isnan, logs)):
        return 0.0, math.inf
    mean = sum(logs) / GROUPS
    error = math.sqrt((GROUPS - 1) / GROUPS * sum((each - mean) ** 2 for each in logs))
    half = T_QUANTILE * error
    return _ratio(trace, norm) * math.exp(-half), _ratio(trace, norm) * math.exp(half)
