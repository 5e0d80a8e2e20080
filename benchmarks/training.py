"""Time the training step against the authors' procedure and against a plain good PyTorch loop, side by side.

Every code trains in a process of its own, with its data loading; they take turns, and whoever waits is stopped, its
workers too. A figure is the median over the rounds of the time of an update, with the quartiles. The codes:

- `authors`: the authors' procedure, written anew: a DataLoader with a worker a core, PIL transforms image by image,
  NCHW, float32, the default SGD, a loop of the network over chunks of 128 with `.item()` metrics for each chunk.
- `plain`: a DataLoader with a worker a core over uint8 tensors, torchvision's v2 transforms image by image, NCHW,
  float32, the default SGD, and the ghost layers of this package on the whole batch.
- `fp32`, `bf16`: this package.

Images are random: speed does not depend on what they show. It writes training.json to results/reference/benchmarks.
Run it on a machine that does nothing else; it takes about 15 minutes on 2 cores, and 16 GiB.
"""

import multiprocessing
import os
import re
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from gbnlib import data, files, paper
from gbnlib.experiments import provenance
from gbnlib.nn import build_network
from gbnlib.regimes import Phase, Regime
from gbnlib.report.networks import network_row
from gbnlib.training import BatchDivision, DistanceProbe, Execution, Training
from gbnlib.training.devices import keep_freed_memory, micro_batch_within
from gbnlib.training.step import take_step

CASES = [("f1", 128), ("f1", 4096), ("c1", 128), ("c1", 2048), ("resnet44", 128), ("resnet44", 2048)]
CODES = ("authors", "plain", "fp32", "bf16")
GHOST_SIZE = 128
IMAGES = 50_000
CORES = len(os.sched_getaffinity(0))
SECONDS = 2.5  # of updates in a turn, about; one update at least
ROUNDS = 5


def card(network: str) -> data.Card:
    """The data set that the paper trains the network on."""
    return data.card(paper.protocol(network).dataset)


def random_images(network: str) -> tuple[Tensor, Tensor]:
    """uint8 images of the size of the paper's data, and labels."""
    chance, size = torch.Generator().manual_seed(0), card(network).image_size
    images = torch.randint(0, 256, (IMAGES, card(network).channels, size, size), generator=chance, dtype=torch.uint8)
    return images, torch.randint(card(network).classes, (IMAGES,), generator=chance)


# --- the codes: each makes an iterator that makes an update at every step -----------------------------------------


class Transformed(Dataset):
    """Images with transforms applied one by one, from tensors or, as in torchvision's data sets, from PIL images."""

    def __init__(self, network: str, transforms: Callable, pil: bool) -> None:
        self.images, self.labels = random_images(network)
        self.transforms, self.pil = transforms, pil

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        image = self.images[number]
        return self.transforms(v2.functional.to_pil_image(image) if self.pil else image), int(self.labels[number])


def loader(network: str, batch_size: int, pil: bool) -> DataLoader:
    """A DataLoader with the official augmentation, image by image."""
    entry = card(network)
    crop_and_flip = {"size": entry.image_size, "padding": entry.pad, "fill": entry.fill}
    if pil:
        module = torchvision.transforms
        last = [module.ToTensor(), module.Normalize(entry.mean, entry.std)]
    else:
        module = v2
        last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(entry.mean, entry.std)]
    transforms = module.Compose([module.RandomCrop(**crop_and_flip), module.RandomHorizontalFlip(), *last])
    workers = {"num_workers": CORES, "persistent_workers": True, "multiprocessing_context": "fork"}
    return DataLoader(Transformed(network, transforms, pil), batch_size, shuffle=True, **workers)


