"""The processes that train one run together, as torchrun starts them; usually there is one."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gbnlib.errors import UsageError


@dataclass(frozen=True)
class Processes:
    """Which process this is, and of how many. With one, nothing is communicated."""

    rank: int = 0
    count: int = 1

    @classmethod
    def from_environment(cls) -> "Processes":
        """Those that torchrun started, joined into a group at the first call.

        Tensors travel by the backend of their device, for a run may be on the CPU of a machine with GPUs; plain values
        travel by gloo.
        """
        rank, count = _number("RANK", 0), _number("WORLD_SIZE", 1)
        if rank >= count:
            raise UsageError(
                f"RANK is {rank} and WORLD_SIZE {count}; ranks go from 0 to WORLD_SIZE - 1. torchrun sets both: unset "
                "them to train in one process."
            )
        if count > 1 and not dist.is_initialized():
            dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        return cls(rank, count)

    @property
    def local_rank(self) -> int:
        """The number of this process on its machine, which is that of its GPU."""
        return _number("LOCAL_RANK", 0) if self.count > 1 else 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of some tensors of one dtype by its sum over processes, in one message."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def add_up_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their sums over processes; where the share of a batch is empty, they are zero."""
        if self.count == 1:
            return
        parameters = list(parameters)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.add_up([parameter.grad for parameter in parameters])

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all processes, by rank."""
        if self.count == 1:
            return [tensor]
        gathered = [torch.empty_like(tensor) for _ in range(self.count)]
        dist.all_gather(gathered, tensor)
        return gathered

    def first_gives(self, value: object) -> object:
        """The plain value or state that the process of rank 0 has."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def first_says(self, values: Sequence[bool]) -> list[bool]:
        """What the process of rank 0 says; the others' values are ignored. No GPU is asked, nor waited for."""
        if self.count == 1:
            return list(values)
        answers = torch.tensor(values, dtype=torch.uint8)
        dist.broadcast(answers, src=0)
        return answers.bool().tolist()


def _number(variable: str, default: int) -> int:
    """A variable that torchrun sets."""
    given = os.environ.get(variable) or str(default)
    if not given.isdecimal():
        raise UsageError(f"{variable} is {given!r}; it must be a whole number, as torchrun sets it, or unset.")
    return int(given)
