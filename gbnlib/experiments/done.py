"""`done.json`, which makes a run or a measurement finished, and ties its files to it: by name, and by checksums.

It holds the name of its folder, the checksums of the files beside it, and one of itself, so that a single bit that
changes in any of them is noticed.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, TypeAdapter, ValidationError

from gbnlib import files


class _Done(BaseModel):
    """What every `done.json` holds; those of earlier versions have no checksum of themselves."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    files: dict[str, str]
    sha256: str = ""


class _Summary(BaseModel):
    """The numbers of a run."""

    model_config = ConfigDict(extra="forbid", strict=True)

    seconds: FiniteFloat
    updates: NonNegativeInt = 0
    final_validation_error: FiniteFloat | None = None
    best_validation_error: FiniteFloat | None = None


class _Run(_Done):
    engine: NonNegativeInt
    status: Literal["finished", "diverged"]
    summary: _Summary
    weights_sha256: str


class _Measurement(_Done):
    seconds: FiniteFloat


_ANY: TypeAdapter = TypeAdapter(_Run | _Measurement)


def write(folder: Path, content: dict, names: Iterable[str]) -> None:
    """Write `done.json` with some content, the checksums of the named files beside it, and its own."""
    sums = {name: files.sha256(folder / name) for name in names}
    files.write_json(folder / "done.json", _sealed({**content, "files": sums}))


def read(path: Path, names: Iterable[str], *, again: bool = True) -> tuple[dict | None, str | None]:
    """The content of a `done.json` whose named files are whole, and what is wrong with it or them.

    Both are None where there is none. A file that is there and cannot be opened now, for lack of rights or of file
    handles, is no damage but an `OSError`. Unless `again`, files that this process checked are opened only if they have
    changed since by what the file system says, which a bit that a disk loses does not tell.
    """
    own, folder, names = stamp(path), os.path.dirname(path), tuple(names)
    if own is None:
        return None, None
    stamps = (own, *(stamp(f"{folder}/{name}") for name in names))
    text, damage = (_checked.__wrapped__ if again else _checked)(path, names, stamps)
    return (None if damage else json.loads(text)), damage


def stamp(path: str | Path) -> tuple[int, ...] | None:
    """What changes with a file, without opening it."""
    try:
        found = os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise
    return found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@cache
def _checked(path: Path, names: tuple[str, ...], stamps: tuple) -> tuple[str, str | None]:
    """The text of a `done.json` and what is wrong with it, as long as `stamps` are the same."""
    strange = [name for name in (path.name, *names) if not (path.parent / name).is_file()]
    if strange:
        return "", f"{', '.join(strange)} is missing, or not a file"
    try:
        text = path.read_bytes().decode()
        sums = _validated(path, text, names)
    except (ValueError, RecursionError) as error:
        return "", f"done.json: {_reason(error)}"
    broken = [name for name in names if files.sha256(path.parent / name) != sums[name]]
    return text, f"{', '.join(broken)} changed since it was finished" if broken else None


def _validated(path: Path, text: str, names: tuple[str, ...]) -> dict[str, str]:
    """The checksums in a `done.json`, after all that it holds was checked."""
    content = json.loads(text)
    found = _ANY.validate_python(content)
    if found.id != path.parent.name:
        raise ValueError(f"it is of {found.id}")
    if set(found.files) != set(names):
        raise ValueError(f"its checksums are of {', '.join(found.files)}")
    if "sha256" in content and text != files.json_text(_sealed(content)):
        raise ValueError("it changed since it was finished")
    return found.files


def _sealed(content: dict) -> dict:
    """Some content with its checksum."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return {**rest, "sha256": hashlib.sha256(files.json_text(rest).encode()).hexdigest()}


def _reason(error: Exception) -> str:
    """The first complaint, short and in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'][1:])) or 'content'}: {first['msg']}"[:100]
    return (str(error) or type(error).__name__).splitlines()[0][:100]
