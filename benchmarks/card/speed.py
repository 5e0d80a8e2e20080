"""How fast: ghost layers against plain ones, updates of each row against the roofline, several runs at once; a plan."""

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from multiprocessing.connection import Connection

import norm
import roofline
import torch

from card.trainings import PRECISIONS, Setting, make, state, training, updates
from gbnlib import experiments, paper
from gbnlib.experiments import planning
from gbnlib.training.devices import arithmetic

SECONDS = 2.0  # of updates in a measurement, about
TINY_SECONDS = 0.1


def layers(setting: Setting) -> list[dict]:
    """The grid of benchmarks/norm.py: forward and backward of a layer, ghosts and their loop over plain."""
    cells = norm.cells()
    if setting.tiny:
        cells = [{**cell, "shape": (64, 8, 4, 4), "ghost_size": 8} for cell in cells if cell["layout"] != "rows"][:12:3]
    rows = []
    for cell in cells:
        times = norm.interleaved(norm.layer_steps(cell, setting.device), rounds=3 if setting.tiny else norm.ROUNDS)
        plain = times["plain"]["median"]
        ratios = {code: times[code]["median"] / plain for code in ("loop", "ghost")}
        rows.append({**cell, "shape": list(cell["shape"]), "plain_ms": 1e3 * plain, **ratios})
    return rows


def rates(setting: Setting, network: str, known: dict) -> list[dict]:
    """Updates of a row at its small and its large batch, with and without ghosts, in each precision."""
    small, large, ghost = setting.batches(network)
    rows = []
    for batch, size in ((small, 0), (large, 0), (large, ghost)):
        made = roofline.operations(network, batch, size)
        for precision in PRECISIONS:
            row = {"batch": batch, "ghosts": size, "precision": precision}
            try:
                row |= timed(setting, network, batch, size, precision)
            except torch.OutOfMemoryError as error:
                rows.append({**row, "error": str(error).splitlines()[0][:120]})
                continue
            limit = roofline.roofline(made, measured_card(known["facts"], precision))
            rows.append({**row, "of_roofline": 1e3 * limit / row["ms"], "launches": sum(each.kernels for each in made)})
    return rows


def graphs(setting: Setting, network: str) -> list[dict]:
    """Updates replayed as CUDA graphs against computed ones: whether they end alike, bit for bit, and how fast."""
    small, large, ghost = setting.batches(network)
    if setting.device != "cuda":
        return [{"equal": None, "why": "only a GPU has graphs"}]
    rows = []
    for batch, size in ((small, 0), (large, ghost)):
        ends = [state(make(training(network, batch, size, graph=graph), 8)) for graph in (False, True)]
        row = {"batch": batch, "ghosts": size, "equal": torch.equal(*ends)}
        for name, graph in (("computed", False), ("replayed", True)):
            row |= {f"{name}_ms": timed(setting, network, batch, size, "fp32", graph)["ms"]}
        rows.append(row)
    return rows


def timed(setting: Setting, network: str, batch: int, ghost: int, precision: str, graph: bool = False) -> dict:
    """Milliseconds of an update, images a second and peak memory."""
    of = training(network, batch, ghost, precision, setting.device, graph)
    if setting.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with arithmetic(precision):
        one = seconds_of(setting, lambda: make(of, 1), 3)
        number = max(1, round((TINY_SECONDS if setting.tiny else SECONDS) / one))
        each = seconds_of(setting, lambda: make(of, number), 1) / number
    row = {"ms": 1e3 * each, "images_per_second": batch / each}
    if setting.device == "cuda":
        row["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return row


def seconds_of(setting: Setting, step: Callable[[], object], warm_up: int) -> float:
    """Seconds of a call after some others."""
    for _ in range(warm_up):
        step()
    setting.wait()
    started = time.perf_counter()
    step()
    setting.wait()
    return time.perf_counter() - started


def measured_card(facts: dict, precision: str) -> roofline.Card:
    """The card as its products and copies were measured."""
    assumed = roofline.H100[precision]
    return replace(assumed, rate=1e12 * facts[f"{precision}_tflops"], bandwidth=1e9 * facts["copy_gb_s"])


# --- several runs at once --------------------------------------------------------------------------------------------


def together(setting: Setting, number: int) -> dict:
    """Images a second of some F1 trainings at the small batch, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    for _ in range(number):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(theirs, setting)))
        processes[-1].start()
        theirs.close()
        ends.append(ours)
    try:
        for end in ends:
            end.recv()
        for end in ends:  # all are ready: begin
            end.send(None)
        found = [end.recv() for end in ends]
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return {"processes": number, "images_per_second": sum(found), "slowest": min(found)}


def serve(connection: Connection, setting: Setting) -> None:
    """In a process of its own: make updates for some seconds, and say how many images they were."""
    torch.set_num_threads(1)
    small, _, _ = setting.batches("f1")
    of = make(training("f1", small, device=setting.device), 3)
    setting.wait()
    connection.send("ready")
    connection.recv()
    started, made = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < (TINY_SECONDS if setting.tiny else SECONDS):
        made += sum(1 for _ in islice(updates(of), 10))
        setting.wait()
    connection.send(small * made / passed)


# --- what that makes of the paper ------------------------------------------------------------------------------------


def plan(setting: Setting, known: dict) -> dict:
    """Hours of each row of the tables and of each figure on this card, and the rows that scales.toml would state."""
    measured = {name: known[f"rates {name}"] for name in setting.networks if f"rates {name}" in known}
    fits = {(name, each): fit(rows, each) for name, rows in measured.items() for each in PRECISIONS}
    hours = []
    for item in experiments.items_at("paper"):
        runs = experiments.plan(item, "paper")
        for name in dict.fromkeys(run.network for run in runs):
            of_row = [run for run in runs if run.network == name]
            row = {"item": item, "network": name, "runs": len(of_row)}
            for precision in PRECISIONS:
                if (found := fits.get((name, precision))) is not None:
                    row[precision] = sum(planning.seconds_at(run, *found) for run in of_row) / 3600
            if len(row) > 3:
                hours.append(row)
    return {"hours": hours, "rows": {name: pasted(name, fits) for name in measured}}


def fit(rows: list[dict], precision: str) -> tuple[float, float] | None:
    """Images a second, and milliseconds an update besides, from the small batch and the large one with ghosts."""
    of_precision = [row for row in rows if row["precision"] == precision and "ms" in row]
    ends = [(row["batch"], row["ms"] / 1e3) for row in of_precision]
    if len(of_precision) < 2 or ends[0][0] == ends[-1][0] or ends[-1][1] <= ends[0][1]:
        return None
    rate, besides = roofline.line(ends[0], ends[-1])
    return rate, 1e3 * besides


def pasted(network: str, fits: dict) -> str:
    """The lines of a row of gbnlib/paper/scales.toml."""
    row, found = paper.protocol(network, "paper"), fits[network, "fp32"]
    if found is None:
        return "# not measured"
    return f"[paper.rows.{row.network}]\nimages_per_second = {{ fp32 = {found[0]:.3g} }}\nupdate_ms = {found[1]:.2f}"
