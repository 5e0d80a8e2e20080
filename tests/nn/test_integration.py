"""Conversion of models that others wrote: torchvision's resnet18 and vgg11_bn, and two of timm."""

import copy
import pickle

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.func import functional_call

from gbnlib.nn import convert_ghost_batchnorm, frozen_statistics, revert_ghost_batchnorm
from gbnlib.nn.layers import GhostBatchNorm


def vgg11_bn():
    model = torchvision.models.vgg11_bn(init_weights=False)
    model.classifier = nn.Linear(512 * 7 * 7, 10)  # its own has 120 million weights and no normalization
    return model


MODELS = {
    "torchvision resnet18": (lambda: torchvision.models.resnet18(num_classes=10), 20),
    "torchvision vgg11_bn": (vgg11_bn, 8),
    "timm resnet10t": (lambda: timm.create_model("resnet10t", num_classes=10), 14),
}


@pytest.fixture(scope="module", params=MODELS)
def original(request):
    """A model as its makers give it, and how many batch normalization layers it has."""
    torch.manual_seed(0)
    make, count = MODELS[request.param]
    return make(), count


def images(size=8):
    return torch.randn(size, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def ghost_layers(model):
    return [layer for layer in model.modules() if isinstance(layer, GhostBatchNorm)]


def train_step(model):
    """One update on 8 images of 32 × 32; return the loss before it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    optimizer.zero_grad()
    loss = F.cross_entropy(model.train()(images()), torch.arange(8))
    loss.backward()
    optimizer.step()
    return loss.item()


def same_output(first, second):
    with torch.no_grad():
        return torch.equal(first.eval()(images(3)), second.eval()(images(3)))


def test_a_converted_model_trains_and_exchanges_its_state_both_ways(original):
    plain, count = copy.deepcopy(original[0]), original[1]
    ghost = convert_ghost_batchnorm(copy.deepcopy(plain), 4)
    assert len(ghost_layers(ghost)) == count
    assert all(torch.isfinite(torch.tensor([train_step(plain), train_step(ghost)])))
    assert {int(layer.num_batches_tracked) for layer in ghost_layers(ghost)} == {1}
    assert not same_output(plain, ghost)
    back, forth = copy.deepcopy(original[0]), convert_ghost_batchnorm(copy.deepcopy(original[0]), 4)
    back.load_state_dict(ghost.state_dict(), strict=True)
    forth.load_state_dict(plain.state_dict(), strict=True)
    assert same_output(back, ghost)
    assert same_output(forth, plain)


def test_a_reverted_model_equals_the_original_bit_for_bit(original):
    model = copy.deepcopy(original[0])
    train_step(model)
    reverted = revert_ghost_batchnorm(convert_ghost_batchnorm(copy.deepcopy(model), 4))
    assert repr(reverted) == repr(model)
    assert not ghost_layers(reverted)
    assert same_output(reverted, model)
    assert train_step(reverted) == train_step(model)
    assert all(map(torch.equal, reverted.state_dict().values(), model.state_dict().values()))


def test_a_model_with_one_ghost_trains_as_the_original(original):
    plain, ghost = copy.deepcopy(original[0]), convert_ghost_batchnorm(copy.deepcopy(original[0]), 8)
    assert train_step(ghost) == pytest.approx(train_step(plain), rel=1e-5)


def test_a_timm_model_with_fused_activations_is_refused_by_name_and_place():
    model = timm.create_model("test_efficientnet")
    norms = [type(layer) for layer in model.modules()]
    with pytest.raises(TypeError) as raised:
        convert_ghost_batchnorm(model, 4)
    assert "timm.layers.norm_act.BatchNormAct2d at 'bn1'" in str(raised.value)
    assert [type(layer) for layer in model.modules()] == norms


def test_a_timm_model_with_fused_activations_can_have_its_statistics_frozen():
    model = timm.create_model("test_efficientnet").train()
    before = copy.deepcopy(model.state_dict())
    with frozen_statistics(model):
        model(images())
    assert all(map(torch.equal, model.state_dict().values(), before.values()))


# --- PyTorch's machinery, on a converted model -------------------------------------------------------------------


@pytest.fixture
def converted():
    torch.manual_seed(0)
    return convert_ghost_batchnorm(timm.create_model("test_resnet", num_classes=10), 3)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_train_the_same(converted, duplicate):
    other = duplicate(converted)
    assert len(ghost_layers(other)) == len(ghost_layers(converted)) > 0
    assert train_step(other) == train_step(converted)
    assert all(map(torch.equal, other.state_dict().values(), converted.state_dict().values()))


def test_functional_call_changes_the_state_it_is_given_only(converted):
    before = copy.deepcopy(converted.state_dict())
    state = copy.deepcopy(before)
    output = functional_call(converted, state, (images(),))
    assert all(map(torch.equal, converted.state_dict().values(), before.values()))
    assert torch.equal(output, converted(images()))
    assert all(map(torch.equal, converted.state_dict().values(), state.values()))


def test_compiles_into_one_graph_with_the_same_result():
    torch.compiler.reset()
    torch.manual_seed(0)
    block = convert_ghost_batchnorm(torchvision.models.resnet.BasicBlock(3, 3), 3)
    eager = nn.Sequential(block, nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True, backend="aot_eager")
    assert train_step(compiled) == pytest.approx(train_step(eager), rel=1e-4)
    for value, expected in zip(compiled._orig_mod.state_dict().values(), eager.state_dict().values(), strict=True):
        torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-4)