def endless(batches: DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch."""
    while True:
        yield from batches


def default_sgd(network: nn.Module) -> torch.optim.Optimizer:
    """SGD as most would call it."""
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)


def authors(name: str, batch_size: int) -> Iterator[None]:
    """The authors' procedure: accumulated gradients over chunks, metrics read chunk by chunk."""
    network = build_network(name, card(name).classes, card(name).channels, card(name).image_size)
    optimizer = default_sgd(network)
    for images, labels in endless(loader(name, batch_size, pil=True)):
        optimizer.zero_grad()
        losses, right = [], []
        for part, answers in zip(images.split(GHOST_SIZE), labels.split(GHOST_SIZE), strict=True):
            logits = network(part)
            loss = F.cross_entropy(logits, answers)
            losses.append(loss.item())
            right.append((logits.argmax(1) == answers).float().mean().item())
            (loss * (len(part) / len(images))).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        yield


def plain(name: str, batch_size: int) -> Iterator[None]:
    """A plain good loop with the ghost layers."""
    network = build_network(name, card(name).classes, card(name).channels, card(name).image_size, GHOST_SIZE)
    optimizer = default_sgd(network)
    for images, labels in endless(loader(name, batch_size, pil=False)):
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        yield


def ours(name: str, batch_size: int, precision: str, waits: list[float]) -> Iterator[None]:
    """This package; `waits` gets the seconds that the preparation of each batch took."""
    keep_freed_memory()
    entry = card(name)
    network = build_network(name, entry.classes, entry.channels, entry.image_size, GHOST_SIZE)
    network.to(memory_format=torch.channels_last)
    images, labels = random_images(name)
    options = {"mean": entry.mean, "std": entry.std, "pad": entry.pad, "fill": entry.fill, "flip": entry.flip}
    regime = Regime((Phase(epoch=0, lr=0.1, momentum=0.9, weight_decay=1e-4),), epochs=1)
    training = Training(
        network.train(),
        torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True),
        regime,
        data.Batches(images, labels, batch_size, 0, **options),
        (images[:1], labels[:1]),
        DistanceProbe(network, 1, 1),
        clip_norm=5.0,
        precision=precision,
        division=BatchDivision(batch_size, GHOST_SIZE, micro_batch=micro_batch(network, entry, precision)),
    )
    for epoch in count():
        batches = training.batches.epoch(epoch)
        for _ in range(training.batches.updates_per_epoch):
            started = time.perf_counter()
            batch = next(batches)
            waits.append(time.perf_counter() - started)
            take_step(training, training.cut(*batch))
            training.update += 1
            yield


def micro_batch(network: nn.Module, entry: data.Card, precision: str) -> int:
    """Samples that go through the network at once, as a run chooses them by default."""
    ghost = torch.zeros(GHOST_SIZE, entry.channels, entry.image_size, entry.image_size)
    ghost = ghost.to(memory_format=torch.channels_last)
    return micro_batch_within(Execution().activations_gb(ghost.device), network, ghost, precision)


# --- what limits a step ----------------------------------------------------------------------------------------------


def best_seconds(step: Callable[[], object], rounds: int = 5) -> float:
    """The shortest of some calls: what the machine can do."""

    def once() -> float:
        started = time.perf_counter()
        step()
        return time.perf_counter() - started

    step()
    return min(once() for _ in range(rounds))


def gemm_gflops(dtype: torch.dtype) -> float:
    """Billions of operations a second of a product of two square matrices of 4096."""
    left, right = (torch.randn(4096, 4096).to(dtype) for _ in range(2))
    return 2 * 4096**3 / best_seconds(lambda: left @ right) / 1e9


def own_operations_seconds(name: str, batch_size: int, dtype: torch.dtype) -> float:
    """Forward and backward of the network's convolutions and linear layers alone, on micro-batches as in training."""
    entry = card(name)
    network = build_network(name, entry.classes, entry.channels, entry.image_size)
    network.to(memory_format=torch.channels_last)
    precision = "bf16" if dtype == torch.bfloat16 else "fp32"
    size = min(batch_size, micro_batch(network, entry, precision))
    network.to(dtype)
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        seen.append((layer, inputs[0].detach(), torch.empty_like(output)))

    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(note)
    images = torch.randn(size, entry.channels, entry.image_size, entry.image_size).to(dtype)
    with torch.no_grad():
        network(images.to(memory_format=torch.channels_last))

    def forward_and_backward(position: int) -> None:
        layer, batch, gradient = seen[position]
        batch = batch.requires_grad_(position > 0)
        wanted = [layer.weight, *([batch] if position else [])]
        call = F.linear if isinstance(layer, nn.Linear) else layer._conv_forward
        torch.autograd.grad(call(batch, layer.weight, layer.bias), wanted, gradient)

    seconds = sum(best_seconds(partial(forward_and_backward, position), 3) for position in range(len(seen)))
    return seconds * batch_size / size


