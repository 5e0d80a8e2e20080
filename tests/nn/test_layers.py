"""The ghost layers against nn.BatchNorm*: state, modes, options, and PyTorch's own machinery."""

import copy
import doctest
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

import gbnlib.nn.layers
from gbnlib.nn import (
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    GhostBatchNorm3d,
    force_num_ghosts,
    revert_ghost_batchnorm,
)

pytestmark = pytest.mark.usefixtures("code")
PAIRS = [
    (GhostBatchNorm1d, nn.BatchNorm1d, (10, 3)),
    (GhostBatchNorm1d, nn.BatchNorm1d, (10, 3, 5)),
    (GhostBatchNorm2d, nn.BatchNorm2d, (10, 3, 4, 2)),
    (GhostBatchNorm3d, nn.BatchNorm3d, (10, 3, 2, 2, 2)),
]
each_layer = pytest.mark.parametrize(("ghost_class", "plain_class", "shape"), PAIRS)


def trained(layer, shape):
    """Give `layer` a state that is not the initial one."""
    torch.manual_seed(1)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    layer(torch.randn(shape) + 1)
    return layer


# --- against the plain layer -------------------------------------------------------------------------------------


@each_layer
def test_one_ghost_is_the_plain_layer_bit_for_bit(ghost_class, plain_class, shape):
    ghost, plain = ghost_class(3, 10), plain_class(3)
    batch = torch.randn(shape)
    assert torch.equal(ghost(batch), plain(batch))
    assert all(torch.equal(ghost.state_dict()[key], value) for key, value in plain.state_dict().items())


@each_layer
@pytest.mark.parametrize("momentum", [0.3, None])
def test_training_equals_the_plain_layer_called_ghost_by_ghost(ghost_class, plain_class, shape, momentum):
    ghost = ghost_class(3, 4, momentum=momentum, eps=1e-3, dtype=torch.float64)
    plain = plain_class(3, momentum=momentum, eps=1e-3, dtype=torch.float64)
    batch = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(ghost(batch), torch.cat([plain(part) for part in batch.split([4, 4, 2])]))
    if momentum is not None:
        torch.testing.assert_close(ghost.running_mean, plain.running_mean)
        torch.testing.assert_close(ghost.running_var, plain.running_var)
    assert ghost.num_batches_tracked == 1  # forwards, not ghosts


@each_layer
@pytest.mark.parametrize("batch_size", [0, 1, 3, 10])
@pytest.mark.parametrize("tracked", [True, False])
def test_evaluation_is_the_plain_layer_at_any_batch_size(ghost_class, plain_class, shape, batch_size, tracked):
    ghost = trained(ghost_class(3, 4, track_running_stats=tracked, remainder="error"), (8, *shape[1:]))
    plain = plain_class(3, track_running_stats=tracked)
    plain.load_state_dict(ghost.state_dict())
    batch = torch.randn(batch_size, *shape[1:])
    if not tracked and batch[:, 0].numel() == 1:
        for layer in (ghost, plain):
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                layer.eval()(batch)
        return
    assert torch.equal(ghost.eval()(batch), plain.eval()(batch))


@each_layer
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}])
def test_state_dicts_are_exchanged_strictly_both_ways(ghost_class, plain_class, shape, options):
    ghost, plain = trained(ghost_class(3, 4, **options), shape), trained(plain_class(3, **options), shape)
    new_plain, new_ghost = plain_class(3, **options), ghost_class(3, 4, **options)
    new_plain.load_state_dict(ghost.state_dict(), strict=True)
    new_ghost.load_state_dict(plain.state_dict(), strict=True)
    assert list(ghost.state_dict()) == list(plain.state_dict())
    for old, new in ((ghost, new_plain), (plain, new_ghost)):
        for key, value in old.state_dict().items():
            assert torch.equal(new.state_dict()[key], value)


@each_layer
def test_the_layer_is_a_plain_layer_to_isinstance(ghost_class, plain_class, shape):
    assert issubclass(ghost_class, plain_class)


@each_layer
def test_a_batch_without_samples_is_counted_as_the_plain_layer_counts_it(ghost_class, plain_class, shape):
    ghost, plain = ghost_class(3, 4), plain_class(3)
    batch = torch.empty(0, *shape[1:])
    assert ghost(batch).shape == plain(batch).shape
    assert all(torch.equal(ghost.state_dict()[key], value) for key, value in plain.state_dict().items())


@settings(deadline=None)
@given(st.lists(st.integers(2, 13), min_size=1, max_size=4), st.integers(2, 6), st.sampled_from([None, 0.2]))
def test_statistics_over_several_forwards_equal_a_naive_computation(batch_sizes, ghost_size, momentum):
    torch.manual_seed(0)
    layer = GhostBatchNorm2d(2, ghost_size, momentum=momentum, running="mean", dtype=torch.float64)
    batches = [torch.randn(size, 2, 2, 2, dtype=torch.float64) for size in batch_sizes]
    mean, var = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    for number, batch in enumerate(batches, start=1):
        layer(batch)
        step = 1 / number if momentum is None else momentum
        ghosts = [ghost.transpose(0, 1).flatten(1) for ghost in batch.split(ghost_size)]
        mean = (1 - step) * mean + step * sum(g.shape[1] * g.mean(1) for g in ghosts) / (4 * len(batch))
        var = (1 - step) * var + step * sum(g.shape[1] * g.var(1) for g in ghosts) / (4 * len(batch))
    torch.testing.assert_close(layer.running_mean, mean)
    torch.testing.assert_close(layer.running_var, var)
    assert layer.num_batches_tracked == len(batches)


