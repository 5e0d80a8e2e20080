"""Checkpoints: the whole state of a training, written atomically, checked when read, loaded without running code."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from gbnlib import files
from gbnlib.errors import complaint
from gbnlib.training.loop import HISTORY_COLUMNS, Training


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


class _Optimizer(_Strict):
    """The state of an optimizer whose buffers are shaped as the parameters."""

    state: dict[NonNegativeInt, dict[str, Tensor | None]]
    param_groups: list[dict[str, Any]]


class _State(_Strict):
    """What a checkpoint holds: `Training.state_dict` and who wrote it."""

    torch: str
    extra: dict[str, Any]
    model: dict[str, Tensor]
    optimizer: _Optimizer
    update: NonNegativeInt
    seconds: FiniteFloat
    status: Literal["running", "diverged"]
    history: list[list[float]]
    distances: list[list[float]]
    sums: Tensor


class _Execution(_Strict):
    """How a run was begun."""

    device: Literal["cpu", "cuda"]
    threads: PositiveInt
    micro_batch: NonNegativeInt
    compile: bool


class _OfRun(_Strict):
    """The extra values in a checkpoint of a run."""

    run: str
    execution: _Execution
    processors: list[str] = []


def save_checkpoint(path: Path, training: Training, **extra: object) -> None:
    """Write the state of `training` and the plain values in `extra` to `path`.

    A disk that is full raises a `UsageError`, and what was there before is kept.
    """
    state = {"torch": str(torch.__version__), "extra": extra, **training.state_dict()}
    with files.atomic(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # this is how PyTorch says that it could not write
            raise OSError(f"is the disk full? PyTorch: {str(error).splitlines()[0][:120]}") from error


def load_checkpoint(path: Path, run: str = "") -> dict | None:
    """Read a checkpoint, of any training or of the run with an id, or return None when there is none to be trusted.

    Every byte is compared with the checksums inside the file first. A damaged file, one that holds anything but what
    `save_checkpoint` writes, and one of another run is set aside as `*.corrupt` and said; one made by another PyTorch
    is set aside too, since a resumed run must end as if it had never stopped. A file that cannot be opened now raises
    an `OSError`. What only the training can tell, `misfit` does.
    """
    if not path.exists():
        return None
    if not path.is_file():
        files.set_aside(path, "damaged checkpoint (not a file)")
        return None
    with path.open("rb") as stream:
        try:
            state = _checked(stream, run)
        except MemoryError:
            raise
        except Exception as error:  # what reading a damaged file raises has no bounds
            files.set_aside(path, f"damaged checkpoint ({complaint(error)[:100]})")
            return None
    if state["torch"] != torch.__version__:
        files.set_aside(path, f"checkpoint of PyTorch {state['torch']}, here {torch.__version__}")
        return None
    return state


def _checked(stream: BinaryIO, run: str) -> dict:
    """The state in a file, after its checksums and all that it holds were checked."""
    with zipfile.ZipFile(stream) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"checksum of {damaged} differs")
    stream.seek(0)
    state = torch.load(stream, map_location="cpu", weights_only=True)
    _State.model_validate(state)
    if run and _OfRun.model_validate(state["extra"]).run != run:
        raise ValueError(f"it is of {state['extra']['run']}")
    return state


def misfit(state: Mapping[str, Any], training: Training) -> str | None:
    """What in a state that `load_checkpoint` gave cannot be of `training`, or None if it fits as a whole."""
    update, sizes = state["update"], training.batches.sizes
    if update > training.total_updates:
        return f"update {update:,} of {training.total_updates:,}"
    ends = [(sizes.updates_until(epoch), epoch) for epoch in range(1, sizes.place(update)[0] + 1)]
    anyway = (training.total_updates, update if state["status"] == "diverged" else None)
    looks = [[end, epoch] for end, epoch in ends if epoch % training.evaluate_every == 0 or end in anyway]
    probed = sorted(each for each in training.probe.updates if each <= update)
    fits = {
        "history": [row[:2] for row in state["history"]] == looks,
        "distances": [row[:1] for row in state["distances"]] == [[each] for each in probed],
        "columns": {len(row) for row in state["history"]} <= {len(HISTORY_COLUMNS)}
        and {len(row) for row in state["distances"]} <= {len(training.probe.columns)},
        "sums": _kinds([state["sums"]]) == [((3,), torch.float64)],
        "model": _named_kinds(state["model"]) == _named_kinds(training.model.state_dict()),
        "optimizer": _optimizer_fits(state["optimizer"], training.optimizer),
    }
    wrong = ", ".join(name for name, right in fits.items() if not right)
    return f"{wrong}: not as this run has it" if wrong else None


def _kinds(tensors: list[Tensor]) -> list[tuple[tuple[int, ...], torch.dtype]]:
    """Shapes and dtypes."""
    return [(tuple(tensor.shape), tensor.dtype) for tensor in tensors]


def _named_kinds(tensors: Mapping[str, Tensor]) -> dict[str, tuple]:
    """Names with shapes and dtypes."""
    return dict(zip(tensors, _kinds(list(tensors.values())), strict=True))


def _optimizer_fits(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> bool:
    """Whether a state is one of the optimizer: the same settings but for those that change, buffers as parameters."""
    scheduled = ("lr", "momentum", "weight_decay", "step")
    fixed = [
        [{key: value for key, value in group.items() if key not in scheduled} for group in each["param_groups"]]
        for each in (state, optimizer.state_dict())
    ]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    buffers = [(index, buffer) for index, each in state["state"].items() for buffer in each.values()]
    kinds = dict(enumerate(_kinds(parameters)))
    return fixed[0] == fixed[1] and all(
        index in kinds and (buffer is None or _kinds([buffer]) == [kinds[index]]) for index, buffer in buffers
    )
