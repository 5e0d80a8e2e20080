"""Images decoded and resized once, in files that are mapped into memory: a crop of them is read, not decoded.

A cache is the folder `<name>.cache` in the data root; `prepare` makes it. Its `cache.json` says which images it is of.
Each shard holds `SHARD` of them, the last one of a split what is left: their pixels, uint8 (H, W, C) one after the
other; their sizes, little-endian int32 (N, 2); and two SHA-256, of the files they are from and of all before it.
"""

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gbnlib import files
from gbnlib.data.cards import Card
from gbnlib.data.encoded import EncodedImages
from gbnlib.data.reading import told
from gbnlib.errors import UsageError

if TYPE_CHECKING:
    from gbnlib.data.stream import StreamedImages

#: Images in a shard. Each stays mapped, and a process may have no more than some 1,000 files open.
SHARD = 4096
DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Shard:
    """A file of a cache: `count` images of a split from number `first` on, which are from the files in `source`."""

    path: Path
    split: str
    first: int
    count: int
    channels: int
    source: bytes

    def contents(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels, uint8 (bytes,), mapped, and sizes, int64 (N, 2); a `UsageError` if it is not such a shard."""
        with told(f"{self.path} is damaged"):
            raw = np.asarray(np.memmap(self.path, mode="r"))
            end = len(raw) - 2 * DIGEST
            start = end - 8 * self.count
            sizes = raw[max(start, 0) : max(end, 0)].view("<i4").reshape(-1, 2).astype(np.int64)
            if len(sizes) != self.count or sizes.prod(1).sum() * self.channels != start:
                raise ValueError("its size differs from that of its images")
        if raw[end : end + DIGEST].tobytes() != self.source:
            raise UsageError(f"{self.path} is of other files than those there")
        return raw[:start], sizes

    def fault(self, checksum: bool = False) -> str:
        """What is wrong with the file, also by its checksum if asked; empty if nothing is."""
        try:
            self.contents()
        except UsageError as error:
            return str(error)
        raw = np.memmap(self.path, mode="r")
        differs = checksum and hashlib.sha256(raw[:-DIGEST]).digest() != raw[-DIGEST:].tobytes()
        return f"{self.path} is damaged (SHA-256 differs)" if differs else ""


def folder_of_cache(entry: Card, root: Path) -> Path:
    """Where the cache of a data set lies."""
    return root / f"{entry.name}.cache"


class CachedImages:
    """The images of a split by their number, as the shards of a cache have them, in order."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.channels = shards[0].channels
        self.shards = []
        for shard in shards:
            pixels, sizes = shard.contents()
            ends = sizes.prod(1).cumsum() * self.channels
            self.shards.append((pixels, sizes, ends))

    def __getitem__(self, number: int) -> np.ndarray:
        """One image, uint8 (H, W, C), mapped."""
        shard, place = divmod(number, SHARD)
        pixels, sizes, ends = self.shards[shard]
        height, width = sizes[place]
        end = ends[place]
        return pixels[end - height * width * self.channels : end].reshape(height, width, self.channels)


class Cache:
    """The cache that a data set has, or can have.

    Parameters
    ----------
    entry, root : the card and the data root.
    streams : its streamed images by split.
    """

    def __init__(self, entry: Card, root: Path, streams: "Mapping[str, StreamedImages]") -> None:
        self.entry, self.folder = entry, folder_of_cache(entry, root)
        encoded = {split: stream.images for split, stream in streams.items()}
        self.splits = {split: EncodedImages(of.origins, of.place, of.channels) for split, of in encoded.items()}
        self.shards: list[Shard] = []
        names = hashlib.sha256()
        for split, images in self.splits.items():
            with told(f"{entry.label} cannot be listed"):
                listed = [_name_and_bytes(origin, root) for origin in images.origins]
            names.update(_text(name for name, _ in listed))
            for first in range(0, len(listed), SHARD):
                part = listed[first : first + SHARD]
                source = hashlib.sha256(_text(f"{name} {size}" for name, size in part)).digest()
                path = self.folder / f"{split}-{first // SHARD:05}.bin"
                self.shards.append(Shard(path, split, first, len(part), entry.channels, source))
        self.identity = {
            "resize": entry.resize,
            "channels": entry.channels,
            "images_in_a_shard": SHARD,
            "names_sha256": names.hexdigest(),
            # Those of an image folder change when one image is mended: then its shard alone is made anew.
            "files": {} if entry.kind == "folder" else entry.files,
        }

    @property
    def fits(self) -> bool:
        """Whether the folder is a cache of these images at this size, finished or not."""
        try:
            return files.read_json(self.folder / "cache.json") == self.identity
        except (UsageError, OSError):
            return False

    def read(self) -> dict[str, CachedImages]:
        """The images by split; none if the cache cannot be used, which is said on stderr."""
        fault = "it is of other images" if not self.fits else next(filter(None, map(Shard.fault, self.shards)), "")
        if fault:
            remedy = f"`gbn data prepare {self.entry.name}` finishes it"
            print(f"{self.entry.label} is decoded: its cache cannot be used ({fault}); {remedy}", file=sys.stderr)
            return {}
        return {split: CachedImages([shard for shard in self.shards if shard.split == split]) for split in self.splits}


def _name_and_bytes(origin: object, root: Path) -> tuple[str, int]:
    """Name and size of an image file; nothing of one within a parquet file, whose sum the card has."""
    return (str(origin)[len(str(root)) :], origin.stat().st_size) if isinstance(origin, Path) else ("", 0)


def _text(lines: Iterable[str]) -> bytes:
    """Lines as bytes, whatever the names of files hold."""
    return "\n".join(lines).encode("utf-8", "surrogateescape")
