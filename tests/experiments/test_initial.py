"""The norm of the initial weights, against the probe of a run that is about to start."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gbnlib import experiments
from gbnlib.experiments import preparing
from gbnlib.nn import build_network
from gbnlib.training import DistanceProbe, Execution


@pytest.mark.parametrize("method", ["SB", "LB+LR+GBN"])
def test_the_norm_is_the_distance_of_the_initial_weights_from_zero(method: str) -> None:
    (config,) = [c for c in experiments.plan("table1", "smoke", seeds=1) if c.method == method]
    training = preparing.prepare(config, Execution(device="cpu"))
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.zero_()
    norms = experiments.initial_norms(config.network, config.dataset, config.seed, config.initialisation)
    assert list(norms) == list(DistanceProbe.quantities)
    assert list(norms.values()) == pytest.approx(training.probe.distances().tolist())


def test_the_norm_is_of_its_seed_and_leaves_the_state_of_torch_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = (experiments.initial_norms("f1", "digits", seed) for seed in (100, 101))
    assert first["weights"] != second["weights"] and torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("network", ["f1", "c1", "c3", "alexnet"])
def test_in_2017_bn_weights_are_uniform_and_other_weights_within_one_over_the_root_of_the_fan_in(network: str) -> None:
    """Of n values uniform in [0, 1] the mean is ½ ± 1/√(12 n), and the largest is short of 1 by about 1/n."""
    size = 224 if network == "alexnet" else 28
    torch.manual_seed(0)
    model = build_network(network, 10, 3, size, initialisation="2017")
    norms = torch.cat([layer.weight for layer in model.modules() if isinstance(layer, _BatchNorm)]).detach()
    assert norms.min() >= 0 and norms.max() <= 1 and norms.max() > 1 - 20 / len(norms)
    assert abs(norms.mean() - 0.5) < 4 / (12 * len(norms)) ** 0.5
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = layer.weight[0].numel() ** -0.5  # weight[0]: what one output value is made of
            assert 0.99 * bound < layer.weight.abs().max() <= bound
        if isinstance(layer, _BatchNorm):
            assert not layer.bias.any()


def test_in_2017_only_what_was_drawn_otherwise_differs() -> None:
    models = []
    for initialisation in ("today", "2017"):
        torch.manual_seed(0)
        models.append(build_network("f1", 10, 1, 28, initialisation=initialisation).state_dict())
    changed = [name for name in models[0] if not torch.equal(models[0][name], models[1][name])]
    assert changed == [f"{block}.1.weight" for block in range(1, 6)]


@pytest.mark.parametrize("network", ["resnet44", "wresnet16-4", "vgg"])
def test_networks_that_set_their_weights_are_the_same_in_2017(network: str) -> None:
    models = []
    for initialisation in ("today", "2017"):
        torch.manual_seed(0)
        models.append(build_network(network, 10, 3, 32, initialisation=initialisation).state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_an_unknown_initialisation_is_refused() -> None:
    with pytest.raises(ValueError, match="2017"):
        build_network("f1", 10, 1, 28, initialisation="2016")
