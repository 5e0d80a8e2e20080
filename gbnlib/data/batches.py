"""Batches cut from tensors that stay on the device; nothing about them needs saving to resume a run."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from gbnlib.data.batch_sizes import BatchSizes
from gbnlib.errors import UsageError


def derived_seed(seed: int, number: int, purpose: str) -> int:
    """A seed that depends on (seed, number of the epoch or update, purpose) alone: nothing drawn needs saving."""
    digest = hashlib.sha256(f"{seed}/{number}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """A CPU generator with a derived seed, so that any epoch can be made at any time."""
    return torch.Generator().manual_seed(derived_seed(seed, epoch, purpose))


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to a device without waiting for it: from memory that is pinned, where it is a GPU."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)


# Kept, for a copy to a GPU at every batch would wait for it.
@lru_cache
def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], width: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """What multiplies and what is added to rows of `width` pixels, each (width · channels,)."""
    scale, shift = [1 / (255 * s) for s in std], [-m / s for m, s in zip(mean, std, strict=True)]
    return torch.tensor(scale, device=device).repeat(width), torch.tensor(shift, device=device).repeat(width)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 images (N, C, H, W) as float32, (x / 255 − mean) / std per channel: ToTensor and Normalize in one.

    The result is channels-last, and so should the images be: other layouts are copied.
    """
    rows = images.permute(0, 2, 3, 1).contiguous().flatten(2)  # (N, H, W · C)
    scale, shift = _scale_and_shift(tuple(mean), tuple(std), images.shape[3], images.device)
    values = rows.to(torch.float32).mul_(scale).add_(shift)
    return values.unflatten(2, (images.shape[3], images.shape[1])).permute(0, 3, 1, 2)


class Order:
    """The order of a training set: a permutation an epoch, cut into batches.

    Parameters
    ----------
    labels : int64 (N,) on the device where the training happens.
    batch_size : samples in a batch; the last one of an epoch holds what is left, unless `drop_last`.
    seed : with the epoch number, decides the order; resuming needs nothing else.
    growth : (epoch, batch size) from which epochs on batches have another size, in order.
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        seed: int,
        drop_last: bool = False,
        growth: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.sizes = BatchSizes(len(labels), ((0, batch_size), *growth), drop_last)
        for _, size in self.sizes.stages:
            if not 1 <= size <= len(labels):
                raise UsageError(f"batch_size is {size}; it must lie between 1 and the {len(labels)} training images.")
        self.labels, self.batch_size, self.seed = labels, batch_size, seed

    @property
    def updates_per_epoch(self) -> int:
        """Number of batches in an epoch, the first one where batches grow."""
        return self.sizes.updates_in(0)

    def order(self, epoch: int) -> Tensor:
        """The numbers of the samples in the order of an epoch, int64 (N,) on the CPU."""
        return torch.randperm(len(self.labels), generator=generator(self.seed, epoch, "order"))

    def size_of(self, update: int) -> int:
        """Samples of the batch of an update."""
        return self._batch(*self.sizes.place(update))[1]

    def first_of(self, update: int) -> int:
        """The place of the first sample of an update's batch in the order of its epoch."""
        return self._batch(*self.sizes.place(update))[0]

    def _batch(self, epoch: int, number: int) -> tuple[int, int]:
        """The first sample of a batch in the order of its epoch, and how many there are."""
        size = self.sizes.size_in(epoch)
        return number * size, min(size, len(self.labels) - number * size)

    def parts(self, epoch: int, start: int, share: Callable[[int], slice] = slice) -> list[slice]:
        """The parts of the order of an epoch that are its batches, from number `start` on.

        `share` says which samples of a batch of some size are wanted; by default all of them.
        """
        batches = [self._batch(epoch, number) for number in range(start, self.sizes.updates_in(epoch))]
        wanted = [(first, share(count)) for first, count in batches]
        return [slice(first + (part.start or 0), first + part.stop) for first, part in wanted]


class Batches(Order):
    """Shuffled, augmented batches of a training set that lies on the device.

    Parameters
    ----------
    images, labels : uint8 (N, C, H, W) and int64 (N,) on the device where the training happens.
    batch_size, seed, drop_last, growth : as for `Order`; the seed also decides crops and flips.
    mean, std : per channel, of images in [0, 1].
    pad : pixels added on each side before a random crop to the old size; 0 means no crop.
    fill : value of the added pixels, from 0 to 255.
    flip : mirror each image left to right with probability one half.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        batch_size: int,
        seed: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        pad: int = 0,
        fill: int = 0,
        flip: bool = False,
        drop_last: bool = False,
        growth: Sequence[tuple[int, int]] = (),
    ) -> None:
        super().__init__(labels, batch_size, seed, drop_last, growth)
        height, width = images.shape[-2:]
        padded = F.pad(images, (pad,) * 4, value=fill).permute(0, 2, 3, 1).contiguous()
        padded = torch.cat([padded, padded.flip(2)]) if flip else padded
        # All crops of all images, mirrored ones behind the others, as one view (N, 2 pad + 1, 2 pad + 1, H, W, C).
        self.windows = padded.unfold(1, height, 1).unfold(2, width, 1).permute(0, 1, 2, 4, 5, 3)
        self.mean, self.std, self.pad, self.flip = mean, std, pad, flip

    def epoch(
        self, epoch: int, start: int = 0, share: Callable[[int], slice] = slice
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch from number `start` on, or a share of each, as (normalised images, labels)."""
        device, count = self.labels.device, len(self.labels)
        order = sent(self.order(epoch), device)
        chance = generator(self.seed, epoch, "augmentation")
        corners = sent(torch.randint(0, 2 * self.pad + 1, (count, 2), generator=chance), device)
        if self.flip:
            flips = sent(torch.rand(count, generator=chance) < 0.5, device)
            corners[:, 1] = torch.where(flips, 2 * self.pad - corners[:, 1], corners[:, 1])
        for part in self.parts(epoch, start, share):
            chosen = order[part]
            images = self.windows[chosen + count * flips[part] if self.flip else chosen, *corners[part].unbind(1)]
            yield normalise(images.permute(0, 3, 1, 2), self.mean, self.std), self.labels[chosen]
