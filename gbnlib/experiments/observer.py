"""Who is told how training goes: the command line, or a notebook."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Observer:
    """Who is told how training goes; by default nobody.

    say : gets the lines that stay: an evaluation, a finished run, anything unusual.
    show : gets about every second what words how far it is, for who shows it in place of the last time; others do not
        call it, since wording takes time.
    """

    say: Callable[[str], None] = lambda line: None
    show: Callable[[Callable[[], str]], None] = lambda progress: None


NOBODY = Observer()
