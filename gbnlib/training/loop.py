"""The training loop: take a batch, forward and backward, clip, step, probe; evaluate; checkpoint."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gbnlib.data.batches import Batches, generator, normalise
from gbnlib.nn import force_num_ghosts
from gbnlib.regimes import Regime, apply_settings
from gbnlib.training.devices import autocast
from gbnlib.training.probes import DistanceProbe

HISTORY_COLUMNS = (
    "update",
    "epoch",
    "lr",
    "training_loss",
    "training_error",
    "validation_loss",
    "validation_error",
)


class Interrupted(Exception):
    """The training was asked to stop; its last checkpoint is whole, and the same call goes on from there."""


@dataclass
class Training:
    """Everything a training is made of, and its state.

    `history` has a row an evaluation (HISTORY_COLUMNS, errors in %); `status` is "running", "finished" or "diverged".
    Training loss and error are running averages over the epoch that ends at the row, in training mode, as in the
    official code. `tail_ghosts` forces the number of ghosts of a last partial batch (0 leaves it to the layers).
    `noise` is the standard deviation σ of multiplicative noise z ~ N(1, σ²) on each sample's loss.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    regime: Regime
    batches: Batches
    validation: tuple[Tensor, Tensor]
    probe: DistanceProbe
    evaluate_every: int = 1
    clip_norm: float = 0.0
    noise: float = 0.0
    tail_ghosts: int = 0
    precision: str = "fp32"
    update: int = 0
    seconds: float = 0.0
    status: str = "running"
    history: list[list[float]] = field(default_factory=list)
    sums: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))
    stop: bool = False

    @property
    def total_updates(self) -> int:
        """Updates from start to end."""
        return self.regime.total_updates(self.batches.updates_per_epoch)

    def state_dict(self) -> dict:
        """The state as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "update": self.update,
            "seconds": self.seconds,
            "status": self.status,
            "history": self.history,
            "distances": self.probe.rows,
            "sums": self.sums,
            "rng": _rng_state(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Go back to a state that `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.update, self.seconds, self.status = state["update"], state["seconds"], state["status"]
        self.history, self.probe.rows = state["history"], state["distances"]
        self.sums = state["sums"].to(self.batches.labels.device)
        _set_rng_state(state["rng"])


def train(
    training: Training,
    *,
    save: Callable[[], None] = lambda: None,
    report: Callable[[], None] = lambda: None,
    save_seconds: float = math.inf,
) -> None:
    """Train until the regime ends or the loss is no longer finite.

    `save` is called every `save_seconds` and at the end of the first phase, `report` after each evaluation. Setting
    `training.stop` (a signal handler may) makes the loop save after the update at hand and raise `Interrupted`.
    """
    per_epoch, total = training.batches.updates_per_epoch, training.total_updates
    first_phase_end = training.regime.phases[1].epoch * per_epoch if len(training.regime.phases) > 1 else total
    saved = time.monotonic()
    started = saved - training.seconds
    training.sums = training.sums.to(training.batches.labels.device)
    training.model.train()
    while training.update < total and training.status == "running":
        epoch, start = divmod(training.update, per_epoch)
        if start == 0:
            training.sums.zero_()
        weights = _noise_weights(training, epoch)
        for images, labels in training.batches.epoch(epoch, start):
            apply_settings(training.optimizer, training.regime.at(training.update, per_epoch))
            training.sums += _step(training, images, labels, weights)
            training.update += 1
            training.probe(training.update)
            training.seconds = time.monotonic() - started
            if training.update % per_epoch == 0:
                _end_epoch(training, epoch + 1, report)
            if training.stop or training.update == first_phase_end or time.monotonic() - saved > save_seconds:
                save()
                saved = time.monotonic()
            if training.stop:
                raise Interrupted(f"stopped after update {training.update:,} of {total:,}")
    if training.status == "running":
        training.status = "finished"


def _step(training: Training, images: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """One update; returns (summed loss, wrong answers, samples) without waiting for the device."""
    partial = len(labels) < training.batches.batch_size
    forced = partial and training.tail_ghosts > 0
    ghosts = force_num_ghosts(training.model, training.tail_ghosts) if forced else nullcontext()
    with ghosts, autocast(training.precision, labels.device):
        logits = training.model(images)
    losses = F.cross_entropy(logits.float(), labels, reduction="none")
    loss = losses.mean() if weights is None else (losses * _part(weights, training)).mean()
    training.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if training.clip_norm:
        nn.utils.clip_grad_norm_(training.model.parameters(), training.clip_norm)
    training.optimizer.step()
    wrong = (logits.detach().argmax(1) != labels).sum()
    return torch.stack([losses.detach().sum().double(), wrong.double(), torch.full_like(wrong, len(labels)).double()])


def _noise_weights(training: Training, epoch: int) -> Tensor | None:
    """The factors z of an epoch, one a sample in the order of training, or None without noise."""
    if not training.noise:
        return None
    labels = training.batches.labels
    factors = torch.randn(len(labels), generator=generator(training.batches.seed, epoch, "noise"))
    return (1.0 + training.noise * factors).to(labels.device)


def _part(weights: Tensor, training: Training) -> Tensor:
    """The part of an epoch's factors that belongs to the update at hand."""
    size = training.batches.batch_size
    first = (training.update % training.batches.updates_per_epoch) * size
    return weights[first : first + size]


def _end_epoch(training: Training, epoch: int, report: Callable[[], None]) -> None:
    """Evaluate if it is time, and end a run whose loss is no longer finite."""
    loss, wrong, seen = training.sums.tolist()
    diverged = not math.isfinite(loss)
    if diverged:
        training.status = "diverged"
    if diverged or epoch % training.evaluate_every == 0 or training.update == training.total_updates:
        lr = training.optimizer.param_groups[0]["lr"]
        validation = evaluate(training.model, *training.validation, training.batches, training.precision)
        row = [training.update, epoch, lr, loss / seen, 100 * wrong / seen, *validation]
        training.history.append(row)
        report()


@torch.no_grad()
def evaluate(
    model: nn.Module, images: Tensor, labels: Tensor, batches: Batches, precision: str = "fp32", size: int = 1000
) -> tuple[float, float]:
    """Mean loss and error in % of a model in evaluation mode on uint8 images (N, C, H, W), `size` at a time."""
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64, device=labels.device)
    for part, answers in zip(images.split(size), labels.split(size), strict=True):
        with autocast(precision, labels.device):
            logits = model(normalise(part, batches.mean, batches.std)).float()
        sums[0] += F.cross_entropy(logits, answers, reduction="sum")
        sums[1] += (logits.argmax(1) != answers).sum()
    model.train()
    loss, wrong = sums.tolist()
    return loss / len(labels), 100 * wrong / len(labels)


def _rng_state() -> dict[str, Tensor]:
    """The state of PyTorch's own generators, which dropout uses."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_rng_state(state: dict[str, Tensor]) -> None:
    """Put PyTorch's own generators back."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
