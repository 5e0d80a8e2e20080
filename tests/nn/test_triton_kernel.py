"""The Triton kernels where there is no GPU: under the interpreter, and which input would be theirs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses import FakeTensorMode

from gbnlib.nn import GhostBatchNorm2d, ghost_batch_norm, kernel

INTERPRETED = "TRITON_INTERPRET" in os.environ
HERE = Path(__file__).parent
pytest.importorskip("triton")


@pytest.mark.skipif(INTERPRETED, reason="this is the process that it starts")
def test_the_property_tests_of_the_kernels_pass_under_the_interpreter():
    files = [str(HERE / name) for name in ("test_kernel.py", "test_triton_kernel.py", "test_dropout.py")]
    others = ("compiler", "nothing", "threads", "precision", "compiled")  # of the compiled kernel
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0", *files]
    command += ["-k", " and ".join(f"not {word}" for word in others)]
    run = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


# --- in the interpreter's process --------------------------------------------------------------------------------

interpreted = pytest.mark.skipif(not INTERPRETED, reason="needs the interpreter")


class Noted:
    """A kernel whose launches are noted."""

    def __init__(self, kernel, name, launches):
        self.kernel, self.name, self.launches = kernel, name, launches

    def __getitem__(self, grid):
        self.launches.append(self.name)
        return self.kernel[grid]


@interpreted
def test_a_layer_takes_three_launches_forward_and_two_backward(code, monkeypatch):
    from gbnlib.nn import triton_launch

    launches = []
    for name in ("moments", "normalise", "move", "add_up", "differentiate"):
        monkeypatch.setattr(triton_launch, name, Noted(getattr(triton_launch, name), name, launches))
    output = GhostBatchNorm2d(3, 4)(torch.randn(10, 3, 2, 2, requires_grad=True))
    assert launches == ["moments", "normalise", "move"]
    output.sum().backward()
    assert launches[3:] == ["add_up", "differentiate"]


@interpreted
@pytest.mark.parametrize("momentum", [0.0, 1.0, 1.5, None])
def test_a_momentum_at_or_beyond_its_ends_moves_as_plain_operations_do(code, momentum):
    torch.manual_seed(0)
    batch = torch.randn(10, 3, 2, 2)
    layers = [GhostBatchNorm2d(3, 4, momentum=momentum, dtype=dtype) for dtype in (torch.float32, torch.float64)]
    for layer in layers:
        layer(batch.to(layer.weight.dtype))
    for ours, exact in zip(*(layer.buffers() for layer in layers), strict=True):
        torch.testing.assert_close(ours.double(), exact.double(), rtol=1e-5, atol=1e-6)


# --- which input they would serve --------------------------------------------------------------------------------


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of an able kind, as far as PyTorch is asked."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(kernel, "TRITON", True)
    with FakeTensorMode():
        yield


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_gpu_is_served_in_single_and_half_precision(gpu, dtype):
    batch, weight = torch.empty(4, 3, device="cuda", dtype=dtype), torch.empty(3, device="cuda")
    assert kernel.serves(batch, weight, None)
    assert not kernel.serves(batch.double(), weight.double(), None)
    assert not kernel.serves(batch, weight.double(), None)
    assert not kernel.serves(batch, torch.empty(3), None)


def test_a_gpu_that_is_too_old_is_left_to_the_loop(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not kernel.serves(torch.empty(4, 3, device="cuda"))


def missing(package):
    raise kernel.PackageNotFoundError(package)


@pytest.mark.parametrize(
    ("version", "wanted", "used"),
    [
        (lambda package: "3.8.0+git", "", True),
        (lambda package: "3.5.0", "", True),
        (lambda package: "3.4.1", "", False),
        (lambda package: "unknown", "", False),
        (missing, "", False),
        (lambda package: "3.8.0", "off", False),
    ],
)
def test_a_triton_that_is_missing_old_or_not_wanted_is_left_unused(gpu, monkeypatch, version, wanted, used):
    monkeypatch.setattr(kernel, "version", version)
    monkeypatch.setenv("GBN_KERNEL", wanted)
    monkeypatch.setattr(kernel, "TRITON", kernel._has_new_triton())
    assert kernel.serves(torch.empty(4, 3, device="cuda")) is used


def test_shapes_types_and_layouts_on_a_gpu_are_those_of_plain_normalization(gpu):
    batch = torch.empty(10, 3, 4, 4, device="cuda", dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    mean, variance = torch.empty(2, 3, device="cuda").unbind()
    output = ghost_batch_norm(batch, 4, mean, variance)
    assert (output.shape, output.dtype, output.stride()) == (batch.shape, batch.dtype, batch.stride())


def test_compilation_takes_whether_there_is_triton_for_a_constant():
    def doubled(batch):
        return 2 * batch if kernel.has_triton(0) else batch

    torch.compiler.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        patch.setattr(kernel, "TRITON", True)
        assert torch.compile(doubled, backend="eager", fullgraph=True)(torch.ones(1)) == 2


@pytest.mark.skipif(INTERPRETED, reason="there it has been imported")
def test_triton_is_not_imported_before_it_is_needed():
    code = (
        "import sys, torch, gbnlib.nn as nn; print('triton' in sys.modules)\n"
        "nn.ghost_batch_norm(torch.randn(8, 3), 4); print('gbnlib.nn.triton_launch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split() == ["False", "False"]
