"""Checkpoints: the whole state of a training, written atomically, checked when read, loaded without running code."""

import pickle
import zipfile
from pathlib import Path

import torch

from gbnlib import files
from gbnlib.training.loop import Training


def save_checkpoint(path: Path, training: Training, **extra: object) -> None:
    """Write the state of `training` and the plain values in `extra` to `path`."""
    with files.atomic(path) as temporary:
        torch.save({"torch": str(torch.__version__), "extra": extra, **training.state_dict()}, temporary)


def load_checkpoint(path: Path) -> dict | None:
    """Read a checkpoint, or return None when there is none that can be trusted.

    Every byte is compared with the checksums inside the file first. A damaged file, or one that holds anything but
    tensors and plain values, is set aside as `*.corrupt` and said; one made by another PyTorch is set aside too,
    since a resumed run must end as if it had never stopped.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"checksum of {damaged} differs")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not {"torch", "extra", "update", "model", "optimizer"} <= set(state):
            raise ValueError("not the state of a training")
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        files.set_aside(path, f"damaged checkpoint ({str(error).splitlines()[0][:80]})")
        return None
    if state["torch"] != torch.__version__:
        files.set_aside(path, f"checkpoint of PyTorch {state['torch']}, here {torch.__version__}")
        return None
    return state
