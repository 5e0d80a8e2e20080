"""Ghost sizes and `ghost_batch_norm` against closed forms and a loop of PyTorch's own layers in float64."""

import doctest

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import gbnlib.nn.functional
from gbnlib.nn import ghost_batch_norm, ghost_sizes, kernel

pytestmark = pytest.mark.usefixtures("code")
PLAIN = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def naive_sizes(batch_size, ghost_size, values_per_sample):
    """Deal samples out one by one; then move a tail of one value to the ghost before it."""
    sizes = []
    for sample in range(batch_size):
        if sample % ghost_size == 0:
            sizes.append(0)
        sizes[-1] += 1
    if len(sizes) > 1 and ghost_size > 1 and sizes[-1] * values_per_sample == 1:
        tail = sizes.pop()
        sizes[-1] += tail
    return sizes


def reference(input, sizes, mean, var, weight, bias, momentum, running):
    """Normalise ghost after ghost with nn.BatchNorm layers that share their state; return output, mean, var."""
    layer = PLAIN[input.dim()](input.shape[1], momentum=momentum, dtype=input.dtype)
    layer.running_mean, layer.running_var = mean.clone(), var.clone()
    ghosts = input.split(sizes)
    output = torch.cat([layer(ghost) for ghost in ghosts])
    shape = [1, -1] + [1] * (input.dim() - 2)
    output = output * weight.view(shape) + bias.view(shape)
    if running == "sequential":
        return output, layer.running_mean, layer.running_var
    flat = [ghost.detach().transpose(0, 1).flatten(1) for ghost in ghosts]
    batch_mean = sum(len(g) * f.mean(1) for g, f in zip(ghosts, flat, strict=True)) / len(input)
    batch_var = sum(len(g) * f.var(1) for g, f in zip(ghosts, flat, strict=True)) / len(input)
    return output, mean + momentum * (batch_mean - mean), var + momentum * (batch_var - var)


@st.composite
def batches(draw):
    """A float64 batch of any rank and layout, with a ghost size that normalises it; tails of one included."""
    rank = draw(st.integers(2, 5))
    spatial = [draw(st.integers(1, 3)) for _ in range(rank - 2)]
    shape = [draw(st.integers(2, 17)), draw(st.integers(1, 3)), *spatial]
    torch.manual_seed(draw(st.integers(0, 2**16)))
    batch = torch.randn(shape, dtype=torch.float64) * 3 + 1
    if draw(st.booleans()):
        batch = (
            batch.to(memory_format=LAYOUTS[rank])
            if rank in LAYOUTS
            else batch.transpose(0, -1).contiguous().transpose(0, -1)
        )
    return batch, draw(st.integers(2, 9))


# --- ghost_sizes -------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(1, 70), st.integers(1, 3))
def test_sizes_equal_dealing_out_samples_one_by_one(batch_size, ghost_size, values):
    assert ghost_sizes(batch_size, ghost_size, values_per_sample=values) == naive_sizes(batch_size, ghost_size, values)


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 70))
def test_forced_number_is_the_cut_of_torch_chunk(batch_size, num_ghosts, ghost_size):
    chunks = [len(chunk) for chunk in torch.arange(batch_size).chunk(num_ghosts)]
    sizes = ghost_sizes(batch_size, ghost_size, values_per_sample=4, num_ghosts=num_ghosts, remainder="error")
    assert sizes == chunks


