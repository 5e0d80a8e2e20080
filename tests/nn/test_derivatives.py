"""Every derivative is right or refused: modes, orders and codes against finite differences in float64."""

import itertools
import math
from functools import partial, reduce

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.autograd import functional as AF
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, linearize, stack_module_state, vjp, vmap

from gbnlib.nn import GhostBatchNorm1d, ghost_batch_norm, kernel

pytestmark = pytest.mark.usefixtures("code")
# Shapes and ghost sizes: two dimensions, a remainder, images, one ghost, without scale and shift.
CASES = {
    "(N, C)": ((8, 2), 4, True),
    "remainder": ((10, 2), 4, True),
    "images": ((7, 2, 2, 1), 3, True),
    "one ghost": ((5, 2), 8, True),
    "no parameters": ((6, 2, 2), 3, False),
}
each_case = pytest.mark.parametrize("case", CASES)
ONE = torch.ones((), dtype=torch.float64)


def curve(case):
    """A number that depends on t by input, scale and shift of a ghost normalization, all at once."""
    shape, ghost_size, affine = CASES[case]
    torch.manual_seed(0)
    (start, step), target = torch.randn(2, *shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    (weight, bias), (turn, shift) = torch.rand(2, 2, 2, dtype=torch.float64) + 0.5

    def at(t):
        parameters = (weight + t * turn, bias + t * shift) if affine else (None, None)
        return (ghost_batch_norm(start + t * step, ghost_size, None, None, *parameters, eps=1e-2) * target).sin().sum()

    return at


def finite_difference(function, order):
    """The derivative of `function` at 0, by values at 13 points, exact for polynomials of degree 12."""
    points = torch.arange(-6, 7, dtype=torch.float64) * 0.02
    values = torch.stack([function(point) for point in points])
    coefficients = torch.linalg.solve(torch.vander(points / 0.02, increasing=True), values.view(len(points), -1))
    return coefficients[order].view(values.shape[1:]) / 0.02**order * math.factorial(order)


def backward(function):
    return lambda t: torch.autograd.grad(function(t), t, create_graph=True)[0]


def dual(function):
    def tangent(t):
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(function(forward_ad.make_dual(t, ONE))).tangent

    return tangent


# A derivative of a function of a number, by each mode of torch.func.
MODES = {
    "grad": grad,
    "vjp": lambda function: lambda t: vjp(function, t)[1](ONE)[0],
    "jvp": lambda function: lambda t: jvp(function, (t,), (ONE,))[1],
    "linearize": lambda function: lambda t: linearize(function, t)[1](ONE),
    "jacrev": jacrev,
    "jacfwd": jacfwd,
    "vmap of grad": lambda function: lambda t: vmap(grad(function))(t.expand(2))[1],
}


def derivative(function, modes):
    """The derivative of `function` at 0 by `modes`, the innermost first."""
    return reduce(lambda found, mode: mode(found), modes, function)(torch.zeros((), dtype=torch.float64))


def check(found, function, order):
    torch.testing.assert_close(found.detach(), finite_difference(function, order), rtol=1e-6, atol=1e-6)


# --- each mode and order -----------------------------------------------------------------------------------------


@each_case
@pytest.mark.parametrize("mode", MODES)
def test_first_derivatives_of_torch_func(case, mode):
    check(derivative(curve(case), [MODES[mode]]), curve(case), 1)


@each_case
@pytest.mark.parametrize("order", [2, 3])
def test_higher_derivatives_of_torch_func_in_every_mixture_of_modes(case, order):
    for modes in itertools.product([grad, MODES["jvp"]], repeat=order):
        check(derivative(curve(case), modes), curve(case), order)


@each_case
def test_hessians(case):
    function, zero = curve(case), torch.zeros((), dtype=torch.float64)
    for found in (
        hessian(function)(zero),
        AF.hessian(function, zero),
        AF.hessian(function, zero, vectorize=True),
        AF.hessian(function, zero, vectorize=True, outer_jacobian_strategy="forward-mode"),
        AF.hvp(function, zero, ONE, strict=True)[1],
        AF.vhp(function, zero, ONE, strict=True)[1],
    ):
        check(found, function, 2)


@each_case
def test_dual_numbers_and_dual_numbers_over_backward(case):
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    check(dual(curve(case))(zero), curve(case), 1)
    check(dual(backward(curve(case)))(zero), curve(case), 2)


@each_case
@pytest.mark.parametrize("order", [1, 2, 3])
def test_backward_is_right_or_refused_by_pytorch(case, order, code):
    function, zero = curve(case), torch.zeros((), dtype=torch.float64, requires_grad=True)
    nested = reduce(lambda found, _: backward(found), range(order), function)
    if order == 3 and (code == "loop" or case == "one ghost"):
        with pytest.raises(RuntimeError, match=r"batch_norm does not support 3rd\+ order derivatives"):
            nested(zero)
    else:
        check(nested(zero), function, order)


@each_case
@pytest.mark.parametrize("options", [{}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}])
def test_jacobians(case, options):
    (samples, *rest), ghost_size, _ = CASES[case]
    batch = torch.randn(samples, *rest, dtype=torch.float64)
    bumps = torch.eye(batch.numel(), dtype=torch.float64).view(-1, *batch.shape)
    normalise = partial(ghost_batch_norm, ghost_size=ghost_size, eps=1e-2)
    found = AF.jacobian(normalise, batch, **options).flatten(batch.dim()).movedim(-1, 0)
    expected = [finite_difference(lambda t, bump=bump: normalise(batch + t * bump), 1) for bump in bumps]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-6, atol=1e-6)


