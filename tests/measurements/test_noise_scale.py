"""The noise scale along a training: after one update it is that of weights that a plain loop moves once."""

import pytest
import torch
import torch.nn.functional as F

from gbnlib import data
from gbnlib.experiments.initial import initial_network
from gbnlib.measurements.noise_scale import measure_noise_scale
from gbnlib.training import noise_scale


def test_it_is_that_of_the_weights_along_the_training() -> None:
    options = {"network": "f1", "dataset": "digits", "train_size": 640, "batch_size": 64, "epochs": 1, "rate": 0.1}
    settings = {"momentum": 0.9, "weight_decay": 0.0, "sample": 32, "batches": 20, "looks": 3, "seeds": 2, "threads": 1}
    frame = measure_noise_scale(**options, **settings)
    first, *later = frame[frame.seed == 1].to_dict("records")
    assert first["update"] == 1 and later[-1]["update"] <= 10
    source = data.load("digits").subset(640)
    model = initial_network("f1", source.card, 1).train()
    images, labels = next(source.batches(64, 1, augment=False).epoch(0))
    gradients = torch.autograd.grad(F.cross_entropy(model(images), labels), list(model.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter -= 0.1 * gradient
    expected = noise_scale(model, source.batches(32, 1, augment=False).epoch(2), batches=20)
    assert first["scale"] == pytest.approx(expected.scale, rel=1e-3)
    assert (first["batches"], first["batch_size"]) == (20, 32)
    assert all(row["scale"] != first["scale"] for row in later)