def test_sizes_by_hand():
    assert ghost_sizes(100, 32) == [32, 32, 32, 4]  # torch.chunk(4) would give 25, 25, 25, 25
    assert ghost_sizes(97, 32) == [32, 32, 33]  # a tail of one value joins
    assert ghost_sizes(97, 32, values_per_sample=4) == [32, 32, 32, 1]  # four values can be normalised
    assert ghost_sizes(20, 32) == [20]
    assert ghost_sizes(1, 32) == [1]
    assert ghost_sizes(0, 32) == []
    assert ghost_sizes(64, 32, remainder="error") == [32, 32]
    assert ghost_sizes(848, 128, num_ghosts=16) == [53] * 16  # the last batch of CIFAR-10 at 2048
    assert ghost_sizes(7, 32, num_ghosts=3) == [3, 4]  # torch.chunk gives 3, 3, 1
    assert ghost_sizes(9, 32, num_ghosts=4) == [3, 3, 3]  # fewer than asked for, as torch.chunk


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((100, 32), {"remainder": "error"}, ValueError, ["100", "32", "4 left over", "remainder='own'"]),
        ((20, 32), {"remainder": "error"}, ValueError, ["20", "32"]),
        ((100, 0), {}, ValueError, ["ghost_size", "at least 1", "0"]),
        ((100, -3), {}, ValueError, ["ghost_size", "-3"]),
        ((100, 2.5), {}, TypeError, ["ghost_size", "integer", "2.5"]),
        ((100, True), {}, TypeError, ["ghost_size", "True"]),
        ((-1, 32), {}, ValueError, ["batch_size", "-1"]),
        ((100, 32), {"num_ghosts": -1}, ValueError, ["num_ghosts", "-1"]),
        ((100, 32), {"remainder": "drop"}, ValueError, ["remainder", "'own'", "'error'", "'drop'"]),
    ],
)
def test_bad_sizes_are_refused_with_numbers_and_remedy(arguments, options, error, words):
    with pytest.raises(error) as raised:
        ghost_sizes(*arguments, **options)
    assert all(word in str(raised.value) for word in words)


# --- values and gradients ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(batches(), st.sampled_from(["sequential", "mean"]), st.floats(0, 1), st.booleans())
def test_forward_backward_and_statistics_equal_a_loop_of_plain_layers(case, running, momentum, affine):
    batch, ghost_size = case
    channels = batch.shape[1]
    weight, bias = (torch.rand(channels, dtype=torch.float64) + 0.5 for _ in range(2))
    mean, var = torch.randn(channels, dtype=torch.float64), torch.rand(channels, dtype=torch.float64) + 0.5
    if not affine:
        weight, bias = torch.ones_like(weight), torch.zeros_like(bias)
    sizes = naive_sizes(len(batch), ghost_size, batch[0, 0].numel())
    inputs = [tensor.clone().requires_grad_() for tensor in (batch, weight, bias)]
    ours = [tensor.clone().requires_grad_() for tensor in (batch, weight, bias)]
    expected, expected_mean, expected_var = reference(inputs[0], sizes, mean, var, *inputs[1:], momentum, running)
    parameters = ours[1:] if affine else [None, None]
    output = ghost_batch_norm(ours[0], ghost_size, mean, var, *parameters, momentum=momentum, running=running)
    torch.testing.assert_close(output, expected, **EXACT)
    torch.testing.assert_close(mean, expected_mean, **EXACT)
    torch.testing.assert_close(var, expected_var, **EXACT)
    direction = torch.randn(expected.shape, dtype=torch.float64)
    (output * direction).sum().backward()
    (expected * direction).sum().backward()
    for mine, theirs in zip(ours[: 3 if affine else 1], inputs, strict=False):
        torch.testing.assert_close(mine.grad, theirs.grad, **EXACT)


@settings(deadline=None)
@given(batches())
def test_each_ghost_has_mean_zero_and_biased_variance_one(case):
    batch, ghost_size = case
    output = ghost_batch_norm(batch, ghost_size, eps=1e-300)
    for ghost in output.split(naive_sizes(len(batch), ghost_size, batch[0, 0].numel())):
        values = ghost.transpose(0, 1).flatten(1)
        torch.testing.assert_close(values.mean(1), torch.zeros(len(values), dtype=torch.float64), **EXACT)
        torch.testing.assert_close(values.var(1, correction=0), torch.ones(len(values), dtype=torch.float64), **EXACT)


def test_sequential_statistics_follow_the_closed_form_of_algorithm_1():
    # (1 - η)^K μ + Σ_l η (1 - η)^(K - l) μ_l; with η = 0.1 and K = 32, 96.6 % of the buffer is replaced.
    torch.manual_seed(0)
    eta, count, batch = 0.1, 32, torch.randn(128, 5, dtype=torch.float64)
    mean, var = torch.full((5,), 2.0, dtype=torch.float64), torch.full((5,), 3.0, dtype=torch.float64)
    ghosts = batch.view(count, 4, 5)
    weights = eta * (1 - eta) ** torch.arange(count - 1, -1, -1, dtype=torch.float64)
    assert weights.sum().item() == pytest.approx(0.9657, abs=1e-4)
    expected_mean = 0.9**32 * mean + weights @ ghosts.mean(1)
    expected_var = 0.9**32 * var + weights @ ghosts.var(1, correction=1)
    ghost_batch_norm(batch, 4, mean, var, momentum=eta)
    torch.testing.assert_close(mean, expected_mean, **EXACT)
    torch.testing.assert_close(var, expected_var, **EXACT)


