"""Errors that a user can act on: one line that names what was given, what is allowed and what to do; and checks."""

import difflib
import operator
from collections.abc import Iterable


class UsageError(ValueError):
    """A wrong name, value, file or folder. The message is complete in one line; the command line exits with 2."""

    def _render_traceback_(self) -> list[str]:
        """All that a notebook shows of it; IPython looks for this name."""
        return [f"{type(self).__name__}: {self}"]


class Interrupted(Exception):
    """The training was asked to stop; its last checkpoint is whole, and the same call, not forced, goes on there."""


class Failed(RuntimeError):
    """Something outside the code of gbnlib failed, such as a process that was killed. The command line exits with 1."""


#: Names that a message lists at most.
LISTED = 20


def unknown(kind: str, given: object, allowed: Iterable[str]) -> UsageError:
    """The error for a name that is not one of `allowed`: it lists those, or of many the nearest ones."""
    names = [str(name) for name in allowed]
    lower, wanted = {name.lower(): name for name in names}, str(given).lower()
    near = difflib.get_close_matches(wanted, lower, n=1, cutoff=0.5)
    hint = f"; did you mean {lower[near[0]]!r}?" if near else "."
    more = len(names) - LISTED
    if more > 0:
        names = [lower[name] for name in difflib.get_close_matches(wanted, lower, n=LISTED, cutoff=0.0)]
    listed = ", ".join(names) + (f" and {more} more" if more > 0 else "")
    return UsageError(f"unknown {kind} {str(given)!r}{hint} Allowed: {listed or 'none'}.")


def complaint(error: Exception) -> str:
    """What an error says first, in one line without a full stop; of pydantic's, the field and what is wrong with it."""
    if not hasattr(error, "errors"):
        return " ".join(str(error).split()).removesuffix(".") or type(error).__name__
    first = error.errors()[0]
    said = first["msg"].removeprefix("Value error, ").removesuffix(".")
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), said)))


def check_integer(name: str, value: int, minimum: int) -> int:
    """Return `value` as an int of at least `minimum`, or raise an error that names it."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer of at least {minimum}, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return operator.index(value)


def check_choice(name: str, value: str, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of `allowed`, or raise an error that lists them."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value
