"""What dropout keeps, in one launch on a GPU; see `gbnlib.nn.dropout.counted`. Importing this imports Triton."""

import math
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit(do_not_specialize=("total", "each", "threshold"))
def draw(place, kept, total, each, threshold, B: tl.constexpr):
    """A number of SplitMix64 for each of `total` values, `each` of them a sample, against the threshold."""
    at = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    seed, first = tl.load(place).to(tl.uint64), tl.load(place + 1)
    state = seed + (first * each + at + 1).to(tl.uint64) * 0x9E3779B97F4A7C15
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB
    state = (state ^ (state >> 31)) >> 11
    tl.store(kept + at, state.to(tl.int64) >= threshold, at < total)


def keep(place: Tensor, shape: Sequence[int], threshold: int) -> Tensor:
    """Draw what is kept of samples of a shape (N, ...)."""
    kept = torch.empty(shape, dtype=torch.bool, device=place.device)
    total, each = math.prod(shape), math.prod(shape[1:])
    with torch.cuda.device_of(place):
        draw[(triton.cdiv(total, BLOCK),)](place, kept, total, each, threshold, B=BLOCK)
    return kept
