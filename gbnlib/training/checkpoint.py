"""Checkpoints: the whole state of a training, written atomically, checked when read, loaded without running code."""

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import torch

from gbnlib import files
from gbnlib.training.loop import Training

#: What reading a damaged file raises: `OSError` comes of a wrong position in it.
_DAMAGE = (OSError, ValueError, RuntimeError, EOFError, KeyError)
_DAMAGE += (zipfile.BadZipFile, zlib.error, pickle.UnpicklingError)


def save_checkpoint(path: Path, training: Training, **extra: object) -> None:
    """Write the state of `training` and the plain values in `extra` to `path`.

    A disk that is full raises a `UsageError`, and what was there before is kept.
    """
    state = {"torch": str(torch.__version__), "extra": extra, **training.state_dict()}
    with files.atomic(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # this is how PyTorch says that it could not write
            raise OSError(f"is the disk full? PyTorch: {str(error).splitlines()[0][:120]}") from error


def load_checkpoint(path: Path) -> dict | None:
    """Read a checkpoint, or return None when there is none that can be trusted.

    Every byte is compared with the checksums inside the file first. A damaged file, or one that holds anything but
    tensors and plain values, is set aside as `*.corrupt` and said; one made by another PyTorch is set aside too,
    since a resumed run must end as if it had never stopped. A file that cannot be opened now raises an `OSError`.
    """
    if not path.exists():
        return None
    with path.open("rb") as stream:
        try:
            state = _checked(stream)
        except _DAMAGE as error:
            files.set_aside(path, f"damaged checkpoint ({(str(error) or type(error).__name__).splitlines()[0][:80]})")
            return None
    if state["torch"] != torch.__version__:
        files.set_aside(path, f"checkpoint of PyTorch {state['torch']}, here {torch.__version__}")
        return None
    return state


def _checked(stream: BinaryIO) -> dict:
    """The state in a file, after its checksums were compared."""
    with zipfile.ZipFile(stream) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"checksum of {damaged} differs")
    stream.seek(0)
    state = torch.load(stream, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not {"torch", "extra", "update", "model", "optimizer"} <= set(state):
        raise ValueError("not the state of a training")
    return state
