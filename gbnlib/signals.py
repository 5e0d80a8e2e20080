"""How `gbn` ends when it is asked to stop: at any moment, with one line and exit code 130."""

import os
import signal
import sys
from types import FrameType

#: Exit code of a call that was asked to stop.
STOPPED = 130


def stopped_line(what: str = "") -> str:
    """What a stopped call says last."""
    again = "without --force goes on with what was begun" if "--force" in sys.argv else "goes on from there"
    return f"gbn: {what or 'stopped'}; the same command {again}"


def heed() -> None:
    """From now on treat SIGTERM as Ctrl-C, and neither with a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as that of a command in the background is
            signal.signal(number, interrupt)


def ignore() -> None:
    """From now on let no signal add a second last line: torchrun, for one, ends what is already ending."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`; but leave at once while a module is imported, which could lose the exception."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, f"{stopped_line()}\n".encode())
            os._exit(STOPPED)
        frame = frame.f_back
    raise KeyboardInterrupt
