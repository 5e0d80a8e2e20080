"""Training a run from its config: resumes what was begun, waits for who trains it already, records what came out."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch

from gbnlib import data, files
from gbnlib.errors import UsageError
from gbnlib.experiments import store
from gbnlib.experiments.config import RunConfig
from gbnlib.experiments.initial import initial_network
from gbnlib.experiments.observer import NOBODY, Observer
from gbnlib.experiments.preparing import prepare
from gbnlib.experiments.recording import Recorder
from gbnlib.training import Execution, Interrupted, Listener, Processes, Training, load_checkpoint, misfit, train
from gbnlib.training.devices import arithmetic, keep_freed_memory, kept_bytes, repeatable


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
            _train_in_memory(config, options, processes, observer)
    found = store.find(config)
    assert found is not None
    return found


def _train_in_memory(config: RunConfig, options: Execution, processes: Processes, observer: Observer) -> None:
    """Train a run; where a GPU's memory runs out, go on from the checkpoint with micro-batches half as large, once."""
    try:
        return _train(config, options, processes, observer)
    except _Full as full:
        before, smaller = full.micro_batch, _halved(config, full.micro_batch) if processes.count == 1 else 0
    if smaller:
        observer.say(f"{config.id}: out of memory; goes on with micro-batches of {smaller} in place of {before}")
        torch.cuda.empty_cache()
        try:
            return _train(config, options, processes, observer, smaller)
        except _Full:
            pass
    raise UsageError(f"{config.id}: out of memory. {fitting_text(config, options)}")


class _Full(Exception):
    """The memory of a GPU ran out with some samples in a micro-batch, or 0 before there was one."""

    def __init__(self, micro_batch: int) -> None:
        super().__init__(micro_batch)
        self.micro_batch = micro_batch


def _halved(config: RunConfig, micro_batch: int) -> int:
    """Half of a micro-batch in whole ghosts, or 0 where there is no less."""
    if config.whole_batches:
        return 0
    return micro_batch // 2 // config.ghost_size * config.ghost_size


def fitting_text(config: RunConfig, options: Execution) -> str:
    """What a run keeps for its backward, how many samples of it fit, and what helps."""
    card, count = data.card(config.dataset), 8
    images = torch.zeros(count, card.channels, card.image_size, card.image_size)
    model = initial_network(config.network, card, config.seed, config.initialisation)
    each = kept_bytes(model, images, config.precision) / count / 2**30
    room = options.activations_gb(options.torch_device())
    whole = config.largest_batch if config.whole_batches else config.ghost_size
    return (
        f"{whole} samples are normalised together and keep about {whole * each:.1f} GiB; in {room:.1f} GiB about "
        f"{room / each:.0f} fit. A GPU with more memory, fewer runs on it, or several GPUs with torchrun would help."
    )


def _train(
    config: RunConfig,
    options: Execution,
    processes: Processes,
    observer: Observer,
    micro_batch: int = 0,
) -> None:
    """Train a run from its checkpoint, or from its start; only the process of rank 0 writes.

    `micro_batch` takes the place of that of the checkpoint. Raises `_Full` where memory runs out.
    """
    keep_freed_memory()
    path = store.folder(config) / "checkpoint.pt"
    state = processes.first_gives(load_checkpoint(path, config.id) if processes.rank == 0 else None)
    if state and state["extra"]["execution"]["device"] == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"{config.id} was begun on a GPU, and there is none: go on there, or train it anew with --force."
        )
    begun = options if state is None else options.resumed(state["extra"]["execution"])
    begun = replace(begun, micro_batch=micro_batch or begun.micro_batch)
    torch.set_num_threads(begun.threads)
    with arithmetic(config.precision), repeatable(begun.torch_device()):
        try:
            training = prepare(config, begun, processes)
        except torch.OutOfMemoryError as error:
            raise _Full(0) from error
        wrong = state and misfit(state, training)
        if not wrong:
            before = []
            if state is not None:
                training.load_state_dict(state)
                before = state["extra"].get("processors", before)
            try:
                return _go_on(Recorder(config, training, begun, observer, before))
            except torch.OutOfMemoryError as error:
                raise _Full(training.division.micro_batch or config.largest_batch) from error
    if processes.rank == 0:
        files.set_aside(path, f"damaged checkpoint ({wrong})")
    processes.wait()
    _train(config, options, processes, observer, micro_batch)


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
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if processes.count == 1:
            raise
        raise Interrupted(f"process {processes.rank} of the run lost another one ({str(error)[:80]})") from error


_stopped = False


def was_stopped() -> bool:
    """Whether this process was asked to stop while it trained a run."""
    return _stopped


@contextmanager
def _stop_on_signals(training: Training) -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C into a checkpoint after the update at hand; a second Ctrl-C ends the process at once.

    A second SIGTERM does not: a pool that ends, a notebook's kernel and a cluster send several. What is ignored, as
    Ctrl-C is by a command in the background, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    old = {number: handler for number, handler in old.items() if handler != signal.SIG_IGN}

    def stop(number: int, frame: object) -> None:
        global _stopped
        _stopped = training.stop = True
        if signal.SIGINT in old:
            signal.signal(signal.SIGINT, old[signal.SIGINT])

    try:
        for number in old:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
