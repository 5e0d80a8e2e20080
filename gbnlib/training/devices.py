"""Where and how a run is executed: choices that are recorded, but are no part of what the run means."""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gbnlib.errors import UsageError, unknown
from gbnlib.nn import frozen_statistics

#: The least and the most that a number may be, and what stands for it otherwise.
LIMITS = {
    "threads": (1, 256, ""),
    "micro_batch": (1, 10**9, ", or 0 for what memory_gb gives"),
    "memory_gb": (0, 65_536, ", or 0 for what suits the device"),
    "runs_per_gpu": (1, 256, ""),
    "checkpoint_seconds": (0, 10**9, ""),
}
#: Of a GPU's memory, for activations; weights, gradients, data and what the operations need take the rest.
GPU_SHARE = 0.5
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # options of glibc's mallopt


@dataclass(frozen=True)
class Execution:
    """Execution options of a run; a resumed run keeps those it was started with.

    device : "cpu", "cuda", "cuda:1", ... or "auto" (CUDA where there is one).
    threads : CPU threads of the run. One and two threads round differently, so this is never detected.
    memory_gb : memory for what a forward keeps for the backward; a batch that needs more goes through the network in
        micro-batches of whole ghosts. A run without ghosts keeps its batch whole. 0: 1 on a CPU; on a GPU half of its
        memory, over `runs_per_gpu`.
    runs_per_gpu : runs that may share a GPU. Each keeps to its share of the memory when it is alone there, too, so that
        its micro-batches, and with them its bits, do not depend on the others.
    micro_batch : samples of a micro-batch, in place of what `memory_gb` gives; 0 means by `memory_gb`.
    compile : compile the network (`torch.compile`), for GPUs; on a CPU it hardly pays, since nearly all time is in
        products and convolutions that stay as they are.
    graph : replay each update as a CUDA graph, which spares the host its launches; for one process and SGD on a GPU.
    checkpoint_seconds : time between two checkpoints.
    """

    device: str = "auto"
    threads: int = 1
    memory_gb: float = 0.0
    runs_per_gpu: int = 1
    micro_batch: int = 0
    compile: bool = False
    graph: bool = False
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, (least, most, otherwise) in LIMITS.items():
            value = getattr(self, name)
            if not (least <= value <= most or (value == 0 and otherwise)):
                raise UsageError(f"{name} is {value}; it must be at least {least} and at most {most:,}{otherwise}.")
        self.torch_device()

    def torch_device(self, local_rank: int = 0) -> torch.device:
        """The device, checked to exist; `local_rank` chooses among the GPUs of a machine where none is named."""
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name not in ("cpu", "cuda") and not name.removeprefix("cuda:").isdecimal():
            raise unknown("device", name, ("auto", "cpu", "cuda"))
        if name.startswith("cuda") and not torch.cuda.is_available():
            raise UsageError("device 'cuda' was asked for, but PyTorch finds no CUDA GPU. Allowed here: auto, cpu.")
        try:
            device = torch.device(f"cuda:{local_rank}" if name == "cuda" else name)
        except RuntimeError as error:
            raise unknown("device", name, ("auto", "cpu", "cuda")) from error
        if device.type == "cuda" and device.index >= torch.cuda.device_count():
            gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
            raise UsageError(f"device '{device}' is not there. Allowed here: auto, cpu, cuda, {', '.join(gpus)}.")
        return device

    def activations_gb(self, device: torch.device) -> float:
        """GiB for what a forward keeps: caches of a CPU like small parts, a GPU wants large ones."""
        if self.memory_gb or device.type != "cuda":
            return self.memory_gb or 1.0
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        return GPU_SHARE * memory / self.runs_per_gpu

    def resumed(self, begun: dict) -> "Execution":
        """These options with those that a run was begun with; which of several GPUs it goes on with is free."""
        same = self.torch_device().type == begun["device"]
        return replace(self, **{**begun, "device": self.device if same else begun["device"]})


def kept_bytes(model: nn.Module, images: Tensor, precision: str) -> int:
    """Bytes that a forward of `model` in training keeps for the backward, parameters and images left out."""
    known = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers(), images)}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # a freed tensor's address could be taken by another

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with frozen_statistics(model), hooks, autocast(precision, images.device):
        model(images)
    return sum(kept.values())


def micro_batch_within(memory_gb: float, model: nn.Module, ghost: Tensor, precision: str) -> int:
    """Samples, in multiples of a ghost of images and one ghost at least, whose forward keeps at most `memory_gb`."""
    ghosts = int(memory_gb * 2**30 / kept_bytes(model, ghost, precision))
    return max(1, ghosts) * len(ghost)


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Inside, products and convolutions of float32 on a GPU are IEEE's, or with "tf32" TF32's; then as they were.

    PyTorch's own default is the one for products and the other for convolutions.
    """
    before = [backend.fp32_precision for backend in _BACKENDS]
    try:
        _compute_in(["tf32" if precision == "tf32" else "ieee"] * len(_BACKENDS))
        yield
    finally:
        _compute_in(before)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Inside, a GPU computes the same bits each time, as far as PyTorch can; then as before. A CPU does so anyway.

    PyTorch warns of an operation that it has no deterministic form of, and goes on. cuBLAS reads its variable at the
    first product of the process: where one came before, PyTorch warns of products.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cudnn, memory = torch.backends.cudnn, torch.utils.deterministic
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    before = cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Memory that is not written yet would be filled at each allocation; nothing here reads it.
        cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory = True, False, False
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms[0], warn_only=algorithms[1])
        cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory = before


_BACKENDS = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)


def _compute_in(precisions: Sequence[str]) -> None:
    """Set what each backend computes in; the older flags first, which PyTorch refuses to read where they differ."""
    torch.backends.cuda.matmul.allow_tf32 = precisions[0] == "tf32"
    torch.backends.cudnn.allow_tf32 = precisions[1] == "tf32"
    for backend, value in zip(_BACKENDS, precisions, strict=True):
        backend.fp32_precision = value


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse TF32 where the device would compute something else without a word, and bfloat16 on a GPU without it."""
    if precision == "tf32" and device.type != "cuda":
        raise UsageError(
            f"precision is 'tf32', which only GPUs compute in, and the device is '{device}'. Allowed here: fp32, bf16."
        )
    if precision == "fp32" or device.type != "cuda":
        return
    if (major_minor := torch.cuda.get_device_capability(device)) < (8, 0):
        found, needed = ".".join(map(str, major_minor)), "needs a GPU of compute capability 8.0"
        raise UsageError(f"precision '{precision}' {needed}; '{device}' has {found}. Allowed here: fp32.")


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """The context of the forward pass: bfloat16 matrix products for "bf16", nothing otherwise."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def keep_freed_memory() -> None:
    """Make this process keep the memory it frees, with glibc; a large batch asks for the same memory every update.

    By default each large tensor is mapped anew, and the kernel clears it page by page, which takes longer than many
    an operation on it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
