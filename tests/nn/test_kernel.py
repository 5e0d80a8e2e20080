"""The kernels against PyTorch's own in float64: sizes that do not divide, every layout, number and build.

Under Triton's interpreter (see conftest.py) cases are smaller and fewer, but cover as many ways through the kernels,
whose tiles are smaller there.
"""

import os
import shutil
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gbnlib.nn import ghost_batch_norm, kernel

INTERPRETED = "TRITON_INTERPRET" in os.environ
pytestmark = pytest.mark.usefixtures("code")
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
# Results in the precision of the input: half a unit in the last place, and what rounding adds to it.
BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-8, torch.float16: 2**-11}
SERVED = [torch.float64, torch.float32, torch.bfloat16]
CHANNELS = [1, 3, 15, 16, 17, 64, 70, 131]
PLANES = {2: [()], 3: [(1,), (7,), (33,)], 4: [(1, 1), (3, 5), (4, 8), (70, 61)], 5: [(1, 2, 1), (2, 3, 5)]}
if INTERPRETED:
    BOUNDS[torch.bfloat16] *= 2  # the interpreter cuts off what a GPU rounds to nearest
    SERVED = [torch.float32, torch.bfloat16, torch.float16]
    CHANNELS = [1, 3, 16, 17]
    PLANES = {2: [()], 3: [(1,), (7,), (130,)], 4: [(1, 1), (3, 5), (4, 8), (13, 10)], 5: [(1, 2, 1), (2, 3, 5)]}


@st.composite
def cases(draw):
    """A batch of any layout with sizes around those of vectors, blocks and chunks, and a cut of it."""
    rank = draw(st.sampled_from([2, 3, 4, 5]))
    channels, spatial = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(PLANES[rank]))
    size = draw(st.integers(4, 6 if INTERPRETED else 12))
    whole = draw(st.integers(1, 2 if INTERPRETED else 3))
    sizes = [size] * whole + [draw(st.integers(4, size + 1))]  # a cut that `ghost_sizes` gives
    if spatial == (70, 61):  # more values than a chunk has
        channels, sizes = min(channels, 17), sizes[:2]
    layout = draw(st.sampled_from(["contiguous", "channels-last", "slice", "slice of channels-last", "transposed"]))
    return (channels, *spatial), sizes, layout, draw(st.sampled_from(SERVED)), draw(st.integers(0, 2**16))


def random_batch(shape, layout, seed):
    """Make the batch of a case."""
    torch.manual_seed(seed)
    batch, rank = torch.randn(shape, dtype=torch.float64) * 3 + 1, len(shape)
    if "channels-last" in layout and rank in LAYOUTS:
        batch = batch.to(memory_format=LAYOUTS[rank])
    if "slice" in layout:
        batch = torch.stack([batch, batch], dim=1)[:, 1] if layout == "slice" else batch.repeat_interleave(2, 0)[::2]
    if layout == "transposed":
        batch = batch.transpose(0, 1).contiguous().transpose(0, 1)
    return batch


def reference(batch, sizes, weight, bias, direction):
    """Output and gradients by a loop in float64."""
    leaves = [values.double().clone().requires_grad_() for values in (batch, weight, bias)]
    output = torch.cat([F.batch_norm(g, None, None, *leaves[1:], True) for g in leaves[0].split(sizes)])
    return output.detach(), *torch.autograd.grad(output, leaves, direction.double())


@settings(deadline=None, max_examples=12 if INTERPRETED else 200)
@given(cases())
def test_output_and_gradients_equal_a_loop_in_float64(case):
    shape, sizes, layout, dtype, seed = case
    batch = random_batch((sum(sizes), *shape), layout, seed).to(dtype)
    of_parameters = torch.promote_types(dtype, torch.float32)
    weight, bias = (torch.rand(batch.shape[1], dtype=of_parameters) + 0.5 for _ in range(2))
    direction = torch.randn_like(batch)
    expected = reference(batch, sizes, weight, bias, direction)
    leaves = [values.detach().requires_grad_() for values in (batch, weight, bias)]
    output, mean, variance = kernel.ghost_norm(*leaves, sizes[0], len(sizes), 1e-5) if kernel.LIBRARY else (None,) * 3
    if output is None:
        pytest.skip("the loop is the reference here")
    found = output.detach(), *torch.autograd.grad(output, leaves, direction)
    plain = F.batch_norm(batch, None, None, training=True)
    for layout in {torch.contiguous_format, LAYOUTS.get(batch.dim(), torch.contiguous_format)}:
        assert output.is_contiguous(memory_format=layout) == plain.is_contiguous(memory_format=layout)
    count = batch.numel() / batch.shape[1]
    for ours, exact in zip(found, expected, strict=True):
        assert ours.dtype == (dtype if exact.dim() > 1 else of_parameters)
        bound = BOUNDS[dtype] * max(1, exact.abs().max().item())
        bound = bound if exact.dim() > 1 else BOUNDS[of_parameters] * count
        torch.testing.assert_close(ours.double(), exact, rtol=0, atol=bound)
    for values, ghost in zip(zip(mean, variance, strict=True), batch.double().split(sizes), strict=True):
        flat = ghost.transpose(0, 1).flatten(1)
        exact = flat.mean(1), flat.var(1, correction=0)
        for ours, theirs in zip(values, exact, strict=True):
            # 512 additions of a lane in float32, each off by 2⁻²⁴ at most, are off by 3.1e-5.
            torch.testing.assert_close(ours, theirs, rtol=3.1 * BOUNDS[of_parameters], atol=BOUNDS[of_parameters])


