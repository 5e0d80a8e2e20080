"""From a config to a training at its start: data, network, regime, and how batches are divided."""

from dataclasses import replace

import torch

from gbnlib import data, files
from gbnlib.errors import UsageError
from gbnlib.experiments.config import RunConfig
from gbnlib.experiments.initial import initial_network
from gbnlib.nn import convert_ghost_batchnorm
from gbnlib.training import BatchDivision, DistanceProbe, Execution, Processes, Training
from gbnlib.training.devices import check_precision, micro_batch_within
from gbnlib.training.loop import evaluated


def prepare(config: RunConfig, options: Execution, processes: Processes | None = None) -> Training:
    """The training of a config at its start."""
    processes = processes or Processes()
    device = options.torch_device(processes.local_rank)
    check_precision(config.precision, device)
    if options.graph and (device.type != "cuda" or processes.count > 1 or config.optimizer != "sgd"):
        raise UsageError(
            f"--graph is for sgd in one process on a GPU; here: {config.optimizer}, {processes.count}, '{device}'."
        )
    dataset = data.load(config.dataset, files.data_root()).subset(config.train_size, config.held_out)
    model = _network(config, dataset.card).to(device, memory_format=torch.channels_last)
    regime = config.schedule()
    batches = dataset.batches(
        config.batch_size, config.seed, device, augment=config.augment == "official", growth=config.growth()
    )
    return Training(
        model=model,
        optimizer=_optimizer(config, model),
        regime=regime,
        batches=batches,
        validation=(dataset.validation_images.to(device), dataset.validation_labels.to(device)),
        probe=DistanceProbe(model, batches.sizes.updates_until(regime.epochs), batches.sizes.epochs_at),
        evaluate_every=config.evaluate_every,
        clip_norm=config.clip_norm,
        noise=config.noise,
        reset_momentum=config.momentum_buffer == "reset",
        recompute_statistics=config.evaluation == "recomputed",
        precision=config.precision,
        division=_division(config, options, processes, model, dataset.card),
        processes=processes,
        compiled=torch.compile(model) if options.compile else None,
        graph=options.graph,
    )


def test_error(config: RunConfig, training: Training) -> float | None:
    """Error in % on the validation images of a run that was evaluated on held-out ones; of another run None."""
    if not config.held_out:
        return None
    dataset, device = data.load(config.dataset, files.data_root()), training.batches.labels.device
    images, labels = dataset.validation_images.to(device), dataset.validation_labels.to(device)
    return evaluated(training, training.regime.epochs, images, labels)[1]


def _optimizer(config: RunConfig, model: torch.nn.Module) -> torch.optim.Optimizer:
    """What steps; the regime sets its rate, momentum and weight decay at every update."""
    parameters, lr = model.parameters(), config.regime[0].lr
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9, fused=True)
    try:
        from timm.optim import Lamb, Lars
    except ImportError:
        raise UsageError(f"optimizer {config.optimizer} is timm's: pip install timm") from None
    return {"lars": Lars, "lamb": Lamb}[config.optimizer](parameters, lr=lr)


def _network(config: RunConfig, card: data.Card) -> torch.nn.Module:
    model = initial_network(config.network, card, config.seed, config.initialisation)
    if not config.ghost_size:
        return model
    remainder = "own" if config.remainder == "official" else config.remainder
    return convert_ghost_batchnorm(model, config.ghost_size, remainder=remainder, running=config.running)


def _division(
    config: RunConfig, options: Execution, processes: Processes, model: torch.nn.Module, card: data.Card
) -> BatchDivision:
    """How batches are dealt out: whole where they fit into memory, and where their parts would not add up to them."""
    if config.whole_batches and config.ghost_size and (options.micro_batch or processes.count > 1):
        raise UsageError("running 'mean' needs its batches whole: use one process, and no micro_batch.")
    official = config.remainder == "official" and config.ghost_size
    division = BatchDivision(
        config.batch_size,
        config.ghost_size,
        tail_ghosts=config.batch_size // config.ghost_size if official else 0,
        micro_batch=options.micro_batch,
        rank=processes.rank,
        processes=processes.count,
    )
    if config.whole_batches or options.micro_batch:
        return division
    size = min(config.ghost_size, config.batch_size)
    device = next(model.parameters()).device
    ghost = torch.zeros(size, card.channels, card.image_size, card.image_size, device=device)
    ghost = ghost.to(memory_format=torch.channels_last)
    fitting = micro_batch_within(options.activations_gb(device), model, ghost, config.precision)
    return replace(division, micro_batch=fitting) if fitting < config.largest_batch else division
