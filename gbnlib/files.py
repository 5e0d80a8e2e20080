"""The one place that knows folders, locks, and how to write a file so that a kill never leaves half of it."""

import csv
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from gbnlib.errors import UsageError, complaint

REPOSITORY = Path(__file__).resolve().parent.parent
T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def results_root() -> Path:
    """Folder of everything that is computed: `GBN_RESULTS`, by default `results/` in the repository."""
    return _root("GBN_RESULTS", "results")


def data_root() -> Path:
    """Folder of the data sets: `GBN_DATA`, by default `data/` in the repository."""
    return _root("GBN_DATA", "data")


def _root(variable: str, default: str) -> Path:
    """The folder that a variable names, checked to be one where it is there."""
    path = _named(variable, default)
    text = str(path)  # os.path, since this is asked again and again
    if not os.path.isdir(text) and (os.path.lexists(text) or not os.path.isdir(os.path.dirname(text))):
        there = next(each for each in (path, *path.parents) if each.exists())
        if not there.is_dir():
            raise UsageError(
                f"cannot write to {path}: {there} is not a folder. Choose a folder you may write to with {variable}."
            )
    return path


def _named(variable: str, default: str) -> Path:
    """The path that a variable names: a relative one lies in the repository, whichever folder the caller is in."""
    return _path(variable, os.environ.get(variable) or default, os.environ.get("HOME"))


@cache
def _path(variable: str, given: str, home: str | None) -> Path:
    """The path that a variable's value stands for; `home` is what ~ stands for, named so that each has its own."""
    try:
        given.encode()  # a name in another encoding would end up in texts and tables
        return REPOSITORY / Path(given).expanduser()
    except (RuntimeError, UnicodeEncodeError) as error:
        raise UsageError(f"{variable} is {given!r}: {error}; name the folder without ~, in UTF-8.") from None


def reference_root() -> Path:
    """Folder of the results that are committed with the code."""
    return REPOSITORY / "results" / "reference"


def check_name(kind: str, name: object) -> str:
    """Return a name that may become a file or folder; a `UsageError` says what is wrong with another one."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise UsageError(
        f"{kind} {name!r}: a name holds only letters A to Z, digits and . _ -, and begins with a letter, digit or _."
    )


def inside(root: Path, name: str, ending: str = "") -> Path:
    """The path of a name right below a folder, with an ending; a name that would leave it is a `UsageError`."""
    if not _NAME.fullmatch(name):
        check_name(f"in {root},", name)
    return root / (name + ending)


def make_folder(path: Path) -> Path:
    """Create a folder with its parents; a `UsageError` says which one cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def cannot_write(path: Path, error: OSError) -> UsageError:
    """The error for a place that cannot be written: which, why, and what helps where it is another user's."""
    variable = "GBN_DATA" if path.is_relative_to(_named("GBN_DATA", "data")) else "GBN_RESULTS"
    return UsageError(
        f"cannot write to {path}: {error.strerror or error}. Choose a folder you may write to with {variable}, or "
        "let its owner share it with a group that you both are in, with umask 002 for both."
    )


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, flush it to disk and rename it onto `path`.

    Whatever happens inside, `path` holds either its old content or the whole new one. A disk that is full or
    read-only raises a `UsageError` that names the file.
    """
    make_folder(path.parent)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        os.chmod(name, 0o644)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise cannot_write(path, error) from error
        raise UsageError(f"cannot write {path}: {error.strerror or error}. What was there before is kept.") from error


@contextmanager
def locked(root: Path, name: str, wait: Callable[[], None] = lambda: None) -> Iterator[FileLock]:
    """Hold the lock of a name below a folder; `wait` is called first where another process has it.

    A group that may write in that folder may take the lock too.
    """
    place = make_folder(root / ".locks")
    lock = FileLock(place / f"{name}.lock", mode=0o600 | place.stat().st_mode & 0o666)
    for timeout in (0, -1):  # at once, or else without end
        try:
            held = lock.acquire(timeout)
            break
        except Timeout:
            wait()
        except OSError as error:
            raise cannot_write(Path(lock.lock_file), error) from error
    with held:
        yield lock


def is_locked(root: Path, name: str) -> bool:
    """Whether some process holds that lock; nothing is written, so that everybody may ask."""
    try:
        with (root / ".locks" / f"{name}.lock").open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:  # another one: there is no lock, or it may not be read
        return isinstance(error, BlockingIOError)
    return False


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path` to fill; when the block ends well, it takes the place of `path`."""
    temporary = path.with_name(f".{path.name}")
    remove_folder(temporary)
    yield make_folder(temporary)
    remove_folder(path)
    temporary.rename(path)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed writers left in a folder; only for who alone writes there."""
    for path in folder.glob(".*"):
        if not path.is_dir():  # such as .ipynb_checkpoints
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON atomically; NaN is refused, so that any reader can open it."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """The text that `write_json` writes."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file; a `UsageError` names a file that is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not readable JSON ({error}). Delete it, and it will be made again.") from error


def read_as(path: Path, make: Callable[[Any], T]) -> T:
    """What `make` makes of a JSON file; where that is a `ValueError`, a `UsageError` of one line names the file."""
    content = read_json(path)
    try:
        return make(content)
    except ValueError as error:
        raise UsageError(f"{path}: {complaint(error)}. Delete it, and it will be made again.") from None


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write rows as CSV atomically; floats keep every bit (`repr`)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def set_aside(path: Path, reason: str) -> Path:
    """Rename a damaged file or folder to `*.corrupt` (`*.corrupt2`, ...), say so on stderr, return the new path."""
    target, count = path.with_name(path.name + ".corrupt"), 2
    while target.exists():
        target, count = path.with_name(f"{path.name}.corrupt{count}"), count + 1
    try:
        os.replace(path, target)
    except OSError as error:
        raise cannot_write(path, error) from error
    print(f"{path.parent.name}/{path.name}: {reason}; set aside as {target.name}", file=sys.stderr)
    return target


def remove_folder(path: Path) -> None:
    """Remove a folder and all below it, if it is there."""
    if path.exists():
        shutil.rmtree(path)
