"""Training: one loop, its probes, its checkpoints, and where it runs."""

from gbnlib.errors import Interrupted
from gbnlib.training.checkpoint import load_checkpoint, misfit, save_checkpoint
from gbnlib.training.devices import Execution
from gbnlib.training.division import BatchDivision
from gbnlib.training.evaluation import evaluate
from gbnlib.training.gradient_noise import NoiseScale, noise_scale
from gbnlib.training.loop import Listener, Training, train
from gbnlib.training.probes import DistanceProbe, SnapshotProbe, log_spaced
from gbnlib.training.processes import Processes

__all__ = [
    "BatchDivision",
    "DistanceProbe",
    "Execution",
    "Interrupted",
    "Listener",
    "NoiseScale",
    "Processes",
    "SnapshotProbe",
    "Training",
    "evaluate",
    "load_checkpoint",
    "log_spaced",
    "misfit",
    "noise_scale",
    "save_checkpoint",
    "train",
]
