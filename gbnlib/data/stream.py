"""Data sets too large to hold decoded: worker processes decode while the network trains.

Order, crops and mirroring are pure functions of (seed, epoch), as in `batches`, so the workers know what comes next,
and an epoch can be entered at any update without decoding what came before it.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.utils import data
from torchvision.transforms import functional

from gbnlib.data.batches import Order, generator, normalise, sent
from gbnlib.data.encoded import EncodedImages
from gbnlib.errors import UsageError

#: Images that a worker decodes at a time; batches are gathered from such pieces, so that all workers share each batch.
PIECE = 64


class StreamedImages:
    """Images that are decoded when asked for, with those operations of a tensor that training and evaluation use.

    Parameters
    ----------
    images : the encoded images.
    resize, size : pixels of the shorter side before a crop, and of the crop.
    workers : processes that decode; 0 decodes in this one, None takes as many as PyTorch has threads.
    device : where decoded images go.
    """

    def __init__(
        self,
        images: EncodedImages,
        resize: int,
        size: int,
        *,
        workers: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.images, self.resize, self.size = images, resize, size
        self.workers, self.device = workers, torch.device(device)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: Tensor) -> "StreamedImages":
        """Some of the images, by their numbers or a mask."""
        return StreamedImages(self.images[chosen], self.resize, self.size, workers=self.workers, device=self.device)

    def to(self, device: torch.device | str) -> "StreamedImages":
        """The same images, decoded to a device."""
        return StreamedImages(self.images, self.resize, self.size, workers=self.workers, device=device)

    def split(self, size: int) -> Iterator[Tensor]:
        """Central crops of all images, uint8 (`size`, C, H, W) at a time, as ``Tensor.split`` gives them."""
        return self.decoded(torch.arange(len(self), dtype=torch.float64)[:, None].split(size))

    def decoded(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """Each part as uint8 (N, C, H, W) on the device, in order, while workers decode ahead.

        A part is (N, 1), the numbers of the images, for central crops; or (N, 4), each number with the place of its
        crop (top and left, as a share of where it can lie) and whether it is mirrored.
        """
        workers = torch.get_num_threads() if self.workers is None else self.workers
        pieces = [piece for part in parts if len(part) for piece in part.split(PIECE)]
        loader = data.DataLoader(
            _Decoder(self.images, self.resize, self.size),
            batch_size=None,
            sampler=pieces,
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # else it would draw from the global random state, which training may use
        )
        received = iter(loader)
        shape = (0, self.images.channels, self.size, self.size)
        nothing = torch.empty(shape, dtype=torch.uint8, device=self.device)  # what a process without a share gets
        for part in parts:
            moved = [nothing]
            for _ in range(0, len(part), PIECE):
                if isinstance(piece := next(received), UsageError):
                    raise piece
                moved.append(piece.to(self.device, non_blocking=True))
            yield torch.cat(moved)


class _Decoder(data.Dataset):
    """What runs in a worker: a piece of a part → uint8 (N, C, `size`, `size`).

    An error is returned, not raised: a loader would make it the text of a traceback.
    """

    def __init__(self, images: EncodedImages, resize: int, size: int) -> None:
        self.images, self.resize, self.size = images, resize, size

    def __getitem__(self, piece: Tensor) -> Tensor | UsageError:
        try:
            return torch.stack([self._one(int(number), *draws) for number, *draws in piece.tolist()])
        except UsageError as error:
            return error

    def _one(self, number: int, *draws: float) -> Tensor:
        """One image: its shorter side resized, then the central crop, or the one of the draws, perhaps mirrored."""
        image = self.images.decode(number)
        if self.resize * max(image.size) * self.resize > min(image.size) * Image.MAX_IMAGE_PIXELS:
            width, height = image.size
            raise UsageError(f"{self.images.where(number)} is too narrow to be resized: {width} × {height} pixels.")
        image = functional.resize(image, [self.resize])
        if not draws:
            return functional.pil_to_tensor(functional.center_crop(image, [self.size]))
        *corner, mirrored = draws
        _, *sides = functional.get_dimensions(image)
        top, left = (int(share * (side - self.size + 1)) for share, side in zip(corner, sides, strict=True))
        image = functional.crop(image, top, left, self.size, self.size)
        return functional.pil_to_tensor(functional.hflip(image) if mirrored else image)


class StreamBatches(Order):
    """Shuffled, augmented batches of a streamed training set; the interface of `Batches`.

    Parameters
    ----------
    images, labels : the images, and int64 (N,) on the device where the training happens.
    batch_size, seed, drop_last : as for `Batches`.
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
    ) -> None:
        super().__init__(labels, batch_size, seed, drop_last)
        self.images, self.mean, self.std, self.crop, self.flip = images, mean, std, crop, flip

    def epoch(
        self, epoch: int, start: int = 0, share: Callable[[int], slice] = slice
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch from number `start` on, or a share of each, as (normalised images, labels)."""
        order = self.order(epoch)
        draws = self._draws(order, epoch)
        parts = self.parts(start, share)
        for part, images in zip(parts, self.images.decoded([draws[part] for part in parts]), strict=True):
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
