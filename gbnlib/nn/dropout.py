"""Dropout that drops the same from a part of a batch as from the whole, and on a GPU the same on each card."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from gbnlib.nn import kernel


class BatchDropout(nn.Dropout):
    """Dropout whose mask depends on a seed and on the place of each sample in its batch.

    After `begin` a forward in training is of the samples `first`, `first` + 1, … of a batch of `count`, and the masks
    of all its parts are those of the whole. Before, the layer drops as `nn.Dropout` does.

    What a forward reads anew each time lies in a tensor, so that a compiled network is not compiled again.
    """

    count = 0

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__(p, inplace)
        self.register_buffer("place", torch.zeros(2, dtype=torch.int64), persistent=False)  # seed, first sample

    def begin(self, seed: int, count: int) -> None:
        """Draw anew for a batch of `count` samples, from its first on."""
        self.count = count
        self.place[0].fill_(seed)
        self.go_to(0)

    def go_to(self, first: int) -> None:
        """The next forward begins with sample `first`."""
        self.place[1].fill_(first)

    def forward(self, input: Tensor) -> Tensor:
        """Drop from an input of shape (N, ...)."""
        if not (self.training and self.count):
            return super().forward(input)
        return input * keep(self.place, self.count, input.shape, self.p) / (1 - self.p)


@torch.library.custom_op("gbnlib::keep", mutates_args=())
def keep(place: Tensor, count: int, shape: Sequence[int], p: float) -> Tensor:
    """Draw what dropout keeps of some samples of a batch of `count`: bool of a shape (N, ...), true by chance 1 - p.

    `place` holds a seed and the first of the samples.
    """
    if place.device.type == "cuda" and kernel.has_triton(place.device.index):
        from gbnlib.nn import triton_dropout

        return triton_dropout.keep(place, shape, threshold(p))
    if place.device.type != "cpu":
        return counted(place, shape, p)
    seed, first = place.tolist()
    return _drawn(seed, (count, *shape[1:]), p)[first : first + shape[0]].clone()


@keep.register_fake
def _(place: Tensor, count: int, shape: Sequence[int], p: float) -> Tensor:
    return place.new_empty(shape, dtype=torch.bool)


# Kept for the other parts of a batch; a network has few such layers.
@lru_cache(maxsize=8)
def _drawn(seed: int, shape: tuple[int, ...], p: float) -> Tensor:
    """On the CPU: what is kept of a whole batch."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) >= p


def threshold(p: float) -> int:
    """The least of the numbers 0 … 2^53 - 1 that means to keep."""
    return math.ceil(p * 2**53)


def counted(place: Tensor, shape: Sequence[int], p: float) -> Tensor:
    """On other devices: a hash of seed and place alone, so that it does not matter how a device divides the work.

    Number i of a batch is that of SplitMix64 (Steele, Lea & Flood 2014) started at the seed, without its last 11 bits.
    """
    seed, first = place
    each = math.prod(shape[1:])
    state = torch.arange(1, shape[0] * each + 1, device=place.device).add_(first * each)
    state.mul_(0x9E3779B97F4A7C15 - 2**64).add_(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64)):
        state.bitwise_xor_(_shifted(state, shift)).mul_(factor)
    return (_shifted(state.bitwise_xor_(_shifted(state, 31)), 11) >= threshold(p)).view(shape)


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Shift int64 to the right, filling with zeros."""
    return (values >> bits).bitwise_and_(2 ** (64 - bits) - 1)