@pytest.mark.parametrize("running", ["sequential", "mean"])
def test_without_momentum_statistics_are_the_cumulative_mean_over_forwards(running):
    layer = GhostBatchNorm1d(1, 2, momentum=None, running=running)
    # (0, 2) (4, 10): means 1, 7, variances 2, 18; so mean 4, variance 10.
    layer(torch.tensor([[0.0], [2.0], [4.0], [10.0]]))
    torch.testing.assert_close(layer.running_mean, torch.tensor([4.0]))
    torch.testing.assert_close(layer.running_var, torch.tensor([10.0]))
    # (1, 3, 5), the tail of one joins: mean 3, variance 4; so (4 + 3) / 2 and (10 + 4) / 2.
    layer(torch.tensor([[1.0], [3.0], [5.0]]))
    torch.testing.assert_close(layer.running_mean, torch.tensor([3.5]))
    torch.testing.assert_close(layer.running_var, torch.tensor([7.0]))
    # (0, 2) (3, 6, 9): (2·1 + 3·6) / 5 = 4 and (2·2 + 3·9) / 5 = 6.2; so 11 / 3 and 20.2 / 3.
    layer(torch.tensor([[0.0], [2.0], [3.0], [6.0], [9.0]]))
    torch.testing.assert_close(layer.running_mean, torch.tensor([11 / 3]))
    torch.testing.assert_close(layer.running_var, torch.tensor([20.2 / 3]))
    assert layer.num_batches_tracked == 3


def test_statistics_are_left_alone_when_tracking_is_switched_off_later():
    layer = GhostBatchNorm1d(3, 4)
    layer.track_running_stats = False
    before = copy.deepcopy(layer.state_dict())
    layer(torch.randn(8, 3))
    assert all(torch.equal(layer.state_dict()[key], value) for key, value in before.items())


# --- options and errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"ghost_size": 0}, ValueError, ["ghost_size", "at least 1", "0"]),
        ({"ghost_size": 8.0}, TypeError, ["ghost_size", "integer", "8.0"]),
        ({"ghost_size": None}, TypeError, ["ghost_size", "None"]),
        ({"ghost_size": 8, "remainder": "official"}, ValueError, ["remainder", "'own', 'error'", "'official'"]),
        ({"ghost_size": 8, "running": "last"}, ValueError, ["running", "'sequential', 'mean'", "'last'"]),
    ],
)
def test_bad_options_are_refused_when_the_layer_is_made(options, error, words):
    with pytest.raises(error) as raised:
        GhostBatchNorm2d(3, **options)
    assert all(word in str(raised.value) for word in words)


@pytest.mark.parametrize(
    ("batch", "options"),
    [
        (torch.randn(6, 3), {"remainder": "error"}),
        (torch.randn(1, 3), {}),
        (torch.randn(8, 4), {}),
        (torch.randn(8, 3, 2, 2), {}),
        (torch.randn(8, 3, dtype=torch.float64), {}),
        (torch.randn(8, 3), {"eps": -1.0}),
    ],
)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_forward_that_raises_changes_nothing(batch, options, momentum):
    layer = trained(GhostBatchNorm1d(3, 4, momentum=momentum), (8, 3))
    for name, value in options.items():
        setattr(layer, name, value)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises((ValueError, RuntimeError)):
        layer(batch)
    assert all(torch.equal(layer.state_dict()[key], value) for key, value in before.items())
    assert layer.momentum == momentum


def test_repr_shows_the_ghost_size_and_options_that_are_not_the_default():
    assert repr(GhostBatchNorm2d(3, 16)).endswith("track_running_stats=True, ghost_size=16)")
    shown = repr(GhostBatchNorm2d(3, 16, remainder="error", running="mean"))
    assert shown.endswith("ghost_size=16, remainder=error, running=mean)")


# --- forced number of ghosts -------------------------------------------------------------------------------------


def test_a_forced_number_makes_the_official_cut_and_is_undone():
    model = nn.Sequential(GhostBatchNorm1d(3, 128, dtype=torch.float64), nn.ReLU(), nn.Identity())
    plain = nn.BatchNorm1d(3, dtype=torch.float64)
    batch = torch.randn(848, 3, dtype=torch.float64)
    with force_num_ghosts(model, 16) as same:
        assert same is model
        assert "num_ghosts=16" in repr(model)
        output = model(batch)
    expected = torch.cat([plain(ghost) for ghost in batch.split(53)]).relu()
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(model[0].running_var, plain.running_var)
    assert model[0].num_ghosts == 0
    assert not torch.allclose(model(batch), expected)


