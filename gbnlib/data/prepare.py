"""Making the cache of a streamed data set: shard by shard, so that it can be stopped and goes on."""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils import data

from gbnlib import files
from gbnlib.cores import cores
from gbnlib.data.cache import Cache, Shard
from gbnlib.data.cards import card, catalog
from gbnlib.data.sources import read
from gbnlib.errors import UsageError

#: Images that a worker decodes at a time, and those from which the bytes of all are estimated.
PIECE, SAMPLE = 16, 1000

Say = Callable[[str], None]


def prepare(
    name: str,
    root: Path | None = None,
    *,
    workers: int | None = None,
    say: Say = lambda line: None,
    show: Say = lambda line: None,
) -> None:
    """Make the cache of a streamed data set, or what is missing of it; what is there is compared with its checksums.

    Parameters
    ----------
    name : a data set whose card says `resize`.
    root : the data root; None means `GBN_DATA`, by default `data/`.
    workers : processes that decode; None takes one for each core that this process may use.
    say, show : get what is made, and about every second how far it is, to be shown in place of the last line.

    Raises
    ------
    UsageError : the images are kept decoded, are not there, or one cannot be decoded; or the disk is too small.
    """
    entry, root = card(name), Path(root or files.data_root())
    dataset = read(entry, root)
    if not dataset.streams:
        streamed = ", ".join(each.name for each in catalog().values() if each.resize)
        raise UsageError(f"{entry.label} is small enough to be kept decoded: only {streamed} have a cache.")
    cache = Cache(entry, root, dataset.streams)
    workers = cores() if workers is None else workers
    with files.locked(root, cache.folder.name, lambda: say(f"another process prepares {entry.label}; waiting for it")):
        _finish(cache, workers, say, show)


def _finish(cache: Cache, workers: int, say: Say, show: Say) -> None:
    """Make the shards that are missing."""
    label, folder = cache.entry.label, cache.folder
    if folder.exists() and not cache.fits:
        files.set_aside(folder, f"not of {label} as it is there, at {cache.entry.resize} pixels")
    files.write_json(folder / "cache.json", cache.identity)
    files.sweep(folder)
    missing = list(_missing(cache, show))
    images, size = sum(shard.count for shard in cache.shards), cache.entry.resize
    if not missing:
        say(f"{label}: {images:,} images at {size} pixels are ready in {folder}")
        return
    wanted = sum(shard.count for shard in missing)
    needed, free = wanted * _bytes_of_one(cache), shutil.disk_usage(folder).free
    disk = f"about {needed / 1e9:,.1f} GB in {folder}, where {free / 1e9:,.1f} GB are free"
    if needed > free:
        raise UsageError(f"{label} needs {disk}. Make room, or name a data root on a larger disk with GBN_DATA.")
    say(f"{label}: decodes {wanted:,} of {images:,} images to {size} pixels, {disk}")
    pieces = _decoded(cache, missing, workers, show)
    for shard in missing:
        _write(shard, pieces)
    say(f"{label}: {images:,} images at {size} pixels are ready in {folder}")


def _missing(cache: Cache, show: Say) -> Iterator[Shard]:
    """The shards that are not there as they were written; damaged ones are set aside."""
    for number, shard in enumerate(cache.shards):
        if shard.path.exists():
            show(f"{cache.entry.label}: compares checksums, {number} of {len(cache.shards)} files")
            if not (fault := shard.fault(checksum=True)):
                continue
            files.set_aside(shard.path, fault)
        yield shard


def _bytes_of_one(cache: Cache) -> float:
    """Mean bytes of an image once it is resized, from the sides of some of the training images."""
    images = next(iter(cache.splits.values()))
    some = np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(int)
    return cache.entry.channels * cache.entry.resize**2 * float(np.mean([images.elongation(each) for each in some]))


def _decoded(cache: Cache, shards: list[Shard], workers: int, show: Say) -> Iterator[tuple[Tensor, Tensor]]:
    """Pixels and sizes of the images of some shards, piece by piece."""
    pieces = [(shard.split, *piece) for shard in shards for piece in _cut(shard)]
    decoder = _Decoder(cache)
    loader = data.DataLoader(decoder, batch_size=None, sampler=pieces, num_workers=workers, generator=torch.Generator())
    label, total, done = cache.entry.label, sum(shard.count for shard in shards), 0
    started = shown = time.monotonic()
    for piece in loader:
        if isinstance(piece, UsageError):
            raise UsageError(f"{piece} Mend the file, and the same command goes on.")
        yield piece
        done, now = done + len(piece[1]), time.monotonic()
        if now - shown > 1:
            left = (total - done) * (now - started) / done
            speed = f"{done / (now - started):,.0f} images/s  {left / 60:,.0f} min left"
            show(f"{label}: {done:,}/{total:,} images  {speed}")
            shown = now


def _cut(shard: Shard) -> Iterator[tuple[int, int]]:
    """First number, and the one after the last, of each piece of a shard."""
    end = shard.first + shard.count
    return pairwise([*range(shard.first, end, PIECE), end])


class _Decoder(data.Dataset):
    """What runs in a worker: a piece → its pixels, uint8 (bytes,), and sizes, int32 (N, 2); an error is returned."""

    def __init__(self, cache: Cache) -> None:
        self.splits, self.resize = cache.splits, cache.entry.resize

    def __getitem__(self, piece: tuple[str, int, int]) -> tuple[Tensor, Tensor] | UsageError:
        split, first, end = piece
        try:
            images = [self.splits[split].resized(number, self.resize) for number in range(first, end)]
        except UsageError as error:
            return error
        sizes = torch.tensor([image.shape[:2] for image in images], dtype=torch.int32)
        return torch.from_numpy(np.concatenate([image.ravel() for image in images])), sizes


def _write(shard: Shard, pieces: Iterator[tuple[Tensor, Tensor]]) -> None:
    """Write a shard from its pieces, which come next."""
    digest, sizes = hashlib.sha256(), []
    with files.atomic(shard.path) as temporary, temporary.open("wb") as stream:

        def put(part: bytes | np.ndarray) -> None:
            stream.write(part)
            digest.update(part)

        for _ in _cut(shard):
            pixels, of_piece = next(pieces)
            put(pixels.numpy())
            sizes.append(of_piece.numpy())
        put(np.concatenate(sizes).astype("<i4").tobytes() + shard.source)
        stream.write(digest.digest())