# --- gradients of which something is wanted later ----------------------------------------------------------------


@each_case
def test_a_direction_with_a_derivative_gives_gradients_with_one(case, code):
    shape, ghost_size, _ = CASES[case]
    batch, direction, change = torch.randn(3, *shape, dtype=torch.float64)
    batch.requires_grad_()
    output = ghost_batch_norm(batch, ghost_size)
    (expected,) = torch.autograd.grad(output, batch, change, retain_graph=True)  # gradients are linear in the direction
    with forward_ad.dual_level():
        try:
            (found,) = torch.autograd.grad(output, batch, forward_ad.make_dual(direction, change))
        except NotImplementedError as refusal:
            assert "forward AD" in str(refusal)
            assert code == "loop" or case == "one ghost"
            return
        torch.testing.assert_close(forward_ad.unpack_dual(found).tangent, expected)


def test_a_scale_that_depends_on_the_input_is_differentiated_by_both_ways():
    torch.manual_seed(0)
    batch = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)

    def normalise(images):
        return ghost_batch_norm(images, 3, None, None, images.square().mean(0), images[0])

    assert torch.autograd.gradcheck(normalise, batch)
    assert torch.autograd.gradgradcheck(normalise, batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_gradients_that_can_be_differentiated_equal_those_that_cannot(dtype):
    torch.manual_seed(0)
    batch = torch.randn(10, 3, 2, 2).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
    weight, bias = (torch.rand(3, requires_grad=True) for _ in range(2))
    results = []
    for create_graph in (False, True):
        output = ghost_batch_norm(batch, 4, None, None, weight, bias)
        results.append(torch.autograd.grad(output, (batch, weight, bias), output.detach(), create_graph=create_graph))
    for found, expected in zip(*results, strict=True):
        assert (found.dtype, found.stride()) == (expected.dtype, expected.stride())
        torch.testing.assert_close(found, expected, rtol=2**-7, atol=1e-5 if dtype == torch.float32 else 2**-6)


# --- which code serves -------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch, code):
    """The calls of the compiled kernel."""
    if code == "loop":
        pytest.skip("there is no kernel to call")
    made, call = [], kernel._call
    monkeypatch.setattr(kernel, "_call", lambda name, *rest: (made.append(name), call(name, *rest)))
    return made


@pytest.mark.parametrize("compiled", [False, True])
def test_the_kernel_serves_training_and_nothing_that_it_cannot_differentiate(calls, compiled):
    torch.compiler.reset()

    def cubes(images):
        return ghost_batch_norm(images, 4).pow(3).sum()

    normalise = torch.compile(cubes, backend="aot_eager") if compiled else cubes
    batch = torch.randn(10, 3, dtype=torch.float64)
    leaf = batch.clone().requires_grad_()
    normalise(leaf).backward()
    assert calls == ["forward", "backward"]
    calls.clear()
    torch.testing.assert_close(grad(normalise)(batch), leaf.grad)
    change = jvp(normalise, (batch,), (torch.ones_like(batch),))[1]
    torch.testing.assert_close(change, leaf.grad.sum())
    assert not calls


def test_statistics_of_the_operator_have_no_gradient_rather_than_a_wrong_one(calls):
    batch = torch.randn(8, 3, requires_grad=True)
    output, mean, variance = kernel.ghost_norm(batch, None, None, 4, 2, 1e-5)
    assert [tensor.requires_grad for tensor in (output, mean, variance)] == [True, False, False]


class Indifferent(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return None


def test_what_has_no_gradient_gives_none(calls):
    batch = torch.randn(8, 3, requires_grad=True)
    (batch.sum() + Indifferent.apply(ghost_batch_norm(batch, 4)).sum()).backward()
    assert torch.equal(batch.grad, torch.ones(8, 3))


# --- layers under torch.func -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ghost_size", [4, 16])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_layer_under_grad_trains_as_without_it(ghost_size, momentum):
    torch.manual_seed(0)
    layer, batch = GhostBatchNorm1d(3, ghost_size, momentum=momentum, dtype=torch.float64), torch.randn(10, 3).double()
    buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}

    def loss(parameters, buffers):
        return functional_call(layer, {**parameters, **buffers}, (batch,)).pow(3).sum()

    found = grad(loss)(dict(layer.named_parameters()), buffers)
    layer(batch).pow(3).sum().backward()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)
    for name, buffer in layer.named_buffers():
        torch.testing.assert_close(buffers[name], buffer)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_an_ensemble_by_vmap_trains_as_its_members(momentum):
    torch.manual_seed(0)
    layers, batches = [GhostBatchNorm1d(3, 4, momentum=momentum) for _ in range(2)], torch.randn(2, 10, 3)
    parameters, buffers = stack_module_state(layers)

    def call(parameters, buffers, batch):
        return functional_call(layers[0], (parameters, buffers), (batch,))

    output = vmap(call)(parameters, buffers, batches)
    expected = torch.stack([layer(batch) for layer, batch in zip(layers, batches, strict=True)])
    torch.testing.assert_close(output, expected)
    for name, stacked in buffers.items():
        torch.testing.assert_close(stacked, torch.stack([layer.get_buffer(name) for layer in layers]))


@pytest.mark.parametrize("ghost_size", [4, 16])
@pytest.mark.parametrize(
    ("transformed", "words"),
    [(grad, "mutate a captured Tensor"), (jacfwd, "mutate a captured Tensor|not batched"), (vmap, "not batched")],
)
def test_statistics_that_a_transform_cannot_change_are_refused_and_stay(ghost_size, transformed, words):
    layer, batch = GhostBatchNorm1d(3, ghost_size), torch.randn(2, 10, 3)
    function = layer if transformed is vmap else lambda images: layer(images).sum()
    with pytest.raises(RuntimeError, match=words):
        transformed(function)(batch if transformed is vmap else batch[0])
    for name, buffer in nn.BatchNorm1d(3).named_buffers():
        assert torch.equal(layer.get_buffer(name), buffer)
