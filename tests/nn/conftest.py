"""The codes that can normalise a batch: PyTorch's kernel ghost by ghost, and each build of the compiled one."""

import pytest
import torch

from gbnlib.nn import kernel

BUILDS = (*kernel.BUILDS.get(torch.backends.cpu.get_cpu_capability(), ()), "portable")


@pytest.fixture(scope="module", params=["loop", *BUILDS])
def code(request):
    """Use one of them, wherever it applies; the fixture's value is its name."""
    library = None if request.param == "loop" else kernel.load(request.param)
    if request.param != "loop" and library is None:
        pytest.skip(f"the kernel's build {request.param} was not made here: there was no compiler for it")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "LIBRARY", library)
        yield request.param
