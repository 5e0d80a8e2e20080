"""What a run that trains writes and says: tables, checkpoints, lines, and `done.json` last."""

import hashlib
from dataclasses import dataclass, field
from math import ceil

import torch

from gbnlib import files
from gbnlib.experiments import provenance, store
from gbnlib.experiments.config import RunConfig
from gbnlib.experiments.observer import Observer
from gbnlib.experiments.preparing import test_error
from gbnlib.training import DistanceProbe, Execution, Listener, Training, save_checkpoint
from gbnlib.training.loop import HISTORY_COLUMNS


@dataclass
class Recorder(Listener):
    """Where a training leaves what it makes, and whom it tells.

    processors : what computed it before it stopped, in turn; what does now is added.
    """

    config: RunConfig
    training: Training
    options: Execution
    observer: Observer
    processors: list[str] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Where the training happens."""
        return self.training.batches.labels.device

    @property
    def execution(self) -> dict:
        """How the run is executed, which a run that goes on keeps to."""
        whole = 0 if self.config.whole_batches else self.config.largest_batch
        return {
            "device": self.options.torch_device().type,
            "threads": self.options.threads,
            "micro_batch": self.training.division.micro_batch or whole,
            "compile": self.options.compile,
        }

    def begin(self) -> None:
        """Write the config and the tables of before, and say where a stopped run goes on."""
        store.write_config(self.config)
        if update := self.training.update:
            self.observer.say(f"{self.config.id}: goes on after update {update:,} of {self.training.total_updates:,}")
        here = provenance.processor(self.device)
        if self.processors and self.processors[-1] != here:
            said = f"{self.config.id}: goes on on {here}, after {self.processors[-1]}"
            self.observer.say(f"{said}: its results will differ in rounding from those of one of them")
        if self.processors[-1:] != [here]:
            self.processors = [*self.processors, here]
        self._write_tables()

    def save(self) -> None:
        """Write the checkpoint."""
        path = store.folder(self.config) / "checkpoint.pt"
        extra = {"run": self.config.id, "execution": self.execution, "processors": self.processors}
        save_checkpoint(path, self.training, **extra)

    def evaluated(self) -> None:
        """Write the tables and say what the evaluation found."""
        self._write_tables()
        _, _, lr, loss, error, _, validation_error = self.training.history[-1]
        found = f"loss {loss:.4f}  training error {error:.2f} %  validation error {validation_error:.2f} %"
        self.observer.say(self._progress(f"lr {lr:g}  {found}"))

    def tick(self) -> None:
        """Show how far the run is."""
        self.observer.show(self._loss_so_far)

    def finish(self) -> None:
        """Write what a finished run leaves, `done.json` last, and drop its checkpoint."""
        training, device = self.training, self.device
        self._write_tables()
        images = len(training.batches.labels) * training.batches.sizes.epochs_at(training.update)
        facts = {
            **provenance.software(),
            **provenance.hardware(device),
            **provenance.dataset(self.config.dataset),
            **self.execution,
            "graph": self.options.graph,
            "processors": self.processors,
            "processes": training.processes.count,
            "precision": self.config.precision,
            "finished": provenance.now(),
            "seconds": round(training.seconds, 2),
            "images_per_second": round(images / training.seconds, 1),
            "peak_memory_mb": round(provenance.peak_memory_mb(device), 1),
        }
        where = store.folder(self.config)
        files.write_json(where / "provenance.json", facts)
        summary = _summary(training)
        if (error := test_error(self.config, training)) is not None:
            summary["test_error"] = error
        store.write_done(self.config, training.status, summary, weights_sha256(training.model))
        (where / "checkpoint.pt").unlink(missing_ok=True)

    def _write_tables(self) -> None:
        where = store.folder(self.config)
        files.write_csv(where / "history.csv", HISTORY_COLUMNS, self.training.history)
        files.write_csv(where / "distance.csv", DistanceProbe.columns, self.training.probe.rows)

    def _loss_so_far(self) -> str:
        loss, _, seen = self.training.sums.tolist()
        return self._progress(f"loss {loss / seen:.4f}" if seen else "")

    def _progress(self, found: str) -> str:
        """How far a run is, what it found, how fast it is and how long it will take."""
        config, training = self.config, self.training
        update, total = training.update, training.total_updates
        epochs = training.batches.sizes.epochs_at(update)
        per_second = epochs * len(training.batches.labels) / max(training.seconds, 1e-9)
        left = (total - update) * training.seconds / update
        return (
            f"{config.id}  epoch {ceil(epochs)}/{training.regime.epochs}  update {update:,}/{total:,}  {found}  "
            f"{per_second:,.0f} images/s  {left:.0f} s left"
        )


def _summary(training: Training) -> dict:
    """The numbers of a run that lists show; a run that diverged has no error."""
    errors = [row[-1] for row in training.history] if training.status == "finished" else [None]
    return {
        "updates": training.update,
        "seconds": round(training.seconds, 2),
        "final_validation_error": errors[-1],
        "best_validation_error": min(errors),
    }


def weights_sha256(model: torch.nn.Module) -> str:
    """SHA-256 over all parameters and buffers of a model, in order."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
