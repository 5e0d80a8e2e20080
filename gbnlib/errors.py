"""Errors that a user can act on: one line that names what was given, what is allowed and what to do."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """A wrong name, value, file or folder. The message is complete in one line; the command line exits with 2."""


class Interrupted(Exception):
    """The training was asked to stop; its last checkpoint is whole, and the same call goes on from there."""


def unknown(kind: str, given: object, allowed: Iterable[str]) -> UsageError:
    """The error for a name that is not one of `allowed`, with the nearest valid one."""
    names = [str(name) for name in allowed]
    near = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return UsageError(f"unknown {kind} {str(given)!r}{hint} Allowed: {', '.join(names) or 'none'}.")