# --- taking turns ----------------------------------------------------------------------------------------------------


def serve(connection: Connection, name: str, batch_size: int, code: str) -> None:
    """In a process of its own: make as many updates as asked for, and say how long each took."""
    os.setpgrp()  # its workers are stopped with it
    connection.send("ready")
    torch.set_num_threads(CORES)
    torch.manual_seed(0)
    waits: list[float] = []
    makers = {"authors": authors, "plain": plain}
    updates = makers[code](name, batch_size) if code in makers else ours(name, batch_size, code, waits)
    while wanted := connection.recv():
        started = time.perf_counter()
        for _ in range(wanted):
            next(updates)
        seconds = (time.perf_counter() - started) / wanted
        connection.send((seconds, statistics.median(waits[-wanted:]) if waits else None, high_water_mark()))


def high_water_mark() -> float:
    """Peak memory of this process in MiB, workers left out, on Linux."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 2**10


class Turn:
    """One of the processes; it runs only while it is asked for updates."""

    def __init__(self, name: str, batch_size: int, code: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, name, batch_size, code))
        self.process.start()
        self.connection.recv()
        self.updates, self.memory = 1, 0.0
        self.take()  # starts workers, loads what is loaded at the first call
        self.updates = max(1, round(SECONDS / self.take()[0]))

    def take(self) -> tuple[float, float | None]:
        """Make some updates; return the seconds of one, and those of preparing its data if they are known."""
        os.killpg(self.process.pid, signal.SIGCONT)
        self.connection.send(self.updates)
        seconds, wait, self.memory = self.connection.recv()
        os.killpg(self.process.pid, signal.SIGSTOP)
        return seconds, wait

    def end(self) -> None:
        """Leave, with all workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()


def measured(name: str, batch_size: int) -> dict:
    """Times, ratios, memory and shares of the peak of one network at one batch size."""
    turns = {code: Turn(name, batch_size, code) for code in CODES}
    taken = [{code: turn.take() for code, turn in turns.items()} for _ in range(ROUNDS)]
    for turn in turns.values():
        turn.end()
    operations = 2 * batch_size * network_row(name)["training"]
    rows = {}
    for code, turn in turns.items():
        seconds = [each[code][0] for each in taken]
        low, median, high = statistics.quantiles(seconds, n=4)
        rows[code] = {
            "seconds": {"median": median, "low": low, "high": high},
            "images_per_second": batch_size / median,
            "gflops": operations / median / 1e9,
            "peak_memory_mib": turn.memory,
        }
    for code, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        row, median = rows[code], rows[code]["seconds"]["median"]
        row["data_share"] = statistics.median(each[code][1] for each in taken) / median
        row["share_of_gemm"] = row["gflops"] / gemm_gflops(dtype)
        row["share_of_own_operations"] = own_operations_seconds(name, batch_size, dtype) / median
        row |= {f"times_{other}": rows[other]["seconds"]["median"] / median for other in ("authors", "plain")}
    for code in CODES:
        print(name, batch_size, code, {key: rows[code][key] for key in rows[code] if key != "seconds"}, flush=True)
    return {"network": name, "batch_size": batch_size, "rounds": ROUNDS, **rows}


def main(names: list[str]) -> None:
    """Measure the networks named, or all, and write the file if it is all."""
    torch.set_num_threads(CORES)
    rows = [measured(name, batch_size) for name, batch_size in CASES if not names or name in names]
    if not names:
        facts = {**provenance.software(), **provenance.hardware(), "threads": CORES, "ghost_size": GHOST_SIZE}
        files.write_json(files.reference_root() / "benchmarks" / "training.json", {**facts, "rows": rows})


if __name__ == "__main__":
    main(sys.argv[1:])