@pytest.mark.parametrize(("running", "shares"), [("sequential", [0.081, 0.09, 0.1]), ("mean", [0.04, 0.04, 0.02])])
@pytest.mark.parametrize("momentum", [0.1, torch.tensor(0.1, dtype=torch.float64)])
def test_shares_of_ghosts_in_a_running_statistic_by_hand(running, shares, momentum):
    nothing, each = torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    moved = gbnlib.nn.functional._updated(nothing, each, [4, 4, 2], momentum, running)
    torch.testing.assert_close(moved, torch.tensor(shares, dtype=torch.float64))


def test_values_by_hand():
    # Ghosts (0, 2) and (4, 10): means 1 and 7, biased variances 1 and 9, unbiased 2 and 18.
    batch = torch.tensor([[0.0], [2.0], [4.0], [10.0]])
    mean, var = torch.zeros(1), torch.ones(1)
    output = ghost_batch_norm(batch, 2, mean, var, torch.tensor([2.0]), torch.tensor([1.0]), momentum=0.5, eps=1e-30)
    torch.testing.assert_close(output, torch.tensor([[-1.0], [3.0], [-1.0], [3.0]]))
    torch.testing.assert_close(mean, torch.tensor([3.75]))  # 0 → 0.5 → 3.75
    torch.testing.assert_close(var, torch.tensor([9.75]))  # 1 → 1.5 → 9.75
    mean, var = torch.zeros(1), torch.ones(1)
    ghost_batch_norm(batch, 2, mean, var, momentum=0.5, running="mean")
    torch.testing.assert_close(mean, torch.tensor([2.0]))  # 0 → (1 + 7) / 2 / 2
    torch.testing.assert_close(var, torch.tensor([5.5]))  # 1 → (1 + (2 + 18) / 2) / 2


