"""What an update asks of a card, operation by operation, and how long a card of some rates takes for it: a model.

Operations, their bytes and their launches are counted on PyTorch's meta device, which takes a GPU's path and computes
nothing. A card takes for each the longest of its arithmetic, its memory and its launch, and for the update at least
what the processor takes to start them all. This prints the rates that gbnlib/paper/scales.toml
states.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import torch
from card.trainings import training
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gbnlib import paper
from gbnlib.nn import kernel
from gbnlib.training.step import take_step

#: Operations that start nothing on a device.
VIEWS = (
    "view expand t transpose permute slice select split split_with_sizes detach unsqueeze squeeze as_strided alias "
    "_unsafe_view unbind unfold reshape _reshape_alias empty empty_like new_empty empty_strided new_empty_strided "
    "lift_fresh is_same_size"
)
#: Kernels of an operation; and its bytes over those of its tensors, for moments are taken before a batch is normalised.
KERNELS = {"convolution": 1.5, "convolution_backward": 4, "ghost_norm": 2, "ghost_norm_backward": 2}
PASSES = {
    "native_batch_norm": 1.5,
    "ghost_norm": 1.5,
    "native_batch_norm_backward": 5 / 3,
    "ghost_norm_backward": 5 / 3,
}
FULL_CHANNELS = 64  # of a convolution that runs at a card's rate
VIEW, CLIP_AND_STEP = 1.5e-6, (290e-6, 40e-6)  # seconds of the processor; and of the processor and the card


@dataclass(frozen=True)
class Operation:
    """An operation of an update: floating-point operations, bytes, and the share of a card's rate that it can use."""

    name: str
    flop: float
    bytes: float
    share: float

    @property
    def kernels(self) -> float:
        """Launches; a view has none."""
        return 0 if self.name in VIEWS.split() else KERNELS.get(self.name, 1)


@dataclass(frozen=True)
class Card:
    """A card in one precision.

    rate : floating-point operations a second, of products and convolutions.
    bandwidth : bytes a second.
    width : bytes of an activation over those in float32.
    launch, start : the least seconds of a kernel on the card, and those of starting an operation on the processor.
    """

    rate: float
    bandwidth: float
    width: float = 1.0
    launch: float = 2.5e-6
    start: float = 7e-6


#: An H100 (SXM) as it is assumed to be until benchmarks/gpu.py has measured one: three quarters of its 3.35 TB/s, and
#: of its peaks (67 · 10¹² a second in IEEE float32, 495 in TF32, 990 in bfloat16) what good public codes reach.
H100 = {"fp32": Card(40e12, 2.5e12), "tf32": Card(200e12, 2.5e12), "bf16": Card(350e12, 2.5e12, width=0.55)}


class _Noted(TorchDispatchMode):
    """Notes the operations inside."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run and note an operation."""
        result = function(*args, **(kwargs or {}))
        name = function._schema.name.split("::")[1]
        tensors = {id(leaf): leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)}
        if any(tensor.device.type == "meta" for tensor in tensors.values()):
            moved = (
                0 if name in VIEWS.split() else sum(tensor.nbytes for tensor in tensors.values()) * PASSES.get(name, 1)
            )
            self.operations.append(Operation(name, _flop(name, args, result), moved, _share(name, args)))
        return result


def _flop(name: str, args: tuple, result: object) -> float:
    """Floating-point operations of a convolution or a product."""
    if name == "convolution":
        return 2 * result.numel() * args[1][0].numel()
    if name == "convolution_backward":
        gradient, _, weight = args[:3]
        return 2 * gradient.numel() * weight[0].numel() * sum(args[-1][:2])
    if name in ("mm", "addmm"):
        left, right = args[-2:]
        return 2 * left.shape[0] * left.shape[1] * right.shape[1]
    return 0


def _share(name: str, args: tuple) -> float:
    """What few channels leave of a card's rate: a square root, between nothing lost and all of it."""
    if not name.startswith("convolution"):
        return 1.0
    weight = args[2 if name == "convolution_backward" else 1]
    return math.sqrt(math.prod(min(channels / FULL_CHANNELS, 1) for channels in weight.shape[:2]))


@contextmanager
def _as_a_gpu() -> Iterator[None]:
    """Inside, ghost layers on the meta device take the path of a GPU with Triton."""
    known = mock.patch.dict(kernel.DTYPES, meta=kernel.DTYPES["cuda"])
    with known, mock.patch.object(kernel, "has_triton", lambda index: True):
        yield


def operations(network: str, batch_size: int, ghost_size: int = 0) -> list[Operation]:
    """The operations of an update, from its batch on, without clipping and the optimizer's step.

    It is the second of two: what the first leaves on the device is made once.
    """
    with _as_a_gpu():
        of = training(network, batch_size, ghost_size, device="meta")
        of.clip_norm, of.optimizer.step = 0.0, lambda: None
        batches = of.batches.epoch(0)
        for _ in range(2):
            with _Noted() as noted:
                take_step(of, of.cut(*next(batches)))
    return noted.operations


def seconds(made: list[Operation], card: Card) -> float:
    """Seconds of an update by the model: of the card, or of the processor that starts its work if they are more."""
    host, device = CLIP_AND_STEP
    host += sum(card.start if each.kernels else VIEW for each in made)
    for each in made:
        moving = each.bytes * card.width / card.bandwidth
        device += max(each.flop / (card.rate * each.share), moving, each.kernels * card.launch)
    return max(host, device)


def roofline(made: list[Operation], card: Card) -> float:
    """Seconds of an update that nothing can be under on that card while its operations stay apart."""
    return sum(max(each.flop / card.rate, each.bytes * card.width / card.bandwidth) for each in made)


def line(small: tuple[int, float], large: tuple[int, float]) -> tuple[float, float]:
    """Images a second and seconds an update besides, from two batch sizes with the seconds of their updates."""
    (first, short), (second, long) = small, large
    rate = (second - first) / (long - short)
    return rate, max(short - first / rate, 0.0)


def stated(network: str, precision: str = "fp32") -> tuple[float, float]:
    """Images a second and milliseconds an update besides of one H100, by the model."""
    row = paper.protocol(network)
    made = {size: operations(network, size, ghost) for size, ghost in sizes(row)}
    rate, besides = line(*((size, seconds(made[size], H100[precision])) for size in made))
    return rate, 1e3 * besides


def sizes(row: paper.Protocol) -> list[tuple[int, int]]:
    """The two batch sizes of a row that an estimate rests on, the small one without ghosts."""
    return [(row.small_batch, 0), (row.large_batch, row.ghost_size)]


def main() -> None:
    """Print the rows."""
    for network in paper.networks():
        rate, besides = stated(network)
        print(f"[paper.rows.{network}]\nimages_per_second = {{ fp32 = {rate:.3g} }}\nupdate_ms = {besides:.2f}\n")


if __name__ == "__main__":
    main()
