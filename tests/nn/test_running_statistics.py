"""Running statistics: frozen for a repeated forward, composed over processes, recomputed after training."""

import copy
import doctest
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn
from torch.utils.checkpoint import checkpoint

import gbnlib.nn.running_statistics
from gbnlib.nn import (
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    compose_running_statistics,
    convert_ghost_batchnorm,
    frozen_statistics,
)


class CustomNorm(nn.BatchNorm2d):
    """A subclass as other libraries have them."""


NORMS = {
    "ghost": partial(GhostBatchNorm2d, ghost_size=4),
    "ghost, mean": partial(GhostBatchNorm2d, ghost_size=4, running="mean"),
    "ghost, cumulative": partial(GhostBatchNorm2d, ghost_size=4, momentum=None),
    "ghost, one": partial(GhostBatchNorm2d, ghost_size=10),
    "plain": nn.BatchNorm2d,
    "subclass": CustomNorm,
}


def block(norm):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), norm(4), nn.ReLU(), nn.Conv2d(4, 5, 3), norm(5), nn.ReLU())


def images():
    return torch.randn(10, 3, 7, 7, generator=torch.Generator().manual_seed(1))


def step(function, model):
    """Run forward and backward; return the output, the gradients, the state and the gradient of the input."""
    batch = images().requires_grad_()
    output = function(batch)
    output.square().sum().backward()
    return [output, *(parameter.grad for parameter in model.parameters()), *model.state_dict().values(), batch.grad]


def equal(first, second):
    return len(first) == len(second) and all(map(torch.equal, first, second))


# --- frozen ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_a_checkpointed_block_ends_as_the_plain_one(norm):
    plain, model = block(norm), block(norm)

    def contexts():
        return nullcontext(), frozen_statistics(model)

    checkpointed = partial(checkpoint, model, use_reentrant=False, context_fn=contexts)
    for _ in range(2):
        assert equal(step(checkpointed, model), step(plain, plain))
    assert model[1].num_batches_tracked == 2


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_without_freezing_a_checkpointed_block_counts_twice(norm):
    plain, model = block(norm), block(norm)
    outcome = step(partial(checkpoint, model, use_reentrant=False), model)
    assert not equal(outcome, step(plain, plain))
    assert model[1].num_batches_tracked == 2
    if norm is not NORMS["ghost, cumulative"]:  # the mean of a value and itself is that value
        assert not torch.allclose(model[1].running_var, plain[1].running_var)


def test_a_compiled_checkpoint_counts_once_without_freezing():
    torch.compiler.reset()
    plain, model = block(NORMS["ghost"]), block(NORMS["ghost"])
    compiled = torch.compile(partial(checkpoint, model, use_reentrant=False), backend="aot_eager")
    for value, expected in zip(step(compiled, model), step(plain, plain), strict=True):
        torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("training", [True, False])
def test_frozen_layers_normalise_as_their_mode_says(norm, training):
    model = block(norm)
    model(images())
    model.train(training)
    before = copy.deepcopy(model.state_dict())
    buffers = dict(model.named_buffers())
    with frozen_statistics(model) as same:
        assert same is model
        output = model(images())
    assert equal(list(model.state_dict().values()), list(before.values()))
    assert all(buffer is buffers[name] for name, buffer in model.named_buffers())
    assert torch.equal(output, model(images()))


def test_an_exception_unfreezes_and_blocks_nest():
    model = block(NORMS["ghost"])
    with frozen_statistics(model):
        with pytest.raises(RuntimeError), frozen_statistics(model):
            model(torch.randn(10, 9, 7, 7))
        model(images())
    with pytest.raises(KeyError), frozen_statistics(model):
        model(images())
        raise KeyError
    assert model[1].num_batches_tracked == 0
    assert torch.equal(model[1].running_mean, torch.zeros(4))
    model(images())
    assert model[1].num_batches_tracked == 1


def test_models_without_running_statistics_can_be_frozen():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), GhostBatchNorm2d(4, 4, track_running_stats=False))
    with frozen_statistics(model):
        assert model(images()).shape == (10, 4, 5, 5)
    with frozen_statistics(nn.ReLU()):
        pass


# --- composed ----------------------------------------------------------------------------------------------------


def test_composition_against_a_value_derived_by_hand():
    # η = 1/2 from 8. Rank 0: ghosts 0, 4 give 4, 4. Rank 1: ghost 2 gives 5. One process: 8, 4, 4, 3.
    composed = compose_running_statistics(torch.tensor(8.0), [torch.tensor(4.0), torch.tensor(5.0)], [2, 1], 0.5)
    assert composed == 3


