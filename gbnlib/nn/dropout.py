"""Dropout that drops the same from a part of a batch as from the whole."""

import torch
from torch import Tensor, nn


class BatchDropout(nn.Dropout):
    """Dropout whose mask depends on a seed and on the place of each sample in its batch.

    After `begin` a forward in training is of the samples `first`, `first` + 1, … of a batch of `count`, and the masks
    of all its parts are those of the whole. Before, the layer drops as `nn.Dropout` does.
    """

    count, first, seed = 0, 0, 0
    kept: Tensor | None = None

    def begin(self, seed: int, count: int) -> None:
        """Draw anew for a batch of `count` samples, at the first forward of one of its parts."""
        self.seed, self.count, self.first, self.kept = seed, count, 0, None

    def forward(self, input: Tensor) -> Tensor:
        """Drop from an input of shape (N, ...)."""
        if not (self.training and self.count):
            return super().forward(input)
        if self.kept is None:
            chance = None if input.is_meta else torch.Generator(input.device).manual_seed(self.seed)
            shape = (self.count, *input.shape[1:])
            self.kept = torch.rand(shape, generator=chance, device=input.device) >= self.p
        return input * self.kept[self.first : self.first + len(input)] / (1 - self.p)