@pytest.mark.parametrize("running", ["sequential", "mean"])
@pytest.mark.parametrize("shape", [(7, 2), (5, 2, 3), (5, 2, 2, 1)])
def test_gradients_of_first_and_second_order(shape, running):
    torch.manual_seed(0)
    batch = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight, bias = (torch.rand(2, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def normalise(batch, weight, bias):
        mean, var = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
        return ghost_batch_norm(batch, 3, mean, var, weight, bias, running=running)

    assert torch.autograd.gradcheck(normalise, (batch, weight, bias))
    assert torch.autograd.gradgradcheck(normalise, (batch, weight, bias))


def test_backward_works_after_further_forwards_with_other_numbers_of_ghosts():
    batch = torch.randn(12, 3, requires_grad=True)
    mean, var = torch.zeros(3), torch.ones(3)
    outputs = [ghost_batch_norm(batch[:size], 4, mean, var) for size in (4, 12, 7)]
    sum(output.square().sum() for output in outputs).backward()
    assert batch.grad.isfinite().all()


# --- precision, dtype, layout ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(64, 3), (64, 3, 4, 4), (64, 3, 2, 2, 2)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_mean_50_and_deviation_001_stay_accurate_in_float32(shape, channels_last):
    # E[x²] - μ² gives NaN here. Rounding the mean to float32, 1.9e-6, is already 2e-4 of sqrt(1e-4 + eps), and the
    # native kernels for channels-last and (N, C) sum in float32 as well.
    torch.manual_seed(0)
    batch = torch.randn(shape) * 0.01 + 50
    batch = batch.to(memory_format=LAYOUTS[batch.dim()]) if channels_last and batch.dim() in LAYOUTS else batch
    mean, var = torch.full((3,), 50.0), torch.full((3,), 1e-4)
    exact_mean, exact_var = mean.double(), var.double()
    output = ghost_batch_norm(batch, 16, mean, var)
    expected = ghost_batch_norm(batch.double(), 16, exact_mean, exact_var)
    torch.testing.assert_close(output.double(), expected, rtol=0, atol=5e-3)
    torch.testing.assert_close(var.double(), exact_var, rtol=1e-3, atol=0)
    torch.testing.assert_close(mean.double(), exact_mean, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(10, 3), (10, 3, 5), (10, 3, 4, 5), (10, 3, 2, 4, 5)])
@pytest.mark.parametrize("training", [True, False])
def test_layout_and_dtype_are_those_of_the_input(shape, dtype, training):
    batch = torch.randn(shape, dtype=dtype)
    for layout in {torch.contiguous_format, LAYOUTS.get(len(shape), torch.contiguous_format)}:
        output = ghost_batch_norm(
            batch.to(memory_format=layout),
            4,
            torch.zeros(3, dtype=dtype),
            torch.ones(3, dtype=dtype),
            training=training,
        )
        assert output.is_contiguous(memory_format=layout)
        assert output.dtype == dtype


def test_bfloat16_input_with_float32_parameters_as_under_autocast():
    torch.manual_seed(0)
    batch = torch.randn(20, 3, 4, 4).bfloat16()
    mean, var, weight, bias = torch.zeros(3), torch.ones(3), torch.rand(3), torch.rand(3)
    output = ghost_batch_norm(batch, 8, mean, var, weight, bias)
    exact_mean, exact_var = torch.zeros(3).double(), torch.ones(3).double()
    expected = ghost_batch_norm(batch.double(), 8, exact_mean, exact_var, weight.double(), bias.double())
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.double(), expected, rtol=2**-7, atol=2**-7)
    torch.testing.assert_close(mean.double(), exact_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(var.double(), exact_var, rtol=1e-5, atol=1e-6)


# --- evaluation, edge cases, errors ------------------------------------------------------------------------------


@settings(deadline=None)
@given(batches(), st.sampled_from(["own", "error"]))
def test_evaluation_is_plain_batch_normalization(case, remainder):
    batch, ghost_size = case
    mean, var = torch.randn(batch.shape[1]).double(), torch.rand(batch.shape[1]).double() + 0.5
    before = mean.clone(), var.clone()
    output = ghost_batch_norm(batch, ghost_size, mean, var, training=False, remainder=remainder)
    assert torch.equal(output, F.batch_norm(batch, mean, var))
    assert torch.equal(mean, before[0])
    assert torch.equal(var, before[1])


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 4), (2, 3, 0)])
@pytest.mark.parametrize("running", ["sequential", "mean"])
def test_a_batch_without_values_passes_and_changes_nothing(shape, running):
    mean, var = torch.zeros(3), torch.ones(3)
    batch = torch.empty(shape, requires_grad=True)
    output = ghost_batch_norm(batch, 2, mean, var, running=running)
    output.sum().backward()
    assert output.shape == shape
    assert mean.eq(0).all()
    assert var.eq(1).all()


@pytest.mark.parametrize(
    ("shape", "ghost_size", "options", "words"),
    [
        ((1, 3), 4, {}, ["more than 1 value per channel", "(1, 3)", "larger"]),
        ((6, 3), 1, {}, ["more than 1 value per channel", "(6, 3)"]),
        ((6, 3), 4, {"remainder": "error"}, ["multiple of ghost_size 4"]),
        ((6, 3), 4, {"running": "first"}, ["running", "'sequential'", "'mean'", "'first'"]),
        ((6, 3), 4, {"eps": -1.0}, ["eps"]),
    ],
)
def test_bad_input_raises_and_changes_nothing(shape, ghost_size, options, words):
    mean, var = torch.zeros(3), torch.ones(3)
    with pytest.raises(ValueError) as raised:
        ghost_batch_norm(torch.randn(shape), ghost_size, mean, var, **options)
    assert all(word in str(raised.value) for word in words)
    assert mean.eq(0).all()
    assert var.eq(1).all()


@pytest.mark.parametrize("running", ["sequential", "mean"])
def test_a_failure_in_the_last_ghost_changes_nothing(monkeypatch, running):
    monkeypatch.setattr(kernel, "LIBRARY", None)
    calls, native = [], F.batch_norm

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return native(*arguments)

    monkeypatch.setattr(F, "batch_norm", failing)
    mean, var = torch.zeros(3), torch.ones(3)
    with pytest.raises(RuntimeError, match="out of memory"):
        ghost_batch_norm(torch.randn(12, 3), 4, mean, var, running=running)
    assert mean.eq(0).all()
    assert var.eq(1).all()


def test_one_running_statistic_without_the_other_is_refused():
    with pytest.raises(ValueError, match="both or neither"):
        ghost_batch_norm(torch.randn(4, 3), 2, torch.zeros(3))


def test_examples_in_the_docstrings():
    assert doctest.testmod(gbnlib.nn.functional).failed == 0