def test_a_forced_number_is_undone_after_an_exception_and_nests():
    layer = GhostBatchNorm1d(3, 4)
    with force_num_ghosts(layer, 2):
        with pytest.raises(KeyError), force_num_ghosts(layer, 3):
            raise KeyError
        assert layer.num_ghosts == 2
    assert layer.num_ghosts == 0


def test_a_negative_forced_number_is_refused():
    with pytest.raises(ValueError, match="num_ghosts must be at least 0, got -1"), force_num_ghosts(nn.ReLU(), -1):
        pass


# --- PyTorch's machinery -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_behave_the_same(duplicate):
    layer = trained(GhostBatchNorm1d(3, 4, running="mean", remainder="own"), (8, 3))
    other = duplicate(layer)
    batch = torch.randn(10, 3)
    assert torch.equal(layer(batch), other(batch))
    assert torch.equal(layer.running_var, other.running_var)
    assert repr(layer) == repr(other)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_functional_call_updates_the_buffers_it_is_given(momentum):
    layer = GhostBatchNorm1d(3, 4, momentum=momentum)
    state = {key: value.detach().clone() for key, value in layer.state_dict().items()}
    batch = torch.randn(10, 3)
    output = functional_call(layer, state, (batch,))
    assert layer.num_batches_tracked == 0
    assert torch.equal(output, layer(batch))
    assert all(torch.equal(layer.state_dict()[key], value) for key, value in state.items())


@pytest.mark.parametrize("options", [{}, {"running": "mean"}, {"momentum": None}])
def test_compiles_into_one_graph_with_the_same_result(options):
    torch.compiler.reset()
    eager = GhostBatchNorm2d(3, 4, **options)
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True, backend="aot_eager")
    batches = [torch.randn(10, 3, 4, 4, requires_grad=True) for _ in range(2)]
    for batch in batches:
        twin = batch.detach().clone().requires_grad_()
        output, expected = compiled(twin), eager(batch)
        output.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(output, expected)
        torch.testing.assert_close(twin.grad, batch.grad, atol=1e-4, rtol=1e-4)
    for key, value in eager.state_dict().items():
        torch.testing.assert_close(compiled._orig_mod.state_dict()[key], value)


def test_autocast_keeps_statistics_in_float32():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 3), GhostBatchNorm1d(3, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(torch.randn(10, 5))
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert model[1].running_mean.dtype == model[1].weight.grad.dtype == torch.float32


def test_device_and_dtype_reach_every_tensor():
    layer = GhostBatchNorm3d(3, 4, device="meta", dtype=torch.float64)
    assert {tensor.device.type for tensor in layer.state_dict().values()} == {"meta"}
    assert layer.weight.dtype == layer.running_var.dtype == torch.float64
    assert layer(torch.empty(9, 3, 2, 2, 2, device="meta", dtype=torch.float64)).shape == (9, 3, 2, 2, 2)


def test_examples_in_the_docstrings():
    assert doctest.testmod(gbnlib.nn.layers).failed == 0


# --- what the plain layer does with odd input --------------------------------------------------------------------

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def outcome(layer, batch):
    """The dtype of a training forward's output, or PyTorch's refusal."""
    try:
        return layer(batch).dtype
    except RuntimeError as refusal:
        return str(refusal)


@pytest.mark.parametrize("of_input", DTYPES)
@pytest.mark.parametrize("of_parameters", DTYPES)
@pytest.mark.parametrize("of_buffers", DTYPES)
def test_mixed_dtypes_are_served_or_refused_as_by_the_plain_layer(of_input, of_parameters, of_buffers):
    results = []
    for layer in (nn.BatchNorm1d(3), GhostBatchNorm1d(3, 4)):
        layer.to(of_parameters)
        layer.running_mean, layer.running_var = layer.running_mean.to(of_buffers), layer.running_var.to(of_buffers)
        results.append(outcome(layer, torch.randn(8, 3).to(of_input)))
    assert results[0] == results[1]


@each_layer
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_a_layer_without_channels_passes_nothing_on(ghost_class, plain_class, shape, training, affine):
    layer = ghost_class(0, 4, affine=affine).train(training)
    batch = torch.randn(shape[0], 0, *shape[2:], requires_grad=True)
    layer(batch).sum().backward()
    assert layer(batch).shape == batch.grad.shape == batch.shape
    assert layer.num_batches_tracked == 2 * training


def test_a_layer_pickled_before_an_option_existed_has_its_default():
    layer = trained(GhostBatchNorm1d(3, 4), (8, 3))
    old, batch = copy.deepcopy(layer), torch.randn(10, 3)
    for option in ("remainder", "running", "num_ghosts"):
        del vars(old)[option]
    old = pickle.loads(pickle.dumps(old))
    assert repr(old) == repr(layer)
    assert torch.equal(old(batch), layer(batch))
    assert type(revert_ghost_batchnorm(old)) is nn.BatchNorm1d
