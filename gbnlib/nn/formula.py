"""Ghost batch normalization from elementary operations, for the derivatives that faster code lacks.

The compiled kernel knows first derivatives by reverse mode. PyTorch's own `F.batch_norm` lacks the third ones and, in
forward mode and under ``torch.func``, takes the moments of a batch for constants: some second derivatives are wrong
without a word. These operations have derivatives of every mode and order.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad


def is_needed(*tensors: Tensor | None) -> bool:
    """Tell whether a transform of ``torch.func`` is at work, or one of `tensors` carries a forward-mode derivative."""
    return torch._C._are_functorch_transforms_active() or any(
        tensor is not None and forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors
    )


def ghost_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, sizes: Sequence[int], eps: float) -> Tensor:
    """Normalise each ghost of `input`."""
    normal = torch.cat([_normalised(ghost, eps)[0] for ghost in input.split(sizes)])
    return scaled(normal, weight, bias).to(input.dtype)


def scaled(input: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Scale and shift the channels of `input`."""
    output = input if weight is None else input * _for_channels(weight, input)
    return output if bias is None else output + _for_channels(bias, input)


def gradients(
    input: Tensor, gradient: Tensor, weight: Tensor | None, size: int, ghosts: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of input, weight and bias; `gradient` is that of the output.

    All ghosts have `size` samples but the last, which has what is left.
    """
    sizes = [size] * (ghosts - 1) + [len(input) - size * (ghosts - 1)]
    dims, dtype = _all_but_channels(input), input.dtype if weight is None else weight.dtype
    of_input, of_weight, of_bias = [], [], []
    for ghost, given in zip(input.split(sizes), gradient.split(sizes), strict=True):
        normal, inverse = _normalised(ghost, eps)
        given = given.to(normal.dtype)
        of_weight.append((given * normal).sum(dims))
        of_bias.append(given.sum(dims))
        mean, slope = given.mean(dims, keepdim=True), (given * normal).mean(dims, keepdim=True)
        of_input.append((given - mean - normal * slope) * inverse)
    total = scaled(torch.cat(of_input), weight, None).to(input.dtype)
    return total, *(torch.stack(parts).sum(0).to(dtype) for parts in (of_weight, of_bias))


def _normalised(ghost: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return a ghost without its mean and variance, and what it was multiplied by, in float32 at least."""
    ghost = ghost.to(torch.promote_types(ghost.dtype, torch.float32))
    variance, mean = torch.var_mean(ghost, _all_but_channels(ghost), correction=0, keepdim=True)
    inverse = (variance + eps).rsqrt()
    return (ghost - mean) * inverse, inverse


def _all_but_channels(input: Tensor) -> list[int]:
    return [0, *range(2, input.dim())]


def _for_channels(values: Tensor, input: Tensor) -> Tensor:
    """Give a parameter the shape that multiplies the channels of `input`."""
    return values.view(-1, *[1] * (input.dim() - 2))
