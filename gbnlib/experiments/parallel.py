"""Several runs side by side, each in a process of its own."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from gbnlib import paper
from gbnlib.errors import Interrupted
from gbnlib.experiments import store
from gbnlib.experiments.config import RunConfig
from gbnlib.experiments.planning import estimated_seconds


def run_all(
    configs: Sequence[RunConfig],
    scale: str,
    *,
    jobs: int = 0,
    force: bool = False,
    say: Callable[[str], None] = lambda line: None,
    tick: Callable[[], None] = lambda: None,
    **execution: object,
) -> list[store.Run]:
    """Train several runs side by side, longest first, each in a process with the threads that the scale fixes.

    Parameters
    ----------
    configs : the runs; finished ones are only looked up.
    scale : the scale whose rows say how many threads a run takes.
    jobs : number of processes; 0 means as many as the cores hold.
    force : train finished runs again.
    say : gets a line a finished run.
    tick : called about twice a second while runs train.
    **execution : fields of `gbnlib.training.Execution`.

    Returns
    -------
    The finished runs, in the order of `configs`.

    Raises
    ------
    Interrupted : Ctrl-C, or a process was ended; those that trained have a checkpoint, the same call goes on.
    """
    missing = [config for config in dict.fromkeys(configs) if force or store.find(config) is None]
    missing.sort(key=lambda config: estimated_seconds(config, scale), reverse=True)
    if missing:
        _run_missing(missing, scale, jobs or jobs_on(os.cpu_count() or 1, missing, scale), force, say, tick, execution)
    return [found for config in configs if (found := store.find(config)) is not None]


def jobs_on(cores: int, configs: Sequence[RunConfig], scale: str) -> int:
    """How many of the runs fit side by side on some cores."""
    threads = max(paper.protocol(config.network, scale).threads for config in configs)
    return max(1, min(len(configs), cores // threads))


def _run_missing(
    configs: Sequence[RunConfig],
    scale: str,
    jobs: int,
    force: bool,
    say: Callable[[str], None],
    tick: Callable[[], None],
    execution: dict,
) -> None:
    """Hand the runs to a pool of processes and say what each came to."""
    started = time.monotonic()
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_leave_with_parent)
    pending: set[Future] = set()
    try:
        for config in configs:
            options = {"threads": paper.protocol(config.network, scale).threads, **execution}
            pending.add(pool.submit(_run_or_leave, config, force=force, **options))
        while pending:
            finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                line = describe(future.result())
                say(f"[{len(configs) - len(pending)}/{len(configs)}] {line}  ({time.monotonic() - started:.0f} s)")
            tick()
    except (KeyboardInterrupt, BrokenProcessPool):
        _stop(pool)
        left = len(pending)
        raise Interrupted(f"stopped with {left} of {len(configs)} runs not finished") from None
    except BaseException:
        _stop(pool)
        raise
    pool.shutdown()


def _stop(pool: ProcessPoolExecutor) -> None:
    """Begin no more runs, and let those that train checkpoint and leave."""
    pool.shutdown(wait=False, cancel_futures=True)
    for process in multiprocessing.active_children():
        process.terminate()


def _run_or_leave(config: RunConfig, **options: object) -> store.Run:
    """In a process of the pool: train a run; when it is stopped, end the process before it takes the next run."""
    from gbnlib.experiments.runner import run

    try:
        return run(config, **options)
    except Interrupted:
        os._exit(1)


def _leave_with_parent() -> None:
    """In a process of the pool: when the one that made it is gone, even by `kill -9`, checkpoint and leave too."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        while True:  # the first signal asks for a checkpoint, the next one ends the process
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    threading.Thread(target=watch, daemon=True).start()


def describe(run: store.Run) -> str:
    """A finished run in one line."""
    summary = run.done["summary"]
    if run.status == "diverged":
        return f"{run.config.id}  {run.config.method}: diverged after {summary['updates']:,} updates"
    return (
        f"{run.config.id}  {run.config.method}: validation error {summary['final_validation_error']:.2f} % after "
        f"{summary['updates']:,} updates in {summary['seconds']:.1f} s"
    )


def remaining_seconds(configs: Sequence[RunConfig], scale: str, jobs: int = 0) -> float:
    """Estimated time until all of `configs` are finished on this machine.

    It starts from the speed the scale states and corrects it by what finished runs made here have taken.
    """
    unique = list(dict.fromkeys(configs))
    missing = [config for config in unique if not store.is_done(config)]
    if not missing:
        return 0.0
    taken = [(store.local_seconds(config), estimated_seconds(config, scale)) for config in unique]
    known = [(seconds, estimate) for seconds, estimate in taken if seconds]
    factor = sum(seconds for seconds, _ in known) / sum(estimate for _, estimate in known) if known else 1.0
    times = [estimated_seconds(config, scale) * (1 - store.progress(config)[1]) for config in missing]
    slots = jobs or jobs_on(os.cpu_count() or 1, missing, scale)
    return factor * max(sum(times) / slots, *times)