@pytest.mark.parametrize("sizes", [[12], [8, 8, 4], [4, 8], [8, 10], [4, 0, 4]])
def test_composition_over_shards_equals_one_process(sizes):
    torch.manual_seed(0)
    whole = GhostBatchNorm1d(3, 4, momentum=0.3, dtype=torch.float64)
    whole(torch.randn(8, 3, dtype=torch.float64))
    ranks = [copy.deepcopy(whole) for _ in sizes]
    before = torch.cat([whole.running_mean, whole.running_var])
    batch = torch.randn(sum(sizes), 3, dtype=torch.float64) + torch.arange(sum(sizes))[:, None]
    whole(batch)
    for rank, shard in zip(ranks, batch.split(sizes), strict=True):
        rank(shard)
    after = [torch.cat([rank.running_mean, rank.running_var]) for rank in ranks]
    composed = compose_running_statistics(before, after, [-(-size // 4) for size in sizes], 0.3)
    torch.testing.assert_close(composed, torch.cat([whole.running_mean, whole.running_var]))


@pytest.mark.parametrize("options", [{"running": "mean"}, {"momentum": None}])
def test_means_over_forwards_compose_as_the_mean_over_shards(options):
    torch.manual_seed(0)
    whole = GhostBatchNorm1d(3, 4, dtype=torch.float64, **options)
    whole(torch.randn(8, 3, dtype=torch.float64))
    ranks = [copy.deepcopy(whole) for _ in range(2)]
    batch = torch.randn(12, 3, dtype=torch.float64)
    whole(batch)
    for rank, shard in zip(ranks, batch.split([8, 4]), strict=True):
        rank(shard)
    torch.testing.assert_close(whole.running_var, (8 * ranks[0].running_var + 4 * ranks[1].running_var) / 12)


@pytest.mark.parametrize(
    ("num_ghosts", "error", "words"),
    [([2], ValueError, "2 statistics and num_ghosts 1"), ([2, -1], ValueError, "-1"), ([2, 1.0], TypeError, "1.0")],
)
def test_bad_numbers_of_ghosts_are_refused(num_ghosts, error, words):
    with pytest.raises(error, match=words):
        compose_running_statistics(torch.ones(3), [torch.ones(3)] * 2, num_ghosts)


# --- recomputed --------------------------------------------------------------------------------------------------


def test_a_forward_over_32_ghosts_forgets_nearly_all():
    layer = GhostBatchNorm1d(1, 2, momentum=0.1)
    layer.running_mean.fill_(1)
    layer(torch.tensor([[-1.0], [1.0]]).repeat(32, 1))  # each ghost has mean 0
    torch.testing.assert_close(layer.running_mean, torch.tensor([0.9**32]))
    assert f"{1 - 0.9**32:.1%}" == "96.6%"


def test_recomputed_statistics_are_the_weighted_mean_over_all_ghosts():
    model = convert_ghost_batchnorm(block(nn.BatchNorm2d).double(), 4)
    batches = torch.randn(3, 10, 3, 7, 7, dtype=torch.float64)
    inputs = {1: [], 4: []}
    for index, seen in inputs.items():
        model[index].register_forward_pre_hook(lambda layer, args, seen=seen: seen.extend(args[0].split(4)))
    model(batches[0] + 5)
    for seen in inputs.values():
        seen.clear()
    update_bn(batches, model)
    for index, ghosts in inputs.items():
        assert [len(ghost) for ghost in ghosts] == [4, 4, 2] * 3
        values = [ghost.transpose(0, 1).flatten(1) for ghost in ghosts]
        weights = [len(ghost) / 30 for ghost in ghosts]
        mean = sum(weight * value.mean(1) for weight, value in zip(weights, values, strict=True))
        var = sum(weight * value.var(1) for weight, value in zip(weights, values, strict=True))
        torch.testing.assert_close(model[index].running_mean, mean)
        torch.testing.assert_close(model[index].running_var, var)
        assert model[index].momentum == 0.1


def test_recomputed_statistics_differ_from_those_of_plain_layers_by_the_spread_of_the_ghosts():
    # Ghosts (0, 2), (4, 6): mean 3 for both; variances 2 and 2, and of the whole batch (9 + 1 + 1 + 9) / 3 = 20 / 3.
    loader = [torch.tensor([[0.0], [2.0], [4.0], [6.0]])] * 2
    ghost, plain = GhostBatchNorm1d(1, 2), nn.BatchNorm1d(1)
    for layer in (ghost, plain):
        update_bn(loader, layer)
        torch.testing.assert_close(layer.running_mean, torch.tensor([3.0]))
    torch.testing.assert_close(ghost.running_var, torch.tensor([2.0]))
    torch.testing.assert_close(plain.running_var, torch.tensor([20 / 3]))


@pytest.mark.parametrize("module", [gbnlib.nn, gbnlib.nn.running_statistics], ids=lambda module: module.__name__)
def test_examples_in_the_docstrings(module):
    outcome = doctest.testmod(module)
    assert outcome.failed == 0 < outcome.attempted
