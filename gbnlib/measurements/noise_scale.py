"""The gradient noise scale along a training, beside the batch at which more of it stops paying."""

from dataclasses import asdict

import pandas as pd
import torch
from torch.nn.utils import vector_to_parameters

from gbnlib import data
from gbnlib.measurements.snapshots import build, in_threads, snapshots
from gbnlib.regimes import Phase, Regime
from gbnlib.training import Execution, noise_scale


def measure_noise_scale(
    network: str,
    dataset: str,
    train_size: int,
    batch_size: int,
    epochs: int,
    rate: float,
    momentum: float,
    weight_decay: float,
    sample: int,
    batches: int,
    looks: int,
    seeds: int,
    threads: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """The noise scale at log-spaced updates of a training at a constant rate: a row a seed and update.

    The columns are those of `training.NoiseScale`, from `batches` batches of `sample` images without augmentation, in
    training mode; every `looks`-th of the updates that are kept is looked at.
    """
    regime = Regime((Phase(0, lr=rate, momentum=momentum, weight_decay=weight_decay),), epochs)
    place, source, rows = Execution(device=device).torch_device(), data.load(dataset).subset(train_size), []
    with in_threads(threads):
        for seed in range(seeds):
            kept = snapshots(network, source, batch_size, regime, 0.0, seed, place, augment=False)
            model = build(network, source.card, seed).to(place, memory_format=torch.channels_last)
            for update in list(kept)[::looks]:
                vector_to_parameters(kept[update], model.parameters())
                drawn = source.batches(sample, seed, place, augment=False).epoch(epochs + update)
                found = noise_scale(model, drawn, batches=batches)
                rows.append({"seed": seed, "update": update, **asdict(found)})
    return pd.DataFrame(rows)
