"""Every network trains on every data set it belongs to, from files in their real formats."""

from pathlib import Path

import pytest
import torch

from gbnlib.experiments import RunConfig
from gbnlib.experiments.preparing import prepare
from gbnlib.regimes import Phase
from gbnlib.training import Execution, train
from gbnlib.training.probes import weight_tensors

PAIRS = [
    *(("f1", name) for name in ("mnist", "fashion-mnist")),
    *((network, name) for network in ("c1", "resnet44", "vgg") for name in ("cifar10", "cifar10-jpeg")),
    *((network, name) for network in ("c3", "wresnet16-4") for name in ("cifar100", "tiny-imagenet-32-100")),
    *(("alexnet", name) for name in ("imagenet", "tiny-imagenet-32-224")),
]


@pytest.mark.parametrize(("network", "dataset"), PAIRS)
def test_a_network_trains_on_its_data(tiny_root: Path, network: str, dataset: str) -> None:
    config = RunConfig(
        network=network,
        dataset=dataset,
        train_size=12,
        batch_size=8,
        base_batch=4,
        ghost_size=4,
        lr_rule="sqrt",
        regime=(Phase(epoch=0, lr=0.01, momentum=0.9),),
        epochs=1,
        clip_norm=5.0,
    )
    training = prepare(config, Execution(device="cpu", threads=1))
    weights = weight_tensors(training.model)
    before = [weight.detach().clone() for weight in weights]
    train(training)
    assert training.status == "finished" and training.update == 2
    assert all(torch.isfinite(torch.tensor(row)).all() for row in training.history)
    assert not any(torch.equal(*pair) for pair in zip(before, weights, strict=True))
