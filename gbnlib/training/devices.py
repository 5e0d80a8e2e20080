"""Where and how a run is executed: choices that are recorded, but are no part of what the run means."""

import ctypes
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from gbnlib.errors import UsageError, unknown

PRECISIONS = ("fp32", "bf16")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # options of glibc's mallopt


@dataclass(frozen=True)
class Execution:
    """Execution options of a run; a resumed run keeps those it was started with.

    device : "cpu", "cuda", "cuda:1", ... or "auto" (CUDA where there is one).
    threads : CPU threads of the run. One and two threads round differently, so this is never detected.
    checkpoint_seconds : time between two checkpoints.
    """

    device: str = "auto"
    threads: int = 1
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise UsageError(f"threads is {self.threads}; it must be at least 1.")

    def torch_device(self) -> torch.device:
        """The device, checked to exist."""
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name.split(":")[0] not in ("cpu", "cuda"):
            raise unknown("device", name, ("auto", "cpu", "cuda"))
        if name.startswith("cuda") and not torch.cuda.is_available():
            raise UsageError("device 'cuda' was asked for, but PyTorch finds no CUDA GPU. Allowed here: auto, cpu.")
        try:
            return torch.device(name)
        except RuntimeError as error:
            raise unknown("device", name, ("auto", "cpu", "cuda")) from error


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """The context of the forward pass: bfloat16 matrix products for "bf16", nothing for "fp32"."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def keep_freed_memory() -> None:
    """Make this process keep the memory it frees, with glibc; a large batch asks for the same memory every update.

    By default each large tensor is mapped anew, and the kernel clears it page by page, which takes longer than many
    an operation on it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
