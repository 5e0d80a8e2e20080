"""Several runs side by side, each in a process of its own."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized

from gbnlib import paper
from gbnlib.cores import cores
from gbnlib.errors import Failed, Interrupted, UsageError
from gbnlib.experiments import store
from gbnlib.experiments.config import RunConfig
from gbnlib.experiments.observer import NOBODY, Observer
from gbnlib.experiments.planning import estimated_seconds

#: Exit code of a process of the pool that was asked to stop.
STOPPED = 130


def run_all(
    configs: Sequence[RunConfig],
    scale: str,
    *,
    jobs: int = 0,
    force: bool = False,
    observer: Observer = NOBODY,
    **execution: object,
) -> list[store.Run]:
    """Train several runs side by side, longest first, each in a process with the threads that the scale fixes.

    Parameters
    ----------
    configs : the runs; finished ones are only looked up.
    scale : the scale whose rows say how many threads a run takes.
    jobs : number of processes; 0 means as many as fit on the CPU cores and, if they use GPUs, as share those by the
        scale's rows; then process k of them takes GPU k, counted round.
    force : train finished runs again.
    observer : is said a line a finished run, and shown how many are finished.
    **execution : fields of `gbnlib.training.Execution`.

    Returns
    -------
    The finished runs, in the order of `configs`.

    Raises
    ------
    Interrupted : Ctrl-C, or a process was asked to stop; those that trained have a checkpoint, the same call goes on.
    Failed : a process was killed, most likely for lack of memory.
    """
    if jobs < 0:
        raise UsageError(f"jobs is {jobs}; it is a count, 1 or more, or 0 for as many as fit on this machine.")
    from gbnlib.training import Execution

    Execution(**execution)  # what is wrong with it is said even if nothing is left to train
    unique = dict.fromkeys(configs)
    missing = [config for config in unique if force or store.damage(config) or store.find(config) is None]
    missing.sort(key=lambda config: estimated_seconds(config, scale), reverse=True)
    gpus, before = _gpus(execution.get("device", "auto")) if missing else 0, 0
    for alike in _pools(missing, scale, gpus):
        several = min(jobs or jobs_on(cores(), alike, scale, gpus), len(alike))
        tick = partial(observer.show, partial(progress_text, configs, scale, several))
        _run_missing(alike, scale, several, force, observer.say, tick, execution, (before, len(missing)))
        before += len(alike)
    return [found for config in configs if (found := store.find(config)) is not None]


def jobs_on(cores: int, configs: Sequence[RunConfig], scale: str, gpus: int = 0) -> int:
    """How many of the runs fit side by side on some cores and, where they use them, on some GPUs."""
    rows = [paper.protocol(config.network, scale) for config in configs]
    fitting = [len(configs), cores // max(row.threads for row in rows)]
    if gpus:
        fitting.append(gpus * min(row.runs_per_gpu for row in rows))
    return max(1, min(fitting))


def resources(config: RunConfig, scale: str) -> dict[str, int]:
    """The fields of `gbnlib.training.Execution` that a scale fixes for a run."""
    row = paper.protocol(config.network, scale)
    return {"threads": row.threads, "runs_per_gpu": row.runs_per_gpu}


def _pools(configs: Sequence[RunConfig], scale: str, gpus: int) -> list[list[RunConfig]]:
    """The runs as they go together: on GPUs, those of which as many share one; the largest networks come first."""
    rooms = [paper.protocol(config.network, scale).runs_per_gpu if gpus else 1 for config in configs]
    return [[config for config, own in zip(configs, rooms, strict=True) if own == room] for room in sorted(set(rooms))]


def _gpus(device: str) -> int:
    """How many GPUs runs of a device option are dealt out to: all, if it names none."""
    import torch

    from gbnlib.training import Execution

    if Execution(device=device).torch_device().type == "cpu":
        return 0
    return 1 if device.startswith("cuda:") else torch.cuda.device_count()


def _run_missing(
    configs: Sequence[RunConfig],
    scale: str,
    jobs: int,
    force: bool,
    say: Callable,
    tick: Callable,
    execution: dict,
    place: tuple[int, int],
) -> None:
    """Hand runs, of which there are some before and so many in all, to a pool and say what each came to."""
    started, others = time.monotonic(), set(multiprocessing.active_children())
    context, (before, total) = multiprocessing.get_context("spawn"), place
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(context.Value("i"),))
    futures: list[Future] = []
    workers: set[BaseProcess] = set()
    try:
        for config in configs:
            options = {**resources(config, scale), **execution}
            futures.append(pool.submit(_run_or_leave, config, force=force, **options))
            workers |= set(multiprocessing.active_children()) - others
        pending = set(futures)
        while pending:
            finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                line = describe(future.result())
                made = before + len(configs) - len(pending)
                say(f"[{made}/{total}] {line}  ({time.monotonic() - started:.0f} s)")
            tick()
    except KeyboardInterrupt:
        _stop(pool, workers)
        left = total - before - len(configs) + _left(futures)
        raise Interrupted(f"stopped with {left} of {total} runs not finished") from None
    except BrokenProcessPool:
        pool.shutdown()  # the pool has asked the other processes to stop; wait for their checkpoints
        left = total - before - len(configs) + _left(futures)
        raise _broken(workers, f"{left} of {total} runs not finished") from None
    except BaseException:
        _stop(pool, workers)
        raise
    pool.shutdown()


def _left(futures: Sequence[Future]) -> int:
    """How many runs have not come to an end."""
    return sum(not future.done() or future.cancelled() or future.exception() is not None for future in futures)


def _stop(pool: ProcessPoolExecutor, workers: set[BaseProcess]) -> None:
    """Begin no more runs, and wait until those that train have a checkpoint and left; a second Ctrl-C kills them.

    A second SIGTERM does not, as in `runner`.
    """
    attended = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN) if attended else None
    pool.shutdown(wait=False, cancel_futures=True)
    for process in workers:
        process.terminate()
    try:
        for process in workers:
            process.join()
    except KeyboardInterrupt:
        for process in workers:
            process.kill()
    finally:
        if attended:
            signal.signal(signal.SIGTERM, before)


def _broken(workers: set[BaseProcess], left: str) -> Exception:
    """What a pool that lost a process raises: was it asked to stop, did it fail, or was it killed?"""
    codes = {process.exitcode for process in workers} - {None, 0, STOPPED, -signal.SIGTERM}
    if not codes:
        return Interrupted(f"stopped with {left}")
    killed = "was killed, most likely because memory ran out: use fewer --jobs or a smaller --memory-gb"
    cause = killed if -signal.SIGKILL in codes else f"ended with exit code {codes.pop()}"
    return Failed(f"a process that trained {cause}; {left}. Finished runs and checkpoints are kept.")


def _run_or_leave(config: RunConfig, device: str = "auto", **options: object) -> store.Run:
    """In a process of the pool: train a run; when it is stopped, end the process before it takes the next run.

    A stop that came when a run had made its last update has let that run finish.
    """
    from gbnlib.experiments.runner import run, was_stopped

    try:
        if was_stopped():
            raise Interrupted
        return run(config, device=own_device(device, _number), **options)
    except Interrupted:
        os._exit(STOPPED)


def own_device(device: str, number: int) -> str:
    """The device of a process of the pool: where no GPU is named, they are dealt out by its number."""
    gpus = _gpus(device)
    return f"cuda:{number % gpus}" if gpus and not device.startswith("cuda:") else device


#: Of this process in its pool.
_number = 0


def _begin(begun: Synchronized) -> None:
    """In a process of the pool: take a number, and leave with the parent."""
    global _number
    with begun.get_lock():
        _number, begun.value = begun.value, begun.value + 1
    _leave_with_parent()


def _leave_with_parent() -> None:
    """In a process of the pool: when the one that made it is gone, even by `kill -9`, checkpoint and leave too.

    It is a process group of its own, so that who ends a whole group, as a notebook's server does with that of a kernel,
    leaves it the time for that.
    """
    os.setpgid(0, 0)

    def watch() -> None:
        multiprocessing.parent_process().join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        os._exit(STOPPED)

    threading.Thread(target=watch, daemon=True).start()


def describe(run: store.Run) -> str:
    """A finished run in one line."""
    summary, name = run.done["summary"], f"{run.config.id}  {run.config.method}"
    if run.status == "diverged":
        return f"{name}: diverged after {summary['updates']:,} updates"
    made = f"{summary['updates']:,} updates in {summary['seconds']:.1f} s"
    return f"{name}: validation error {summary['final_validation_error']:.2f} % after {made}"


def duration(seconds: float) -> str:
    """A time as a person says it: "40 s", "4 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def progress_text(configs: Sequence[RunConfig], scale: str, jobs: int = 0) -> str:
    """How many of some runs are finished, and how long the others take."""
    unique = list(dict.fromkeys(configs))
    finished = sum(map(store.is_done, unique))
    return f"{finished}/{len(unique)}, {duration(remaining_seconds(unique, scale, jobs))} left"


def remaining_seconds(configs: Sequence[RunConfig], scale: str, jobs: int = 0) -> float:
    """Estimated time until all of `configs` are finished on this machine.

    It starts from the speed the scale states and corrects it by what finished runs made here have taken. At a scale for
    a GPU it is that of one run after the other, since what sharing a GPU gains is not known beforehand.
    """
    unique = list(dict.fromkeys(configs))
    found = [store.find(config, again=False) for config in unique]
    missing = [config for config, run in zip(unique, found, strict=True) if run is None]
    if not missing:
        return 0.0
    here = [run for run in found if run is not None and run.origin == "local" and run.done["summary"]["seconds"]]
    taken = sum(run.done["summary"]["seconds"] for run in here)
    factor = taken / sum(estimated_seconds(run.config, scale) for run in here) if here else 1.0
    times = [estimated_seconds(config, scale) * (1 - store.progress(config)[1]) for config in missing]
    slots = jobs or (1 if paper.scale(scale).on_gpu else jobs_on(cores(), missing, scale))
    return factor * max(sum(times) / slots, *times)
