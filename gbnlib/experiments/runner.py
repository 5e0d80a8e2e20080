"""Training a run from its config: resumes what was begun, waits for who trains it already, records what came out."""

import hashlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
from filelock import Timeout

from gbnlib import data, files
from gbnlib.errors import UsageError
from gbnlib.experiments import provenance, store
from gbnlib.experiments.config import RunConfig
from gbnlib.experiments.initial import initial_network
from gbnlib.nn import convert_ghost_batchnorm
from gbnlib.training import (
    DistanceProbe,
    Execution,
    Interrupted,
    Processes,
    Shares,
    Training,
    load_checkpoint,
    misfit,
    save_checkpoint,
    train,
)
from gbnlib.training.devices import keep_freed_memory, micro_batch_within
from gbnlib.training.loop import HISTORY_COLUMNS

Say = Callable[[str], None]


def run(
    config: RunConfig,
    *,
    force: bool = False,
    say: Say = lambda line: None,
    show: Say = lambda line: None,
    **execution: object,
) -> store.Run:
    """The finished run of a config: found on disk, or trained now.

    Parameters
    ----------
    config : what to train.
    force : train again even if it is finished; the finished run is dropped first.
    say : gets a line an evaluation, and one for anything unusual.
    show : gets about every second the line that says how far the run is, to be shown in place of the last one.
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
    with _locked(config, say) if processes.rank == 0 else nullcontext():
        if processes.rank == 0:
            store.clear(config)
        there = processes.rank == 0 and not force and store.find(config) is not None
        (there,) = processes.first_says([there], options.torch_device(processes.local_rank))
        if not there:
            if force and processes.rank == 0:
                files.remove_folder(store.folder(config))
            _train(config, options, processes, say, show)
    found = store.find(config)
    assert found is not None
    return found


@contextmanager
def _locked(config: RunConfig, say: Say) -> Iterator[None]:
    """Hold the run's lock, saying so when another process has it."""
    lock = store.lock(config)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{config.id}: another process trains this run; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _train(config: RunConfig, options: Execution, processes: Processes, say: Say, show: Say) -> None:
    """Train a run from its checkpoint, or from its start; only the process of rank 0 writes."""
    path = store.folder(config) / "checkpoint.pt"
    keep_freed_memory()
    training, options = _begun(config, options, processes)
    fixed = {
        "device": options.torch_device().type,
        "threads": options.threads,
        "micro_batch": training.shares.micro_batch,
        "compile": options.compile,
    }

    def save() -> None:
        save_checkpoint(path, training, run=config.id, execution=fixed)

    def report() -> None:
        _write_tables(config, training)
        say(_line(config, training))

    def watch() -> None:
        loss, _, seen = training.sums.tolist()
        show(_progress(config, training, f"loss {loss / seen:.4f}" if seen else ""))

    if processes.rank:
        with _stop_on_signals(training), _failing_together(processes):
            train(training, save_seconds=options.checkpoint_seconds)
            processes.wait()
        return
    store.write_config(config)
    if training.update:
        say(f"{config.id}: goes on after update {training.update:,} of {training.total_updates:,}")
    _write_tables(config, training)
    with _stop_on_signals(training), _failing_together(processes):
        train(training, save=save, report=report, watch=watch, save_seconds=options.checkpoint_seconds)
        _finish(config, training, {**fixed, "processes": processes.count})
        processes.wait()


def _begun(config: RunConfig, options: Execution, processes: Processes) -> tuple[Training, Execution]:
    """The training where its checkpoint left it, or at its start if there is none of it, and its options."""
    path = store.folder(config) / "checkpoint.pt"
    state = processes.first_gives(load_checkpoint(path, config.id) if processes.rank == 0 else None)
    begun = options if state is None else options.resumed(state["extra"]["execution"])
    torch.set_num_threads(begun.threads)
    training = prepare(config, begun, processes)
    if state is None:
        return training, begun
    if (wrong := misfit(state, training)) is None:
        training.load_state_dict(state)
        return training, begun
    if processes.rank == 0:
        files.set_aside(path, f"damaged checkpoint ({wrong})")
    processes.wait()
    return _begun(config, options, processes)


@contextmanager
def _failing_together(processes: Processes) -> Iterator[None]:
    """Say in one line that another process of the run is gone."""
    try:
        yield
    except RuntimeError as error:
        if processes.count == 1:
            raise
        raise Interrupted(f"process {processes.rank} of the run lost another one ({str(error)[:80]})") from error


