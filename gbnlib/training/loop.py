"""The training loop: take a batch, make an update, probe; evaluate; checkpoint."""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice

import torch
from torch import Tensor, nn

from gbnlib.data.batches import Batches, generator, sent
from gbnlib.errors import Interrupted
from gbnlib.regimes import Regime, apply_settings
from gbnlib.training.division import BatchDivision, MicroBatch
from gbnlib.training.draws import Draws
from gbnlib.training.evaluation import evaluate
from gbnlib.training.graphs import Replays
from gbnlib.training.probes import DistanceProbe, SnapshotProbe
from gbnlib.training.processes import Processes
from gbnlib.training.running_statistics import RunningStatistics, recomputed_statistics
from gbnlib.training.step import compute_step, take_step

HISTORY_COLUMNS = (
    "update",
    "epoch",
    "lr",
    "training_loss",
    "training_error",
    "validation_loss",
    "validation_error",
)

TICK_SECONDS = 1.0
#: Training samples, at least, from which statistics are recomputed for an evaluation.
RECOMPUTED_SAMPLES = 20_000


@dataclass
class Training:
    """Everything a training is made of, and its state.

    Parameters
    ----------
    model : the network.
    optimizer, regime, batches : what steps, at which settings, on what.
    validation : images, uint8 (N, C, H, W) or streamed, and labels, int64 (N,), on the device of the model.
    probe : called after every update; a `SnapshotProbe` only where nothing is saved.
    evaluate_every : epochs from one evaluation to the next; the last epoch always ends with one.
    clip_norm : global L2 norm that gradients are clipped to; 0: no clipping.
    noise : standard deviation σ of multiplicative noise z ~ N(1, σ²) on each sample's loss.
    reset_momentum : begin every epoch with an empty momentum buffer, as the official code does.
    recompute_statistics : evaluate with statistics recomputed for it, over at least `RECOMPUTED_SAMPLES` samples of
        the epoch that ends, in place of the running ones.
    precision : "bf16" for the forward pass in it; what float32 itself means, `devices.arithmetic` says.
    division : which samples of a batch this process takes, and in which micro-batches; by default all at once.
    processes : those that train together; by default this one alone.
    compiled : used in place of `model` in training; it has the same parameters.
    graph : make updates by replaying CUDA graphs; see `graphs.Replays`.

    Attributes
    ----------
    update, seconds : updates made, and the time they took with evaluations, also before a stop.
    status : "running", "finished" or "diverged".
    history : a row an evaluation (HISTORY_COLUMNS, errors in %). Training loss and error are running averages over the
        epoch that ends at the row, in training mode, as in the official code.
    sums : float64 (3,), since the epoch began: summed loss, wrong answers, samples.
    stop : set it to make the loop save and stop after the update at hand.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    regime: Regime
    batches: Batches
    validation: tuple[Tensor, Tensor]
    probe: DistanceProbe | SnapshotProbe
    evaluate_every: int = 1
    clip_norm: float = 0.0
    noise: float = 0.0
    reset_momentum: bool = False
    recompute_statistics: bool = False
    precision: str = "fp32"
    division: BatchDivision | None = None
    processes: Processes = field(default_factory=Processes)
    compiled: nn.Module | None = None
    graph: bool = False
    update: int = 0
    seconds: float = 0.0
    status: str = "running"
    history: list[list[float]] = field(default_factory=list)
    sums: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))
    stop: bool = False

    def __post_init__(self) -> None:
        self.division = self.division or BatchDivision(self.batches.batch_size)
        self.running_statistics = RunningStatistics(self.model)
        self.draws = Draws(self.model, self.batches.seed)
        self.compute = Replays(compute_step) if self.graph else compute_step

    @cached_property
    def network(self) -> nn.Module:
        """What goes forward in training; with several processes it adds up their gradients."""
        return self.processes.sharing_gradients(self.compiled or self.model)

    @property
    def total_updates(self) -> int:
        """Updates from start to end."""
        return self.batches.sizes.updates_until(self.regime.epochs)

    def cut(self, images: Tensor, labels: Tensor, factors: Tensor | None = None) -> list[MicroBatch]:
        """The micro-batches of this process's share of the batch at hand; `factors` are of the whole epoch."""
        count = self.batches.size_of(self.update)
        if factors is not None:
            start = self.batches.first_of(self.update)
            factors = factors[start : start + count][self.division.mine(count)]
        return self.division.cut(count, images, labels, factors)

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
        }

    def load_state_dict(self, state: dict) -> None:
        """Go back to a state that `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.update, self.seconds, self.status = state["update"], state["seconds"], state["status"]
        self.history, self.probe.rows = state["history"], state["distances"]
        self.sums = state["sums"].to(self.batches.labels.device)


class Listener:
    """What is called while a training goes on; this one does nothing."""

    def save(self) -> None:
        """Keep the state: some time has passed, the first phase is over, or the training is to stop."""

    def evaluated(self) -> None:
        """There is a new row in the history."""

    def tick(self) -> None:
        """About a second has passed."""


def train(training: Training, listener: Listener | None = None, *, save_seconds: float = math.inf) -> None:
    """Train until the regime ends or the loss is no longer finite.

    The `listener` is told to save every `save_seconds` and at the end of the first phase. Setting `training.stop` (a
    signal handler may) makes the loop save after the update at hand and raise `Interrupted`.
    """
    listener = listener or Listener()
    sizes, total = training.batches.sizes, training.total_updates
    first_phase_end = sizes.updates_until(training.regime.phases[1].epoch) if len(training.regime.phases) > 1 else total
    saved = ticked = time.monotonic()
    started = saved - training.seconds
    device = training.batches.labels.device
    if device.type == "cuda":
        torch.cuda.set_device(device)  # else what names no device would land on the first GPU, whatever the process
    training.sums = training.sums.to(device)
    training.model.train()
    while training.update < total and training.status == "running":
        epoch, start = sizes.place(training.update)
        per_epoch = sizes.updates_in(epoch)
        if start == 0:
            _begin_epoch(training)
        factors = _noise_factors(training, epoch)
        batches = training.batches.epoch(epoch, start, training.division.mine)
        for number, (images, labels) in enumerate(batches, start):
            apply_settings(training.optimizer, training.regime.at(epoch * per_epoch + number, per_epoch))
            training.sums += take_step(training, training.cut(images, labels, factors))
            training.update += 1
            training.probe(training.update)
            now = time.monotonic()
            training.seconds = now - started
            if now - ticked > TICK_SECONDS:
                listener.tick()
                ticked = now
            if number + 1 == per_epoch:
                _end_epoch(training, epoch + 1, listener)
            due = training.update == first_phase_end or now - saved > save_seconds
            stop, due = training.processes.first_says((training.stop, due))
            if stop or due:
                listener.save()
                saved = time.monotonic()
            if stop:
                raise Interrupted(f"stopped after update {training.update:,} of {total:,}")
    if training.status == "running":
        training.status = "finished"


def _begin_epoch(training: Training) -> None:
    """Empty what is summed over an epoch and, where asked for, the momentum buffer.

    The official code sets its optimizer anew at each epoch, replaying all settings of the regime from the first, which
    names an optimizer: a new one, without state. A buffer of zeros becomes the gradient at the next step, as a buffer
    that is not there does.
    """
    training.sums.zero_()
    if training.reset_momentum:
        for state in training.optimizer.state.values():
            if state.get("momentum_buffer") is not None:
                state["momentum_buffer"].zero_()


def _noise_factors(training: Training, epoch: int) -> Tensor | None:
    """The factors z of an epoch, one a sample in the order of training, or None without noise."""
    if not training.noise:
        return None
    labels = training.batches.labels
    factors = torch.randn(len(labels), generator=generator(training.batches.seed, epoch, "noise"))
    return sent(1.0 + training.noise * factors, labels.device)


def _end_epoch(training: Training, epoch: int, listener: Listener) -> None:
    """Evaluate if it is time, and end a run whose loss is no longer finite."""
    loss, wrong, seen = training.sums.tolist()
    diverged = not math.isfinite(loss)
    if diverged:
        training.status = "diverged"
    if diverged or epoch % training.evaluate_every == 0 or training.update == training.total_updates:
        lr = training.optimizer.param_groups[0]["lr"]
        validation = evaluated(training, epoch, *training.validation)
        row = [training.update, epoch, lr, loss / seen, 100 * wrong / seen, *validation]
        training.history.append(row)
        listener.evaluated()


def evaluated(training: Training, epoch: int, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean loss and error in % on some images at the end of an epoch."""
    with _evaluation_statistics(training, epoch):
        return evaluate(training.model, images, labels, training.batches, training.precision)


def _evaluation_statistics(training: Training, epoch: int) -> AbstractContextManager[None]:
    """What an evaluation at the end of an epoch normalises by: the running statistics, or recomputed ones."""
    if not training.recompute_statistics:
        return nullcontext()
    return recomputed_statistics(training.model, _some_images(training, epoch - 1))


def _some_images(training: Training, epoch: int) -> Iterator[Tensor]:
    """The first batches of an epoch, ghost by ghost, so that what comes of them does not depend on micro-batches."""
    batches, division = training.batches, training.division
    some = islice(batches.epoch(epoch), math.ceil(RECOMPUTED_SAMPLES / batches.sizes.size_in(epoch)))
    parts = (images.split(division.ghosts(len(images))) if division.ghost_size else [images] for images, _ in some)
    for number, part in enumerate(chain.from_iterable(parts)):
        training.draws.begin(number, len(part), f"evaluation {epoch}")
        yield part