@pytest.mark.parametrize("shape", [(64, 3), (64, 70), (64, 3, 4, 4), (64, 3, 2, 2, 2)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_large_mean_costs_no_accuracy(code, shape, channels_last):
    if code == "loop":
        pytest.skip("PyTorch's kernels round the mean to float32")
    torch.manual_seed(0)
    batch = torch.randn(shape) * 0.01 + 50
    batch = batch.to(memory_format=LAYOUTS[batch.dim()]) if channels_last and batch.dim() in LAYOUTS else batch
    output = ghost_batch_norm(batch, 16)
    expected = ghost_batch_norm(batch.double(), 16)
    torch.testing.assert_close(output.double(), expected, rtol=0, atol=1e-5)


def test_values_that_are_all_equal_have_no_variance_and_an_outlier_does_not_matter():
    batch = torch.full((8, 70, 3, 3), 50.0)
    assert ghost_batch_norm(batch, 4).abs().max() < 1e-4
    batch[0] = 1e6  # the value that moments are taken about
    output = ghost_batch_norm(batch, 4)
    torch.testing.assert_close(output.double(), ghost_batch_norm(batch.double(), 4), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_infinities_and_nans_come_out_as_nans_of_their_ghost_and_channel_alone(dtype):
    batch = torch.randn(8, 20, 3, 5).to(dtype)
    batch[1, 2, 0, 0], batch[6, 17, 2, 4] = torch.inf, torch.nan
    output = ghost_batch_norm(batch, 4)
    bad = output.isnan().flatten(2).any(2)
    assert bad[:4, 2].all()
    assert bad[4:, 17].all()
    assert bad.sum() == 8


@pytest.mark.parametrize("shape", [(40, 130), (40, 17, 6, 6)])
def test_results_do_not_depend_on_the_number_of_threads(code, shape):
    if code in ("loop", "triton"):
        pytest.skip("PyTorch's own kernels choose by themselves; a GPU has no threads to set")
    torch.manual_seed(0)
    batch, direction = torch.randn(shape), torch.randn(shape)
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        leaf = batch.clone().requires_grad_()
        output = ghost_batch_norm(leaf, 8)
        output.backward(direction)
        results.append((output.detach(), leaf.grad))
    torch.set_num_threads(1)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


@pytest.mark.parametrize("running", ["sequential", "mean"])
@pytest.mark.parametrize(("samples", "num_ghosts"), [(12, 0), (14, 0), (13, 0), (11, 3)])
def test_running_statistics_follow_either_rule_for_any_cut(running, samples, num_ghosts):
    torch.manual_seed(0)
    batch = torch.randn(samples, 20) * 0.01 + 50
    found, exact = (
        (torch.full((20,), 49.0, dtype=dtype), torch.full((20,), 2.0, dtype=dtype))
        for dtype in (torch.float32, torch.float64)
    )
    for buffers, values in ((found, batch), (exact, batch.double())):
        ghost_batch_norm(values, 4, *buffers, momentum=0.3, running=running, num_ghosts=num_ghosts)
    for ours, theirs in zip(found, exact, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("weighted", [True, False])
def test_the_operators_keep_pytorchs_rules(code, weighted):
    if code == "loop":
        pytest.skip("PyTorch's own")
    dtype = SERVED[0]
    batch = torch.randn(7, 3, 2, 2, dtype=dtype, requires_grad=True)
    weight, bias = (torch.rand(3, dtype=dtype, requires_grad=True) if weighted else None for _ in range(2))
    torch.library.opcheck(kernel.ghost_norm, (batch, weight, bias, 4, 2, 1e-5))
    buffers, statistics = torch.rand(2, 3, dtype=dtype), torch.rand(2, 2, 3, dtype=torch.float64)
    torch.library.opcheck(kernel.move_statistics, (*buffers, *statistics, 7, 4, 4, 0.1, True))


def test_parameters_of_another_precision_are_pytorchs_business(code):
    if code == "triton":
        pytest.skip("asked of the processor")
    assert not kernel.serves(torch.zeros(4, 3, dtype=torch.float64), torch.ones(3), None)
    assert not kernel.serves(torch.zeros(4, 3, dtype=torch.float16), None, None)
    assert not kernel.serves(torch.zeros(4, 3, device="meta"), None, None)
    assert kernel.serves(torch.zeros(4, 3).bfloat16(), torch.ones(3), None) == (code != "loop")


def test_the_kernel_is_built_where_there_is_a_compiler_and_can_be_left_unused():
    if shutil.which("g++"):
        assert kernel.NAME != "none"
    command = [sys.executable, "-c", "from gbnlib.nn import kernel; print(kernel.NAME, kernel.LIBRARY)"]
    run = subprocess.run(command, env={**os.environ, "GBN_KERNEL": "off"}, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["none", "None"]


def test_a_value_that_means_nothing_is_refused_with_what_is_allowed() -> None:
    call = [sys.executable, "-m", "gbnlib", "train", "f1"]
    done = subprocess.run(call, env={**os.environ, "GBN_KERNEL": "xyz"}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "gbn: GBN_KERNEL is 'xyz'; it may be off, or unset to use the compiled kernel.\n"
