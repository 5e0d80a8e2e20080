"""Files are not trusted: whatever hinders their reading is one line, and a folder holds files and folders only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gbnlib.errors import UsageError


@contextmanager
def told(what: str, remedy: str = "") -> Iterator[None]:
    """Make any exception of a foreign reader a `UsageError` of one line: `what`, the reason in brackets, `remedy`.

    Damaged bytes lead Pillow, pyarrow, pickle and torchvision to exceptions of so many types that no list is complete.
    """
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(shown(f"{what} ({reason}).{remedy}")) from error


def shown(path: Path | str) -> str:
    """A path, or a message with one, as text that any stream can print, also where its name is not UTF-8."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def files_below(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """The files of a folder and of those below it, links followed, in no order.

    Raises
    ------
    UsageError : a folder cannot be read, a link leads back to a folder above it, or nowhere, or there is a pipe,
        socket or device, which would be waited for.
    """
    with told(f"{shown(folder)} cannot be read"):
        real, entries = os.path.realpath(folder), list(os.scandir(folder))
    if real in above:
        raise UsageError(f"{shown(folder)} is a link to a folder above it. Delete the link.")
    for entry in entries:
        if entry.is_dir():
            yield from files_below(Path(entry), (*above, real))
        elif entry.is_file():
            yield Path(entry)
        else:
            raise UsageError(f"{shown(entry.path)} is neither a file nor a folder nor a link to one. Delete it.")
