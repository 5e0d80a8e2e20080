"""What a command says while it works."""

import os
import shutil
import sys
from collections.abc import Callable


def say(line: str) -> None:
    """Print a line at once, also into a pipe; of the processes of torchrun only the first one does."""
    if os.environ.get("RANK", "0") == "0":
        show(lambda: "")
        print(line, flush=True)


def show(progress: Callable[[], str]) -> None:
    """Show how far it is in place of the last time; only in a terminal."""
    if sys.stderr.isatty() and os.environ.get("RANK", "0") == "0":
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{progress()[:width]}", end="", file=sys.stderr, flush=True)
