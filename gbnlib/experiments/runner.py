"""Training a run from its config: resumes what was begun, waits for who trains it already, records what came out."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from gbnlib import files
from gbnlib.experiments import store
from gbnlib.experiments.config import RunConfig
from gbnlib.experiments.observer import NOBODY, Observer
from gbnlib.experiments.preparing import prepare
from gbnlib.experiments.recording import Recorder
from gbnlib.training import Execution, Interrupted, Listener, Processes, Training, load_checkpoint, misfit, train
from gbnlib.training.devices import arithmetic, keep_freed_memory, repeatable


def run(config: RunConfig, *, force: bool = False, observer: Observer = NOBODY, **execution: object) -> store.Run:
    """The finished run of a config: found on disk, or trained now.

    Parameters
    ----------
    config : what to train.
    force : train again even if it is finished; the finished run is dropped first.
    observer : is said a line an evaluation, and shown how far the run is.
    **execution : fields of `gbnlib.training.Execution` (device, threads, memory_gb, ...).

    Returns
    -------
    The run, "finished" or "diverged".

    Raises
    ------
    Interrupted : SIGTERM or Ctrl-C came; the same call, without `force`, goes on from the checkpoint.
    UsageError : data, device or folders are not as they must be; nothing is lost.
    """
    options, processes = Execution(**execution), Processes.from_environment()
    whole = processes.count == 1 and not force and store.damage(config) is None
    if whole and (found := store.find(config)) is not None:
        return found

    def wait() -> None:
        observer.say(f"{config.id}: another process trains this run; waiting for it")

    with files.locked(store.RUNS.root(), config.id, wait) if processes.rank == 0 else nullcontext():
        if processes.rank == 0:
            store.clear(config)
        there = processes.rank == 0 and not force and store.find(config) is not None
        (there,) = processes.first_says([there])
        if not there:
            if force and processes.rank == 0:
                files.remove_folder(store.folder(config))
            _train(config, options, processes, observer)
    found = store.find(config)
    assert found is not None
    return found


def _train(config: RunConfig, options: Execution, processes: Processes, observer: Observer) -> None:
    """Train a run from its checkpoint, or from its start; only the process of rank 0 writes."""
    keep_freed_memory()
    path = store.folder(config) / "checkpoint.pt"
    state = processes.first_gives(load_checkpoint(path, config.id) if processes.rank == 0 else None)
    begun = options if state is None else options.resumed(state["extra"]["execution"])
    torch.set_num_threads(begun.threads)
    with arithmetic(config.precision), repeatable(begun.torch_device()):
        training = prepare(config, begun, processes)
        wrong = state and misfit(state, training)
        if not wrong:
            before = []
            if state is not None:
                training.load_state_dict(state)
                before = state["extra"].get("processors", before)
            _go_on(Recorder(config, training, begun, observer, before))
            return
    if processes.rank == 0:
        files.set_aside(path, f"damaged checkpoint ({wrong})")
    processes.wait()
    _train(config, options, processes, observer)


def _go_on(recorder: Recorder) -> None:
    """Train to the end, or until it is stopped."""
    training, processes = recorder.training, recorder.training.processes
    if processes.rank == 0:
        recorder.begin()
    with _stop_on_signals(training), _failing_together(processes):
        listener = Listener() if processes.rank else recorder
        train(training, listener, save_seconds=recorder.options.checkpoint_seconds)
        if processes.rank == 0:
            recorder.finish()
        processes.wait()


@contextmanager
def _failing_together(processes: Processes) -> Iterator[None]:
    """Say in one line that another process of the run is gone."""
    try:
        yield
    except RuntimeError as error:
        if processes.count == 1:
            raise
        raise Interrupted(f"process {processes.rank} of the run lost another one ({str(error)[:80]})") from error


@contextmanager
def _stop_on_signals(training: Training) -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C into a checkpoint after the update at hand; a second Ctrl-C ends the process at once.

    A second SIGTERM does not: a pool that ends, a notebook's kernel and a cluster send several.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: object) -> None:
        training.stop = True
        signal.signal(signal.SIGINT, old[signal.SIGINT])

    try:
        for number in old:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
