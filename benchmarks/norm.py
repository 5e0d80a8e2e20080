"""Time ghost batch normalization against plain batch normalization and against a loop over the ghosts with `cat`.

Forward and backward in training mode, the three side by side in one process, each round in another order: who comes
after the loop finds other caches. A figure is the median of 15 rounds, of rows, which take the least time, 60, with the
quartiles beside it. Freed memory is kept, as in the project's training: otherwise mapping new memory
takes most of the time of all three. Also: peak memory, each measured in a process of its own; time against the number
of ghosts; a whole network with ghost layers against a loop of the plain network over chunks.

It writes norm.json and its picture to results/reference/benchmarks. Run it on a machine that does nothing else; it
takes about 8 minutes on 2 cores, and 12 GiB.
"""

import json
import math
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gbnlib import files
from gbnlib.experiments import provenance
from gbnlib.nn import build_network, ghost_batch_norm
from gbnlib.training.devices import keep_freed_memory

ROUNDS = 15
FLAT = [(4096, 512), (2048, 1024), (4096, 4096)]
IMAGES = [
    (1024, 16, 32, 32),
    (2048, 16, 32, 32),
    (2048, 64, 8, 8),
    (1024, 64, 16, 16),
    (1024, 128, 8, 8),
    (4096, 16, 8, 8),
    (256, 256, 56, 56),
]
LAYOUTS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}
CODES = ("plain", "loop", "ghost")
MEMORY_SHAPE = (2048, 16, 32, 32)


def cells() -> list[dict]:
    """All combinations that are measured."""
    flat = [
        {"shape": shape, "layout": "rows", "dtype": dtype, "ghost_size": size}
        for shape in FLAT
        for dtype in ("float32", "bfloat16")
        for size in (32, 128)
    ]
    images = [
        {"shape": shape, "layout": layout, "dtype": dtype, "ghost_size": size}
        for shape in IMAGES
        for layout in LAYOUTS
        for dtype in ("float32", "bfloat16")
        for size in (8, 32, 128)
    ]
    return flat + images


def normalise(code: str, batch: Tensor, size: int, state: tuple[Tensor, ...]) -> Tensor:
    """Normalise a batch in one of three ways; `state` is running mean and variance, weight and bias."""
    if code == "plain":
        return F.batch_norm(batch, *state, training=True)
    if code == "loop":
        return torch.cat([F.batch_norm(ghost, *state, training=True) for ghost in batch.split(size)])
    return ghost_batch_norm(batch, size, *state)


def tensors(cell: dict, device: str = "cpu") -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """A batch, the gradient of the output, and the state of a layer; statistics and parameters are float32."""
    torch.manual_seed(0)
    layout = LAYOUTS.get(cell["layout"], torch.contiguous_format)
    dtype = getattr(torch, cell["dtype"])
    with torch.device(device):
        batch, gradient = (torch.randn(cell["shape"]).to(dtype).to(memory_format=layout) for _ in range(2))
        channels = cell["shape"][1]
        state = torch.zeros(channels), torch.ones(channels), *(torch.rand(channels).requires_grad_() for _ in range(2))
    return batch.requires_grad_(), gradient, state


