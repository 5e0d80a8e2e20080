"""Data sets too large to hold decoded: workers decode, or read from a cache, while the network trains.

Order, crops and mirroring are pure functions of (seed, epoch), as in `batches`, so the workers know what comes next,
and an epoch can be entered at any update without decoding what came before it.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy

import numpy as np
import torch
from torch import Tensor
from torch.utils import data

from gbnlib.data.batches import Order, generator, normalise, sent
from gbnlib.data.cache import CachedImages
from gbnlib.data.encoded import EncodedImages
from gbnlib.errors import UsageError

#: Images that a worker prepares at a time; batches are gathered from such pieces, so that all workers share each batch.
PIECE = 64


class StreamedImages:
    """Images that are decoded, or read from a cache, when asked for; with the operations of a tensor that are needed.

    Parameters
    ----------
    images : the encoded images.
    resize, size : pixels of the shorter side before a crop, and of the crop.
    cache : the same images resized already, by their number in the files; None decodes them.
    workers : processes that decode, or threads that read; 0 decodes in this one, None takes as many as PyTorch has
        threads.
    device : where the images go.
    """

    def __init__(
        self,
        images: EncodedImages,
        resize: int,
        size: int,
        *,
        cache: CachedImages | None = None,
        workers: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.images, self.resize, self.size, self.cache = images, resize, size, cache
        self.workers, self.device = workers, torch.device(device)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: Tensor) -> "StreamedImages":
        """Some of the images, by their numbers or a mask."""
        some = copy(self)
        some.images = self.images[chosen]
        return some

    def to(self, device: torch.device | str) -> "StreamedImages":
        """The same images, going to a device."""
        there = copy(self)
        there.device = torch.device(device)
        return there

    def split(self, size: int) -> Iterator[Tensor]:
        """Central crops of all images, uint8 (`size`, C, H, W) at a time, as ``Tensor.split`` gives them."""
        return self.crops(torch.arange(len(self), dtype=torch.float64)[:, None].split(size))

    def crops(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """Each part as uint8 (N, C, H, W) on the device, in order, while workers prepare what comes next.

        A part is (N, 1), the numbers of the images, for central crops; or (N, 4), each number with the place of its
        crop (top and left, as a share of where it can lie) and whether it is mirrored.
        """
        received = self._pieces([piece for part in parts if len(part) for piece in part.split(PIECE)])
        shape = (0, self.size, self.size, self.images.channels)
        nothing = torch.empty(shape, dtype=torch.uint8, device=self.device)  # what a process without a share gets
        for part in parts:
            moved = [nothing]
            for _ in range(0, len(part), PIECE):
                if isinstance(piece := next(received), UsageError):
                    raise piece
                moved.append(piece.to(self.device, non_blocking=True))
            images = torch.cat(moved)
            if part.shape[1] == 4:
                mirrored = sent(part[:, 3] > 0, self.device)[:, None, None, None]
                images = torch.where(mirrored, images.flip(2), images)
            yield images.permute(0, 3, 1, 2)

    def _pieces(self, pieces: list[Tensor]) -> Iterator[Tensor | UsageError]:
        """The crops of each piece, from worker processes that decode or from threads that read."""
        workers = torch.get_num_threads() if self.workers is None else self.workers
        pinned = self.device.type == "cuda"
        if self.cache is not None:
            return _read_ahead(_Crops(self, pinned), pieces, max(1, workers))
        loader = data.DataLoader(
            _Crops(self),
            batch_size=None,
            sampler=pieces,
            num_workers=workers,
            # Else a process of a pool would start a new Python for each worker at each epoch, which takes seconds.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            pin_memory=pinned,
            generator=torch.Generator(),  # else it would draw from the global random state, which training may use
        )
        return iter(loader)


def _read_ahead(crops: "_Crops", pieces: list[Tensor], threads: int) -> Iterator[Tensor]:
    """The crops of each piece in order; each thread is up to four pieces ahead."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Tensor]] = deque()
        for piece in pieces:
            waiting.append(pool.submit(crops.__getitem__, piece))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Crops(data.Dataset):
    """What runs in a worker: a piece of a part → uint8 (N, `size`, `size`, C), not mirrored yet.

    An error is returned, not raised: a loader would make it the text of a traceback.
    """

    def __init__(self, images: StreamedImages, pinned: bool = False) -> None:
        self.images, self.cache = images.images, images.cache
        self.resize, self.size, self.pinned = images.resize, images.size, pinned

    def __getitem__(self, piece: Tensor) -> Tensor | UsageError:
        shape = (len(piece), self.size, self.size, self.images.channels)
        crops = torch.empty(shape, dtype=torch.uint8, pin_memory=self.pinned)
        place = crops.numpy()
        try:
            for row, (number, *draws) in enumerate(piece.tolist()):
                place[row] = self._one(int(number), *draws[:2])
        except UsageError as error:
            return error
        return crops

    def _one(self, number: int, *corner: float) -> np.ndarray:
        """The central crop of an image, (`size`, `size`, C), or the one whose corner is drawn."""
        if self.cache is None:
            pixels = self.images.resized(number, self.resize)
        else:
            pixels = self.cache[int(self.images.rows[number])]
        room = [side - self.size for side in pixels.shape[:2]]
        drawn = zip(corner or (None, None), room, strict=True)
        top, left = (round(free / 2) if share is None else int(share * (free + 1)) for share, free in drawn)
        return pixels[top : top + self.size, left : left + self.size]


class StreamBatches(Order):
    """Shuffled, augmented batches of a streamed training set; the interface of `Batches`.

    Parameters
    ----------
    images, labels : the images, and int64 (N,) on the device where the training happens.
    batch_size, seed, drop_last, growth : as for `Batches`.
    mean, std : per channel, of images in [0, 1].
    crop : take random crops, else central ones.
    flip : with `crop`, mirror each image left to right with probability one half.
    """

    def __init__(
        self,
        images: StreamedImages,
        labels: Tensor,
        batch_size: int,
        seed: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        crop: bool = True,
        flip: bool = False,
        drop_last: bool = False,
        growth: Sequence[tuple[int, int]] = (),
    ) -> None:
        super().__init__(labels, batch_size, seed, drop_last, growth)
        self.images, self.mean, self.std, self.crop, self.flip = images, mean, std, crop, flip

    def epoch(
        self, epoch: int, start: int = 0, share: Callable[[int], slice] = slice
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch from number `start` on, or a share of each, as (normalised images, labels)."""
        order = self.order(epoch)
        draws = self._draws(order, epoch)
        parts = self.parts(epoch, start, share)
        for part, images in zip(parts, self.images.crops([draws[part] for part in parts]), strict=True):
            yield normalise(images, self.mean, self.std), self.labels[sent(order[part], self.labels.device)]

    def _draws(self, order: Tensor, epoch: int) -> Tensor:
        """The numbers of an epoch's images in order, with the draws of their augmentation."""
        numbers = order.double()[:, None]
        if not self.crop:
            return numbers
        chance = generator(self.seed, epoch, "augmentation")
        corners = torch.rand(len(order), 2, generator=chance, dtype=torch.float64)
        mirrored = (torch.rand(len(order), 1, generator=chance) < 0.5) & self.flip
        return torch.cat([numbers, corners, mirrored], dim=1)
