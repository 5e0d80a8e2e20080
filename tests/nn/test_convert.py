"""Conversion of existing models: what must stay, what changes, and what is refused before anything changes."""

import copy

import pytest
import torch
from torch import nn

from gbnlib.nn import (
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    GhostBatchNorm3d,
    convert_ghost_batchnorm,
    revert_ghost_batchnorm,
)

GHOST_OF = {
    nn.BatchNorm1d: GhostBatchNorm1d,
    nn.BatchNorm2d: GhostBatchNorm2d,
    nn.BatchNorm3d: GhostBatchNorm3d,
}


class Shared(nn.Module):
    """A model that uses one batch normalization layer in two places, and nests another."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.again = self.norm
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Sequential(nn.BatchNorm1d(5, affine=False)))

    def forward(self, images):
        return self.head(self.again(self.norm(self.stem(images)).relu()))


class CustomNorm(nn.BatchNorm2d):
    """A subclass whose behaviour a conversion would lose."""


class CustomGhost(GhostBatchNorm2d):
    """A subclass of a ghost layer."""


def images(size=12):
    return torch.randn(size, 3, 4, 4)


def tensors(model):
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def classes(model):
    return [type(layer) for layer in model.modules()]


# --- what changes, what stays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain_class", GHOST_OF)
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}])
def test_a_bare_layer_is_converted_and_reverted(plain_class, options):
    layer = plain_class(3, eps=1e-3, **options)
    before, settings = tensors(layer), repr(layer)
    assert convert_ghost_batchnorm(layer, 8, remainder="error", running="mean") is layer
    assert type(layer) is GHOST_OF[plain_class]
    assert (layer.ghost_size, layer.remainder, layer.running) == (8, "error", "mean")
    assert all(tensor is before[name] for name, tensor in tensors(layer).items())
    assert revert_ghost_batchnorm(layer) is layer
    assert type(layer) is plain_class
    assert repr(layer) == settings
    assert vars(layer).keys() == vars(plain_class(3)).keys()


def test_a_converted_model_computes_what_a_model_built_with_ghost_layers_does():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    ghost = nn.Sequential(nn.Linear(6, 4), GhostBatchNorm1d(4, 5), nn.ReLU(), nn.Linear(4, 2))
    ghost.load_state_dict(plain.state_dict())
    batch = torch.randn(13, 6)
    assert torch.equal(convert_ghost_batchnorm(plain, 5)(batch), ghost(batch))
    assert torch.equal(plain[1].running_mean, ghost[1].running_mean)


def test_every_parameter_and_buffer_object_stays():
    model = Shared()
    before, keys = tensors(model), list(model.state_dict())
    convert_ghost_batchnorm(model, 4)
    assert all(tensor is before[name] for name, tensor in tensors(model).items())
    assert list(model.state_dict()) == keys
    revert_ghost_batchnorm(model)
    assert all(tensor is before[name] for name, tensor in tensors(model).items())


def test_an_optimizer_made_before_still_trains_the_model():
    model = Shared()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    convert_ghost_batchnorm(model, 4)
    before = copy.deepcopy(model.state_dict())
    model(images()).square().sum().backward()
    optimizer.step()
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_a_layer_shared_in_two_places_stays_shared():
    model = Shared()
    convert_ghost_batchnorm(model, 4)
    assert type(model.norm) is GhostBatchNorm2d
    assert model.norm is model.again
    model(images())
    assert model.norm.num_batches_tracked == 2
    assert revert_ghost_batchnorm(model).norm is model.again


def test_hooks_stay_and_run():
    model, calls = Shared(), []
    model.norm.register_forward_hook(lambda *_: calls.append("forward"))
    model.norm.register_forward_pre_hook(lambda *_: calls.append("before"))
    model.norm.weight.register_hook(lambda _: calls.append("gradient"))
    convert_ghost_batchnorm(model, 4)(images()).sum().backward()
    assert calls == ["before", "forward"] * 2 + ["gradient"]


@pytest.mark.parametrize("training", [True, False])
def test_mode_dtype_and_device_stay(training):
    model = Shared().train(training).to(torch.float64)
    model.norm.train(not training)
    convert_ghost_batchnorm(model, 4)
    assert (model.norm.training, model.head.training) == (not training, training)
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float64}
    meta = convert_ghost_batchnorm(Shared().to("meta"), 4)
    assert {tensor.device.type for tensor in tensors(meta).values()} == {"meta"}
    assert {tensor.dtype for tensor in convert_ghost_batchnorm(Shared().bfloat16(), 4).parameters()} == {torch.bfloat16}


def test_frozen_parameters_and_a_missing_bias_stay():
    layer = nn.BatchNorm1d(3)
    layer.weight.requires_grad_(False)
    layer.register_parameter("bias", None)
    convert_ghost_batchnorm(layer, 2)
    assert not layer.weight.requires_grad
    assert layer.bias is None
    assert layer(torch.randn(4, 3)).shape == (4, 3)


def test_converting_again_applies_the_options_of_the_last_call():
    model = convert_ghost_batchnorm(Shared(), 4, remainder="error", running="mean")
    before = tensors(model)
    convert_ghost_batchnorm(model, 6)
    assert (model.norm.ghost_size, model.norm.remainder, model.norm.running) == (6, "own", "sequential")
    assert classes(model) == classes(convert_ghost_batchnorm(Shared(), 6))
    assert all(tensor is before[name] for name, tensor in tensors(model).items())


def test_models_without_batch_normalization_are_returned_as_they_are():
    model = nn.Sequential(nn.Linear(2, 2), nn.InstanceNorm1d(2), nn.GroupNorm(1, 2))
    before = classes(model)
    assert convert_ghost_batchnorm(model, 4) is model
    assert revert_ghost_batchnorm(model) is model
    assert classes(model) == before


def test_reverting_leaves_plain_layers_and_their_subclasses_alone():
    model = nn.Sequential(nn.BatchNorm2d(3), CustomNorm(3), GhostBatchNorm2d(3, 4))
    revert_ghost_batchnorm(model)
    assert classes(model)[1:] == [nn.BatchNorm2d, CustomNorm, nn.BatchNorm2d]


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (CustomNorm(3), ["CustomNorm", "only nn.BatchNorm1d, 2d and 3d"]),
        (CustomGhost(3, 4), ["CustomGhost"]),
        (nn.SyncBatchNorm(3), ["SyncBatchNorm", "all devices", "before"]),
        (nn.LazyBatchNorm2d(), ["LazyBatchNorm2d", "run one batch"]),
    ],
)
def test_other_batch_normalization_is_refused_before_anything_changes(layer, words):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(nn.ReLU(), layer), GhostBatchNorm2d(3, 7))
    before = classes(model)
    with pytest.raises(TypeError) as raised:
        convert_ghost_batchnorm(model, 4)
    assert all(word in str(raised.value) for word in [*words, "'1.1'"])
    assert classes(model) == before
    assert model[2].ghost_size == 7
    with pytest.raises(TypeError, match=type(layer).__name__):
        convert_ghost_batchnorm(layer, 4)


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((0,), {}, ValueError),
        (("8",), {}, TypeError),
        ((8,), {"remainder": "drop"}, ValueError),
        ((8,), {"running": "last"}, ValueError),
        ((8,), {"ghosts": 3}, TypeError),
    ],
)
def test_bad_options_are_refused_before_anything_changes(arguments, options, error):
    model = Shared()
    before = classes(model)
    with pytest.raises(error):
        convert_ghost_batchnorm(model, *arguments, **options)
    assert classes(model) == before


def test_reverting_a_subclass_of_a_ghost_layer_is_refused_before_anything_changes():
    model = nn.Sequential(GhostBatchNorm2d(3, 4), CustomGhost(3, 4))
    before = classes(model)
    with pytest.raises(TypeError, match=r"CustomGhost at '1'"):
        revert_ghost_batchnorm(model)
    assert classes(model) == before


def test_a_lazy_layer_that_has_seen_a_batch_is_converted():
    model = nn.Sequential(nn.LazyBatchNorm2d())
    model(images())
    assert type(convert_ghost_batchnorm(model, 4)[0]) is GhostBatchNorm2d
