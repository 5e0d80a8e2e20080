"""The one store of what is finished on disk: runs and measurements, each in a folder that is named by its id.

`done.json` makes it finished and ties its files to it: it holds the id, the checksums of the files beside it, and one
of itself, so that a single bit that changes in any of them is noticed. Who asks changes nothing on disk; only who holds
the lock of an id makes, sets aside or removes what is there.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

from gbnlib import files
from gbnlib.errors import complaint


class Done(BaseModel, extra="forbid", strict=True):
    """What every `done.json` holds; those of earlier versions have no checksum of themselves."""

    id: str
    files: dict[str, str]
    sha256: str = ""


@dataclass(frozen=True)
class Found:
    """Something finished on disk, where it comes from, and the content of its `done.json`."""

    folder: Path
    origin: str
    done: dict


Key, Result = TypeVar("Key"), TypeVar("Result", bound=Found)


@dataclass(frozen=True)
class Store(Generic[Key, Result]):
    """What is finished of one kind, made here or among the reference results.

    Parameters
    ----------
    kind : "run" or "measurement"; its plural names the folders.
    names : the files of a finished one beside `done.json`; one of them is `config.json`.
    content : what its `done.json` holds.
    result : what `find` returns, made of folder, origin, content of `done.json`, and what was wanted.
    identify : from the content of a `config.json` to what is wanted.
    id_of : from what is wanted to its id.
    """

    kind: str
    names: tuple[str, ...]
    content: type[Done]
    result: Callable[[Path, str, dict, Key], Result]
    identify: Callable[[dict], Key]
    id_of: Callable[[Key], str]

    def root(self) -> Path:
        """Folder of the runs, or the measurements, made here."""
        return files.results_root() / f"{self.kind}s"

    def folder(self, wanted: Key) -> Path:
        """Folder of a run or measurement made here."""
        return files.inside(self.root(), self.id_of(wanted))

    def is_done(self, wanted: Key) -> bool:
        """Whether a run or measurement is finished; of files checked before, only changed ones are opened again."""
        return self.find(wanted, again=False) is not None

    def find(self, wanted: Key, again: bool = True) -> Result | None:
        """The finished run of a config, or measurement with an id, checked against its checksums; or None.

        A damaged one is said, counts as missing, and is left as it is: who asks changes nothing. Unless `again`, files
        that this process checked are opened only if they have changed since by what the file system says, which a bit
        that a disk loses does not tell.
        """
        for origin, where in self._places(wanted):
            content, wrong = self.read(where, wanted, again)
            if content is not None:
                return self.result(where, origin, content, wanted)
            if wrong is not None:
                say_damaged(where, f"damaged {self.kind} ({wrong})", origin)
        return None

    def _places(self, wanted: Key) -> Iterator[tuple[str, Path]]:
        """Where it may be, and the origin that it then has; by an older engine it has another id."""
        yield "local", self.folder(wanted)
        root, name = files.reference_root() / f"{self.kind}s", self.id_of(wanted)
        yield "reference", files.inside(root, name)
        family = name.rpartition("-")[0]
        for other in _names_in(root, _stamp(root)):
            if other.startswith(f"{family}-") and other != name and self.is_of(root / other, wanted):
                yield "older engine", root / other

    def read(self, where: Path, wanted: Key, again: bool = True) -> tuple[dict | None, str | None]:
        """The `done.json` in a folder, and what is wrong with it or its files; both None where there is none.

        A file that is there and cannot be opened now, for lack of rights or of file handles, is no damage but an
        `OSError`.
        """
        if (own := _stamp(f"{where}/done.json")) is None:
            return None, None
        stamps = (own, *(_stamp(f"{where}/{name}") for name in self.names))
        content, wrong = (_checked.__wrapped__ if again else _checked)(self, where, stamps)
        if wrong is None and not self.is_of(where, wanted):
            return None, f"config.json is of another {self.kind}"
        return content, wrong

    def is_of(self, where: Path, wanted: Key) -> bool:
        """Whether the `config.json` in a folder is of what is wanted, also if it lacks fields that came later."""
        path = where / "config.json"
        return _identified(self.identify, path, _stamp(path)) == wanted

    def damage(self, wanted: Key) -> str | None:
        """What is wrong with a run or measurement made here that is said to be finished, or None."""
        return self.read(self.folder(wanted), wanted)[1]

    def clear(self, wanted: Key) -> None:
        """Set aside what is damaged of one made here; only for who holds its lock."""
        where = self.folder(wanted)
        if os.path.lexists(where) and not where.is_dir():
            files.set_aside(where, "not a folder")
        if (wrong := self.damage(wanted)) is not None:
            begun = (where / "checkpoint.pt").is_file()  # then there is more to save than what is damaged
            files.set_aside(where / "done.json" if begun else where, f"damaged {self.kind} ({wrong})")

    def finish(self, where: Path, content: dict) -> None:
        """Write `done.json` with some content, the checksums of the files beside it, and its own."""
        sums = {name: files.sha256(where / name) for name in self.names}
        files.write_json(where / "done.json", _sealed({**content, "files": sums}))

    def promote(self, wanted: Key) -> Path | None:
        """Copy what was made here to the reference results, without checkpoints; None if not finished, or there."""
        found = self.find(wanted)
        if found is None or found.origin != "local":
            return None
        target = files.make_folder(files.reference_root() / f"{self.kind}s") / found.folder.name
        with files.locked(files.results_root() / "runs", "reference"):  # one for both kinds
            if target.exists():
                return None
            with files.atomic_folder(target) as partial:
                for name in (*self.names, "done.json"):
                    shutil.copyfile(found.folder / name, partial / name)
        return target


@cache
def say_damaged(path: Path, what: str, origin: str = "local") -> None:
    """Say on stderr that a file or folder is damaged and what becomes of it, once in a process."""
    remedy = "counts as missing" if origin == "local" else "counts as missing until it is restored with git"
    print(f"{path}: {what}; {remedy}", file=sys.stderr)


def _stamp(path: str | Path) -> tuple[int, ...] | None:
    """What changes with a file or folder, without opening it; None where there is none."""
    try:
        found = os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise
    return found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


# What follows is kept as long as the stamps are the same.
@cache
def _names_in(folder: Path, stamp: tuple | None) -> list[str]:
    """The names of what a folder holds, if it is there."""
    return sorted(os.listdir(folder)) if stamp else []


@cache
def _identified(identify: Callable[[dict], Key], path: Path, stamp: tuple | None) -> Key | None:
    """What a `config.json` is of, or None where it is of nothing."""
    try:
        return identify(files.read_json(path)) if path.is_file() else None
    except (ValueError, KeyError, TypeError):
        return None


@cache
def _checked(store: Store, where: Path, stamps: tuple) -> tuple[dict | None, str | None]:
    """The `done.json` in a folder, and what is wrong with it or its files."""
    if strange := [name for name in ("done.json", *store.names) if not (where / name).is_file()]:
        return None, f"{', '.join(strange)} is missing, or not a file"
    try:
        content = _validated(store, where)
    except (ValueError, RecursionError) as error:
        return None, f"done.json: {complaint(error)[:100]}"
    broken = [name for name in store.names if files.sha256(where / name) != content["files"][name]]
    return (None, f"{', '.join(broken)} changed since it was finished") if broken else (content, None)


def _validated(store: Store, where: Path) -> dict:
    """The `done.json` in a folder, after all that it holds was checked."""
    text = (where / "done.json").read_bytes().decode()
    content = json.loads(text)
    found = store.content.model_validate(content)
    if found.id != where.name:
        raise ValueError(f"it is of {found.id}")
    if set(found.files) != set(store.names):
        raise ValueError(f"its checksums are of {', '.join(found.files)}")
    if "sha256" in content and text != files.json_text(_sealed(content)):
        raise ValueError("it changed since it was finished")
    return content


def _sealed(content: dict) -> dict:
    """Some content with its checksum."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return {**rest, "sha256": hashlib.sha256(files.json_text(rest).encode()).hexdigest()}
