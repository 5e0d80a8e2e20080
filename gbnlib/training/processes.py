"""The processes that train one run together, as torchrun starts them; usually there is one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

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

    def add_up(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over processes."""
        if self.count > 1:
            dist.all_reduce(tensor)

    def sharing_gradients(self, network: nn.Module) -> nn.Module:
        """The network in training: each backward ends with the sum of the gradients of all processes.

        DistributedDataParallel adds up buckets of gradients while others are still computed. It would take their mean,
        and would copy the running statistics of rank 0 to all: but a batch is shared unevenly, and `RunningStatistics`
        composes. Give it None in place of images where a process has none.
        """
        if self.count == 1:
            return network
        parallel = DistributedDataParallel(_Share(network), gradient_as_bucket_view=True)
        parallel.broadcast_buffers = False  # as an argument it has another name from PyTorch 2.14 on
        parallel.register_comm_hook(None, _summed)
        # After the first backward, buckets are laid out anew. Three processes or more would then add up in another
        # order, so that a resumed run, whose first backward comes later, would differ in rounding.
        parallel(None).sum().backward()
        network.zero_grad()
        return parallel

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


class _Share(nn.Module):
    """A network, which also goes forward where a process has nothing of a batch: then its gradients are zero."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor | None) -> Tensor:
        if images is not None:
            return self.network(images)
        total = sum(parameter.sum() for parameter in self.network.parameters())
        return total * total.new_zeros(0)


def _summed(state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """The sum of a bucket over processes."""
    return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda done: done.value()[0])


def _number(variable: str, default: int) -> int:
    """A variable that torchrun sets."""
    given = os.environ.get(variable) or str(default)
    if not given.isdecimal():
        raise UsageError(f"{variable} is {given!r}; it must be a whole number, as torchrun sets it, or unset.")
    return int(given)
