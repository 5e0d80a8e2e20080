"""The codes that can normalise a batch: PyTorch's kernel ghost by ghost, each build of the compiled one, and Triton's.

Triton's run on CPU tensors in a process of their own, with TRITON_INTERPRET in its environment before anything imports
Triton: test_triton_kernel.py starts it. There the fixture `code` stands for them alone.
"""

import os
from types import SimpleNamespace

import pytest
import torch

from gbnlib.nn import kernel

INTERPRETED = "TRITON_INTERPRET" in os.environ
BUILDS = (*kernel.BUILDS.get(torch.backends.cpu.get_cpu_capability(), ()), "portable")


@pytest.fixture(scope="module", params=["triton"] if INTERPRETED else ["loop", *BUILDS])
def code(request):
    """Use one of them, wherever it applies; the fixture's value is its name."""
    library = None
    if request.param in BUILDS and (library := kernel.load(request.param)) is None:
        pytest.skip(f"the kernel's build {request.param} was not made here: there was no compiler for it")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "LIBRARY", library)
        if INTERPRETED:
            interpret(patch)
        yield request.param


def interpret(patch: pytest.MonkeyPatch) -> None:
    """Let Triton's kernels serve CPU tensors, in several tiles, parts and blocks of channels though they are small."""
    from gbnlib.nn import triton_launch

    patch.setattr(kernel, "LIBRARY", SimpleNamespace())
    patch.setitem(kernel.DTYPES, "cpu", kernel.DTYPES["cuda"])
    for name, value in {"TILE": 128, "MOST_CHANNELS": 16, "PROGRAMS": 12, "LEAST_TILES": 1, "GHOSTS": 2}.items():
        patch.setattr(triton_launch, name, value)
    kernel.ghost_norm.register_kernel("cpu")(kernel.forward)
    kernel.ghost_norm_backward.register_kernel("cpu")(kernel.backward)
    kernel.move_statistics.register_kernel("cpu")(kernel.move)
