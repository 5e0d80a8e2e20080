"""The first minutes on a GPU: what it is, whether its results are right, how fast it is; then the runs worth most.

    python benchmarks/gpu.py [--minutes N] [--out FOLDER] [--networks f1,c1] [--dry-run]

Each result is written as soon as it is there, to gpu.json and, for reading, gpu.md in FOLDER (by default
`results/gpu`). A second call goes on with what is missing, and tries again what ended in an error; an error is a result
like any other. Within the minutes it then trains, longest value first, and leaves finished runs in the store, ready for
`gbn promote`. `--dry-run` walks through all steps on a CPU on tiny sizes, by default of three networks, with runs in
FOLDER. Steps:

1. facts: the card, and its rates of products and copies;
2. equal: an update of each network on the GPU against the CPU, in IEEE float32, TF32 and bfloat16;
3. repeat: updates made twice, and with a save and a load between: equal, bit for bit?
4. waits: lines at which an update waits for the GPU;
5. ghosts: the ghost layers' kernels against a loop, on the shapes of each network;
6. rates: images a second of each row at its small and its large batch, and their share of the roofline;
7. graphs: updates replayed as CUDA graphs against computed ones: equal, bit for bit, and how fast;
8. together: 1, 2, 4, 8 runs of F1 at once;
9. plan: hours of each row and figure on this card, and lines for gbnlib/paper/scales.toml;
10. layers: ghost layers against plain ones over the grid of benchmarks/norm.py;
11. runs, with graphs where these were equal and faster.

Beside the standard library it imports torch, numpy, pandas, pydantic, and filelock, which comes with torch; to read
data sets also Pillow and, by their kind, torchvision (MNIST) or pyarrow (parquet). Neither Snakemake, Sphinx,
papermill, typer, seaborn, matplotlib nor scipy are needed, nor a network, nor an installed gbnlib. Triton is used if it
is there.
"""

import argparse
import json
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # before CUDA begins, for deterministic products
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from card import checks, page, runs, speed
from card.trainings import Setting

from gbnlib import files, paper
from gbnlib.errors import Interrupted, UsageError, unknown
from gbnlib.training import Execution

#: Seconds after which a step is given up.
PATIENCE = 420
#: Steps by name; those that read what others have found come with `known`.
STEPS: dict[str, Callable] = {
    "facts": checks.facts,
    "equal": checks.equal,
    "repeat": checks.repeat,
    "waits": checks.waits,
    "ghosts": checks.ghosts,
    "rates": speed.rates,
    "graphs": speed.graphs,
    "together": speed.together,
    "plan": speed.plan,
    "layers": speed.layers,
}
READING = ("rates", "plan")
PROCESSES = (1, 2, 4, 8)
TINY_PROCESSES = (2,)
#: The networks of a dry run; the others take minutes on a CPU.
TINY_NETWORKS = ("f1", "c1", "resnet44")


def cases(setting: Setting) -> Iterator[tuple[str, tuple]]:
    """All steps in their order, each with what it is about."""
    yield "facts", ()
    for step in ("equal", "repeat", "waits", "ghosts", "rates", "graphs"):
        yield from ((step, (network,)) for network in setting.networks)
    yield from (("together", (number,)) for number in (TINY_PROCESSES if setting.tiny else PROCESSES))
    yield "plan", ()
    yield "layers", ()


# --- a process for the steps, so that neither a crash nor an error that stays on a card ends the call --------------