def timed(step: Callable[[], None]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def interleaved(steps: dict[str, Callable[[], None]], rounds: int = ROUNDS, warm_up: int = 3) -> dict[str, dict]:
    """Median and quartiles of the seconds of each step, called in turn, in another order in each round."""
    orders = random.Random(0)
    taken = pd.DataFrame(
        [{name: timed(steps[name]) for name in orders.sample(list(steps), len(steps))} for _ in range(warm_up + rounds)]
    )
    quartiles = taken[warm_up:].quantile([0.5, 0.25, 0.75])
    return {name: dict(zip(("median", "low", "high"), quartiles[name], strict=True)) for name in steps}


def layer_steps(cell: dict, device: str = "cpu") -> dict[str, Callable[[], None]]:
    """One forward and backward of each code on the same tensors; a GPU is waited for."""
    batch, gradient, state = tensors(cell, device)

    def step(code: str) -> None:
        output = normalise(code, batch, cell["ghost_size"], state)
        torch.autograd.grad(output, (batch, *state[2:]), gradient)
        if device != "cpu":
            torch.cuda.synchronize()

    return {code: lambda code=code: step(code) for code in CODES}


def measured_cell(cell: dict) -> dict:
    """A cell with its times and ratios."""
    times = interleaved(layer_steps(cell), ROUNDS * (4 if cell["layout"] == "rows" else 1))
    ratios = {f"{code}_to_plain": times[code]["median"] / times["plain"]["median"] for code in ("loop", "ghost")}
    print(cell, {name: round(ratio, 2) for name, ratio in ratios.items()}, flush=True)
    return {**cell, **times, **ratios}


def growth() -> list[dict]:
    """Time against the number of ghosts in a batch of (4096, 16, 8, 8), channels-last."""
    rows = []
    for ghosts in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
        cell = {"shape": IMAGES[4], "layout": "channels-last", "dtype": "float32", "ghost_size": 4096 // ghosts}
        times = interleaved(layer_steps(cell))
        rows.append({"ghosts": ghosts, **{code: times[code]["median"] for code in CODES}})
    return rows


def peak_memory() -> dict[str, float]:
    """MiB beyond input and gradient at the peak of one forward and backward, in a fresh process for each code."""
    return {
        code: float(subprocess.run([sys.executable, __file__, code], capture_output=True, check=True).stdout)
        for code in CODES
    }


def peak_memory_of(code: str) -> float:
    """What `peak_memory` asks a process for: the kernel's high-water mark, set back after all is in place."""
    cell = {"shape": MEMORY_SHAPE, "layout": "channels-last", "dtype": "float32", "ghost_size": 128}
    batch, gradient, state = tensors(cell)
    normalise(code, batch[:256], 128, state)  # loads what is loaded at the first call
    Path("/proc/self/clear_refs").write_text("5")
    before = high_water_mark()
    torch.autograd.grad(normalise(code, batch, 128, state), (batch, *state[2:]), gradient)
    return high_water_mark() - before


def high_water_mark() -> float:
    """Peak memory of this process in MiB, on Linux."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**10


def whole_model() -> dict:
    """ResNet44 at batch 2048 in ghosts of 128: ghost layers on the whole batch, or the plain network chunk by chunk."""
    torch.manual_seed(0)
    images, labels = torch.randn(2048, 3, 32, 32), torch.randint(10, (2048,))
    images = images.to(memory_format=torch.channels_last)
    networks = {"plain": build_network("resnet44", 10, 3, 32), "ghost": build_network("resnet44", 10, 3, 32, 128)}
    for network in networks.values():
        network.to(memory_format=torch.channels_last)

    def update(network: nn.Module, chunk: int) -> None:
        network.zero_grad(set_to_none=True)
        for part, answers in zip(images.split(chunk), labels.split(chunk), strict=True):
            (F.cross_entropy(network(part), answers, reduction="sum") / len(labels)).backward()

    steps = {
        "plain": lambda: update(networks["plain"], 2048),
        "chunks": lambda: update(networks["plain"], 128),
        "ghost": lambda: update(networks["ghost"], 2048),
    }
    return interleaved(steps, rounds=5, warm_up=1)


def summary(rows: list[dict]) -> list[dict]:
    """Geometric mean and worst of the ratios, by dimension and dtype."""
    frame = pd.DataFrame(rows)
    frame["layer"] = frame.layout.map(lambda layout: "1-D" if layout == "rows" else "2-D")
    ratios = ["ghost_to_plain", "loop_to_plain"]
    found = []
    for (layer, dtype), group in frame.groupby(["layer", "dtype"]):
        means = {name: math.exp(group[name].map(math.log).mean()) for name in ratios}
        worst = {"worst_ghost_to_plain": group.ghost_to_plain.max()}
        worst["worst_ghost_to_loop"] = (group.ghost_to_plain / group.loop_to_plain).max()
        found.append({"layer": layer, "dtype": dtype, "cells": len(group), **means, **worst})
    return found


def draw(facts: dict) -> None:
    """Ratios of every cell to plain batch normalization, and time against the number of ghosts."""
    import matplotlib.pyplot as plt

    from gbnlib.report import figures, plots

    plots.set_theme()
    figure, (left, right) = plt.subplots(1, 2)
    frame = pd.DataFrame(facts["cells"])
    styles = {"loop": ("loop with cat", "C1", "x"), "ghost": ("gbnlib", "C0", "o")}
    groups = frame.groupby(["layout", "dtype"])
    for position, (_, group) in enumerate(groups):
        for code, (name, color, marker) in styles.items():
            across = [position + (-0.12 if code == "loop" else 0.12)] * len(group)
            label = name if position == 0 else None
            left.plot(across, group[f"{code}_to_plain"], marker, color=color, alpha=0.7, label=label)
    left.axhline(1, color="0.4", linewidth=1)
    left.set_yscale("log", base=2)
    left.set_xticks(
        range(len(groups)), [f"{layout}\n{dtype}".replace("channels-last", "NHWC") for layout, dtype in groups.groups]
    )
    left.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    left.set(ylabel="time ÷ plain batch normalization")
    left.set_ylim(top=2 * frame.loop_to_plain.max())
    left.legend(loc="upper left", ncols=2)
    grown = pd.DataFrame(facts["growth"])
    right.plot(grown.ghosts, 1e3 * grown.plain, "k--", label="plain")
    for code, (name, color, marker) in styles.items():
        right.plot(grown.ghosts, 1e3 * grown[code], marker, linestyle="-", color=color, label=name)
    right.set_xscale("log", base=2)
    right.set_yscale("log")
    right.set_xticks(grown.ghosts[::2], grown.ghosts[::2])
    right.set_yticks([3, 5, 10, 20], ["3", "5", "10", "20"])
    right.set(xlabel="ghosts in a batch of (4096, 16, 8, 8), channels-last", ylabel="forward + backward (ms)")
    right.set_xlim(right=4 * grown.ghosts.max())
    figures.name_lines(right)
    for axes in (left, right):
        axes.minorticks_off()
    figures.write(
        figure, files.reference_root() / "benchmarks", "norm", "What ghosts cost, by layout and number format"
    )
    plt.close(figure)


def main() -> None:
    """Measure everything, write the file and the figure."""
    keep_freed_memory()
    rows = [measured_cell(cell) for cell in cells()]
    facts = {
        **provenance.software(),
        **provenance.hardware(),
        "threads": torch.get_num_threads(),
        "rounds": ROUNDS,
        "cells": rows,
        "summary": summary(rows),
        "growth": growth(),
        "peak_memory_mib": {"shape": MEMORY_SHAPE, "ghost_size": 128, **peak_memory()},
        "whole_model": {"network": "resnet44", "batch_size": 2048, "ghost_size": 128, **whole_model()},
    }
    files.write_json(files.reference_root() / "benchmarks" / "norm.json", facts)
    draw(facts)
    print(json.dumps({key: facts[key] for key in ("summary", "peak_memory_mib", "whole_model")}, indent=1))


if __name__ == "__main__":
    if sys.argv[1:] == ["draw"]:  # anew, from what was measured
        draw(files.read_json(files.reference_root() / "benchmarks" / "norm.json"))
    elif len(sys.argv) > 1:
        print(peak_memory_of(sys.argv[1]))
    else:
        main()
