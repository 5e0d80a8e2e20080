"""The norm of the initial weights, against the probe of a run that is about to start."""

import pytest
import torch

from gbnlib import experiments
from gbnlib.experiments import runner
from gbnlib.training import DistanceProbe, Execution


@pytest.mark.parametrize("method", ["SB", "LB+LR+GBN"])
def test_the_norm_is_the_distance_of_the_initial_weights_from_zero(method: str) -> None:
    (config,) = [c for c in experiments.plan("table1", "smoke", seeds=1) if c.method == method]
    training = runner.prepare(config, Execution(device="cpu"))
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.zero_()
    norms = experiments.initial_norms(config.network, config.dataset, config.seed)
    assert list(norms) == list(DistanceProbe.quantities)
    assert list(norms.values()) == pytest.approx(training.probe.distances().tolist())


def test_the_norm_is_of_its_seed_and_leaves_the_state_of_torch_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = (experiments.initial_norms("f1", "digits", seed) for seed in (100, 101))
    assert first["weights"] != second["weights"] and torch.equal(torch.random.get_rng_state(), before)