class Worker:
    """A process that takes steps; after an error the next step gets a new one."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.process = setting, None

    def take(self, step: str, arguments: tuple) -> dict:
        """What a step found, or the error that it ended in."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=serve, args=(theirs, self.setting))
            self.process.start()
            theirs.close()
        self.connection.send((step, arguments))
        try:
            answer = self.connection.recv() if self.connection.poll(PATIENCE) else {"error": f"none in {PATIENCE} s"}
        except EOFError:
            self.process.join()
            answer = {"error": f"the process ended with exit code {self.process.exitcode}"}
        if "error" in answer:
            self.end()
        return answer

    def end(self) -> None:
        """Be without a process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def serve(connection: Connection, setting: Setting) -> None:
    """In the process: take steps until nobody asks any more, or the process that asked is gone."""
    threading.Thread(target=lambda: os._exit(multiprocessing.parent_process().join() or 0), daemon=True).start()
    if setting.tiny:
        torch.set_num_threads(1)
    while True:
        try:
            step, arguments = connection.recv()
        except EOFError:
            return
        connection.send(attempt(partial(STEPS[step], setting, *arguments)))


def attempt(step: Callable[[], object]) -> dict:
    """What a step found as plain values, or its error."""
    try:
        return {"found": json.loads(json.dumps(step(), default=str), parse_constant=str)}
    except Interrupted:
        raise
    except Exception as error:
        places = [f"{Path(place.filename).name}:{place.lineno}" for place in traceback.extract_tb(error.__traceback__)]
        message = (str(error) or "no message").splitlines()[0][:300]
        return {"error": f"{type(error).__name__}: {message}", "where": places[-6:]}


# --- the call ------------------------------------------------------------------------------------------------------


class Report:
    """What is known so far, in gpu.json and gpu.md."""

    def __init__(self, setting: Setting, card: str) -> None:
        self.path = setting.folder / "gpu.json"
        head = {"card": card, "tiny": setting.tiny}
        self.content = files.read_json(self.path) if self.path.exists() else {**head, "steps": {}}
        if {key: self.content.get(key) for key in head} != head:
            raise UsageError(
                f"{self.path} is of {self.content.get('card')}, not of {card}: name another folder by --out."
            )

    def lacks(self, key: str) -> bool:
        """Whether a step has not been taken, or ended in an error."""
        return "found" not in self.content["steps"].get(key, {})

    def known(self) -> dict:
        """What the steps found, by their keys."""
        return {key: entry["found"] for key, entry in self.content["steps"].items() if "found" in entry}

    def add(self, key: str, answer: dict, seconds: float) -> None:
        """Write a result and say that it is there."""
        self.content["steps"][key] = {**answer, "seconds": round(seconds, 1)}
        files.write_json(self.path, self.content)
        files.write_text(self.path.with_suffix(".md"), page.text(self.content))
        print(f"{key}: {answer.get('error', 'done')} ({seconds:.1f} s)", flush=True)


def take_steps(setting: Setting, report: Report, until: float) -> None:
    """Take the steps that are missing while there is time."""
    worker = Worker(setting)
    try:
        for step, arguments in cases(setting):
            key = " ".join(map(str, (step, *arguments)))
            if report.lacks(key) and time.monotonic() < until:
                started = time.monotonic()
                known = (report.known(),) if step in READING else ()
                report.add(key, worker.take(step, arguments + known), time.monotonic() - started)
    finally:
        worker.end()


def train(setting: Setting, report: Report, until: float) -> None:
    """Train what is not finished while there is time."""
    for name, configs in runs.groups(setting).items():
        key, started = f"runs {name}", time.monotonic()
        if configs and report.lacks(key) and started < until:
            answer = attempt(partial(runs.train, setting, configs, until, runs.replayed(configs, report.known())))
            report.add(key, answer, time.monotonic() - started)


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45, help="for all of it; default 45")
    parser.add_argument("--out", type=Path, help="folder of gpu.json and gpu.md; default results/gpu")
    some = f"some networks, with commas; default all, and {','.join(TINY_NETWORKS)} of a dry run"
    parser.add_argument("--networks", default="", help=some)
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on a CPU")
    return parser.parse_args(arguments)


def prepared(options: argparse.Namespace) -> tuple[Setting, str]:
    """What the call is about, and the name of the card; a `UsageError` says what is wrong."""
    default = TINY_NETWORKS if options.dry_run else tuple(paper.networks())
    networks = tuple(options.networks.split(",")) if options.networks else default
    if strange := [name for name in networks if name not in paper.networks()]:
        raise unknown("network", strange[0], paper.networks())
    if not 0 < options.minutes < float("inf"):
        raise UsageError(f"minutes is {options.minutes}; it must be more than 0.")
    folder = files.make_folder(options.out or files.results_root() / ("gpu-dry-run" if options.dry_run else "gpu"))
    if options.dry_run:
        os.environ["GBN_RESULTS"] = str(folder.resolve())
        return Setting("cpu", True, networks, folder), "no card, a dry run on a CPU"
    try:
        device = Execution(device="cuda").torch_device()
    except UsageError as error:
        raise UsageError(f"{error} --dry-run walks through all steps on a CPU.") from None
    return Setting("cuda", False, networks, folder), torch.cuda.get_device_name(device)


def main(arguments: list[str]) -> None:
    """Take the steps, train, and say where it is written."""
    options = parsed(arguments)
    setting, card = prepared(options)
    until = time.monotonic() + 60 * options.minutes
    report = Report(setting, card)
    take_steps(setting, report, until)
    try:
        train(setting, report, until)
    except runs.TimeIsUp:
        print("time is up: the runs have a checkpoint, and the same call goes on")
    print(f"{report.path.with_suffix('.md')} has what was found.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (UsageError, Interrupted) as error:
        print(f"benchmarks/gpu.py: {error}", file=sys.stderr)
        sys.exit(2)