def prepare(config: RunConfig, options: Execution, processes: Processes | None = None) -> Training:
    """The training of a config at its start."""
    processes = processes or Processes()
    device = options.torch_device(processes.local_rank)
    dataset = data.load(config.dataset, files.data_root()).subset(config.train_size)
    model = _network(config, dataset.card).to(device, memory_format=torch.channels_last)
    regime = config.schedule()
    batches = dataset.batches(config.batch_size, config.seed, device, augment=config.augment == "official")
    per_epoch = batches.updates_per_epoch
    return Training(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=regime.phases[0].lr, momentum=0.9, fused=True),
        regime=regime,
        batches=batches,
        validation=(dataset.validation_images.to(device), dataset.validation_labels.to(device)),
        probe=DistanceProbe(model, regime.total_updates(per_epoch), per_epoch),
        evaluate_every=config.evaluate_every,
        clip_norm=config.clip_norm,
        noise=config.noise,
        reset_momentum=config.momentum_buffer == "reset",
        recompute_statistics=config.evaluation == "recomputed",
        precision=config.precision,
        shares=_shares(config, options, processes, model, dataset.card),
        processes=processes,
        compiled=torch.compile(model) if options.compile else None,
    )


def _network(config: RunConfig, card: data.Card) -> torch.nn.Module:
    """The network with its initial weights."""
    model = initial_network(config.network, card, config.seed, config.initialisation)
    if not config.ghost_size:
        return model
    remainder = "own" if config.remainder == "official" else config.remainder
    return convert_ghost_batchnorm(model, config.ghost_size, remainder=remainder, running=config.running)


def _shares(
    config: RunConfig, options: Execution, processes: Processes, model: torch.nn.Module, card: data.Card
) -> Shares:
    """How batches are dealt out: whole where they fit into memory, and where their parts would not add up to them."""
    whole = not config.ghost_size or config.running == "mean"
    if whole and config.ghost_size and (options.micro_batch or processes.count > 1):
        raise UsageError("running 'mean' needs its batches whole: use one process, and no micro_batch.")
    official = config.remainder == "official" and config.ghost_size
    shares = Shares(
        config.batch_size,
        config.ghost_size,
        tail_ghosts=config.batch_size // config.ghost_size if official else 0,
        micro_batch=options.micro_batch,
        rank=processes.rank,
        processes=processes.count,
    )
    if whole or options.micro_batch:
        return shares
    size = min(config.ghost_size, config.batch_size)
    device = next(model.parameters()).device
    ghost = torch.zeros(size, card.channels, card.image_size, card.image_size, device=device)
    ghost = ghost.to(memory_format=torch.channels_last)
    fitting = micro_batch_within(options.memory_gb, model, ghost, config.precision)
    return replace(shares, micro_batch=fitting) if fitting < config.batch_size else shares


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


def _write_tables(config: RunConfig, training: Training) -> None:
    """Write history and distances as they are now."""
    where = store.folder(config)
    files.write_csv(where / "history.csv", HISTORY_COLUMNS, training.history)
    files.write_csv(where / "distance.csv", DistanceProbe.columns, training.probe.rows)


def _line(config: RunConfig, training: Training) -> str:
    """One line of an evaluation."""
    _, _, lr, loss, error, _, validation_error = training.history[-1]
    found = f"loss {loss:.4f}  training error {error:.2f} %  validation error {validation_error:.2f} %"
    return _progress(config, training, f"lr {lr:g}  {found}")


def _progress(config: RunConfig, training: Training, found: str) -> str:
    """How far a run is, what it found, how fast it is and how long it will take."""
    update, total = training.update, training.total_updates
    epoch = -(-update // training.batches.updates_per_epoch)
    per_second = update * config.batch_size / max(training.seconds, 1e-9)
    left = (total - update) * training.seconds / update
    return (
        f"{config.id}  epoch {epoch}/{training.regime.epochs}  update {update:,}/{total:,}  {found}  "
        f"{per_second:,.0f} images/s  {left:.0f} s left"
    )


def _finish(config: RunConfig, training: Training, fixed: dict) -> None:
    """Write what a finished run leaves, `done.json` last, and drop its checkpoint."""
    _write_tables(config, training)
    images = len(training.batches.labels) * training.update / training.batches.updates_per_epoch
    device = next(training.model.parameters()).device
    facts = {
        **provenance.software(),
        **provenance.hardware(device),
        **provenance.dataset(config.dataset),
        **fixed,
        "precision": config.precision,
        "finished": provenance.now(),
        "seconds": round(training.seconds, 2),
        "images_per_second": round(images / training.seconds, 1),
        "peak_memory_mb": round(provenance.peak_memory_mb(device), 1),
    }
    files.write_json(store.folder(config) / "provenance.json", facts)
    store.write_done(config, training.status, _summary(training), weights_sha256(training.model))
    (store.folder(config) / "checkpoint.pt").unlink(missing_ok=True)


def _summary(training: Training) -> dict:
    """The numbers of a run that lists show; a run that diverged has no error."""
    errors = [row[-1] for row in training.history] if training.status == "finished" else [None]
    return {
        "updates": training.update,
        "seconds": round(training.seconds, 2),
        "final_validation_error": errors[-1],
        "best_validation_error": min(errors),
    }


def weights_sha256(model: torch.nn.Module) -> str:
    """SHA-256 over all parameters and buffers of a model, in order."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
