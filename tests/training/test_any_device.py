"""Every network trains, evaluates and is probed on the meta device: a hidden use of the CPU would fail here.

The meta device computes nothing. It refuses a tensor of another device and any reading of a value, as a GPU refuses the
first and waits for the second.
"""

import pytest
import torch

from gbnlib.data import Batches
from gbnlib.nn import NETWORKS, build_network
from gbnlib.regimes import Phase, Regime
from gbnlib.training import BatchDivision, DistanceProbe, Training
from gbnlib.training.evaluation import evaluation_sums
from gbnlib.training.step import take_step

SIZES = {"f1": (1, 28), "alexnet": (3, 224)}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("options", [{}, {"noise": 0.5, "clip_norm": 0.0}])
def test_a_step_an_evaluation_and_a_probe_run_anywhere(name: str, options: dict) -> None:
    channels, size = SIZES.get(name, (3, 32))
    images = torch.zeros(20, channels, size, size, dtype=torch.uint8, device="meta")
    labels = torch.zeros(20, dtype=torch.int64, device="meta")
    model = build_network(name, 10, channels, size, ghost_size=4).to("meta")
    batches = Batches(images, labels, 12, 0, mean=[0.5] * channels, std=[0.5] * channels, pad=2, flip=True)
    training = Training(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        Regime((Phase(epoch=0, lr=0.1),), epochs=1),
        batches,
        (images, labels),
        DistanceProbe(model, 1, 1),
        division=BatchDivision(12, 4, micro_batch=8),
        **{"clip_norm": 5.0, **options},
    )
    noise = torch.zeros(20, device="meta") if options.get("noise") else None
    for batch in batches.epoch(0):
        sums = take_step(training, training.cut(*batch, noise))
        training.update += 1
        assert (sums.shape, sums.device.type) == ((3,), "meta")
    assert training.probe.distances().device.type == "meta"
    assert evaluation_sums(model, images, labels, batches).device.type == "meta"
