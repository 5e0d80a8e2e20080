"""Converted models in the tools of PyTorch and torchvision that take models apart, against the plain model."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx
from torchvision.models.feature_extraction import create_feature_extractor

from gbnlib.nn import GhostBatchNorm1d, GhostBatchNorm2d, convert_ghost_batchnorm, revert_ghost_batchnorm


def images(size=6):
    return torch.randn(size, 3, 32, 32)


@pytest.fixture
def trained():
    """A converted ResNet that has seen a batch, in evaluation, and the plain model with its weights."""
    torch.manual_seed(0)
    model = convert_ghost_batchnorm(torchvision.models.resnet18(), 3)
    model(images())
    return model.eval(), revert_ghost_batchnorm(copy.deepcopy(model)).eval()


def test_symbolic_traces_and_extracted_features_are_those_of_the_plain_model(trained):
    model, plain = trained
    batch = images()
    assert torch.equal(torch.fx.symbolic_trace(model)(batch), plain(batch))
    for node in ("layer4", "layer1.0.bn1"):
        found, expected = (create_feature_extractor(either, [node])(batch)[node] for either in (model, plain))
        assert torch.equal(found, expected)


def test_a_trace_trains_by_ghosts(trained):
    model = trained[0].train()
    twin, traced, batch = copy.deepcopy(model), torch.fx.symbolic_trace(model), images()
    assert torch.equal(traced(batch), twin(batch))
    assert all(map(torch.equal, traced.state_dict().values(), twin.state_dict().values()))


def test_a_model_prepared_for_quantization_computes_the_same(trained):
    batch = images()
    prepared = [
        quantize_fx.prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping("x86"), (batch,)) for model in trained
    ]
    torch.testing.assert_close(prepared[0](batch), prepared[1](batch), rtol=1e-4, atol=1e-4)
    assert quantize_fx.convert_fx(prepared[0])(batch).isfinite().all()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated")
def test_torchscript_evaluates_and_refuses_to_train(trained):
    model, plain = trained
    scripted, batch = torch.jit.script(model), images()
    assert torch.equal(scripted(batch), plain(batch))
    with pytest.raises(torch.jit.Error, match="TorchScript has no ghosts"):
        scripted.train()(batch)


@pytest.mark.parametrize("options", [{"affine": False}, {"track_running_stats": False}, {"momentum": None}])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated")
def test_layers_with_options_are_traced_and_scripted(options):
    ghost, plain = GhostBatchNorm2d(3, 2, **options).eval(), nn.BatchNorm2d(3, **options).eval()
    expected = plain(batch := images())
    assert torch.equal(torch.jit.script(ghost)(batch), expected)
    assert torch.equal(torch.fx.symbolic_trace(nn.Sequential(ghost))(batch), expected)


def test_exported_programs_are_those_of_the_plain_model(trained):
    model, plain = trained
    batch = images()
    assert torch.equal(torch.export.export(model, (batch,)).module()(batch), plain(batch))


def test_convert_sync_batchnorm_replaces_ghost_layers_as_both_docstrings_say():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(GhostBatchNorm1d(3, 4)))
    assert type(model[0]) is nn.SyncBatchNorm
    for documented in (convert_ghost_batchnorm, GhostBatchNorm1d):
        assert "convert_sync_batchnorm" in documented.__doc__
