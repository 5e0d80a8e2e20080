"""Launches of the Triton kernels: how a batch is divided among programs. Importing this imports Triton."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from gbnlib.nn.triton_kernel import add_up, differentiate, moments, move, normalise

TILE = 2048  # values
MOST_CHANNELS = 128  # of a block
MOST_VALUES = 512  # of a channel in a tile, where they lie together
MOST_PARTS = 64  # of a ghost
LEAST_TILES = 4  # of a part
PROGRAMS = 1024  # wanted in a launch, so that a large card is full
GHOSTS = 32  # whose statistics are read at once


@dataclass(frozen=True)
class Division:
    """How a batch is divided among the programs of a launch.

    grid : ghosts, blocks of channels, parts of a ghost.
    sizes : samples of a ghost, of the batch; ghosts, channels, values of a channel in a sample.
    constants : what a kernel is compiled for.
    """

    grid: tuple[int, int, int]
    sizes: tuple[int, int, int, int, int]
    constants: dict[str, int | bool]


def divide(shape: Sequence[int], in_rows: bool, size: int, ghosts: int) -> Division:
    """Divide a batch of shape (N, C, ...) in ghosts of `size` samples, but for the last."""
    samples, channels, values = shape[0], shape[1], math.prod(shape[2:])
    if in_rows:
        block = min(triton.next_power_of_2(channels), MOST_CHANNELS, TILE)
        run = TILE // block
        tiles = triton.cdiv(size * values, run)
    else:
        run = min(triton.next_power_of_2(values), MOST_VALUES, TILE)
        block = min(triton.next_power_of_2(channels), MOST_CHANNELS, TILE // run)
        tiles = size * triton.cdiv(values, run)
    blocks = triton.cdiv(channels, block)
    wanted = min(MOST_PARTS, size, tiles // LEAST_TILES, PROGRAMS // (ghosts * blocks))
    parts = 1 << max(wanted, 1).bit_length() - 1  # the largest power of 2 that is not larger
    constants = {"IN_ROWS": in_rows, "PARTS": parts, "R": run, "B": block}
    return Division((ghosts, blocks, parts), (size, samples, ghosts, channels, values), constants)


def forward(
    input: Tensor, in_rows: bool, weight: Tensor | None, bias: Tensor | None, size: int, ghosts: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`gbnlib.nn.kernel.ghost_norm` of an input in one of the two layouts."""
    division = divide(input.shape, in_rows, size, ghosts)
    means, squares = _of_parts(input, division)
    mean, variance = (input.new_empty((ghosts, input.shape[1]), dtype=torch.float64) for _ in range(2))
    output = torch.empty_like(input)
    with torch.cuda.device_of(input):
        moments[division.grid](input, means, squares, *division.sizes, **division.constants)
        arguments = (input, output, _packed(weight), _packed(bias), means, squares, mean, variance, eps)
        normalise[division.grid](*arguments, *division.sizes, **division.constants)
    return output, mean, variance


def backward(
    input: Tensor,
    in_rows: bool,
    gradient: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    size: int,
    ghosts: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """`gbnlib.nn.kernel.ghost_norm_backward`, with a gradient in the layout of the input."""
    division = divide(input.shape, in_rows, size, ghosts)
    sums, dots = _of_parts(input, division)
    result = torch.empty_like(input)
    of_weight, of_bias = ((input if weight is None else weight).new_empty(input.shape[1]) for _ in range(2))
    with torch.cuda.device_of(input):
        known = (input, gradient, mean, variance, sums, dots, eps)
        add_up[division.grid](*known, *division.sizes, **division.constants)
        arguments = (input, gradient, result, _packed(weight), mean, variance, sums, dots, of_weight, of_bias, eps)
        differentiate[division.grid](*arguments, *division.sizes, **division.constants)
    return result, of_weight, of_bias


def move_statistics(
    running_mean: Tensor,
    running_var: Tensor,
    mean: Tensor,
    variance: Tensor,
    samples: int,
    size: int,
    values: int,
    momentum: float,
    sequential: bool,
) -> None:
    """`gbnlib.nn.kernel.move_statistics`: one launch for both statistics."""
    ghosts, channels = mean.shape
    block = min(triton.next_power_of_2(channels), 32)
    rates = (momentum, (1 - momentum) ** (ghosts if sequential else 1), math.log2(1 - momentum))
    counts = (size, samples, ghosts, channels, values)
    with torch.cuda.device_of(mean):
        moved = move[(triton.cdiv(channels, block),)]
        moved(running_mean, running_var, mean, variance, *rates, *counts, SEQUENTIAL=sequential, G=GHOSTS, B=block)


def _of_parts(input: Tensor, division: Division) -> tuple[Tensor, Tensor]:
    """Two numbers for each part and channel."""
    ghosts, _, parts = division.grid
    return input.new_empty((2, ghosts * parts, input.shape[1]), dtype=torch.float32).unbind()


def _packed(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.detach().contiguous()
