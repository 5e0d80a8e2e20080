"""Training a run: side by side with others, orphaned, diverging, or where nothing can be written."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import torch

from gbnlib import data, experiments, files
from gbnlib.data.batches import normalise
from gbnlib.errors import Failed, Interrupted, UsageError
from gbnlib.experiments import Observer, parallel, provenance, recording, runner, store
from gbnlib.experiments.preparing import prepare
from gbnlib.experiments.preparing import test_error as error_of_others
from gbnlib.regimes import Phase
from gbnlib.training import (
    Execution,
    Listener,
    Processes,
    evaluate,
    load_checkpoint,
    loop,
    misfit,
    save_checkpoint,
    train,
)
from gbnlib.training.devices import arithmetic
from tests.configs import REMEDIED

QUICK = REMEDIED.model_copy(update={"train_size": 64, "epochs": 2, "regime": (Phase(epoch=0, lr=0.1),)})


def test_runs_side_by_side_give_what_runs_alone_give() -> None:
    configs = [QUICK.model_copy(update={"seed": seed}) for seed in range(2)]
    alone = [experiments.run(config).done["weights_sha256"] for config in configs]
    for config in configs:
        files.remove_folder(store.folder(config))
    lines: list[str] = []
    together = experiments.run_all(configs, "smoke", jobs=2, observer=Observer(lines.append))
    assert [run.done["weights_sha256"] for run in together] == alone
    assert len(lines) == 2 and lines[-1].startswith("[2/2]")


def test_jobs_are_a_count() -> None:
    with pytest.raises(UsageError, match="jobs is -1; it is a count"):
        experiments.run_all([QUICK], "smoke", jobs=-1)


def test_runs_at_a_time_are_those_that_fit_on_cores_and_gpus() -> None:
    """C1 takes one thread at desk, and two at paper, where four runs share a GPU."""
    for scale, cores, gpus, jobs in (("desk", 8, 0, 8), ("desk", 8, 2, 2), ("paper", 32, 0, 16), ("paper", 32, 1, 4)):
        configs = [config for config in experiments.plan("table1", scale) if config.network == "c1"]
        assert experiments.jobs_on(cores, configs, scale, gpus) == jobs
    assert experiments.jobs_on(5, configs, "paper", 2) == 2


@pytest.fixture
def two_gpus(monkeypatch) -> None:
    """A machine with two GPUs, as far as PyTorch is asked."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_processes_are_dealt_out_to_the_gpus_unless_one_is_named(two_gpus) -> None:
    assert [parallel.own_device("auto", number) for number in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [parallel.own_device(device, 3) for device in ("cuda", "cuda:0", "cpu")] == ["cuda:1", "cuda:0", "cpu"]


def test_each_process_of_the_pool_has_a_number_of_its_own(monkeypatch) -> None:
    monkeypatch.setattr(parallel, "_leave_with_parent", lambda: None)
    begun = multiprocessing.get_context("spawn").Value("i")
    numbers = []
    for _ in range(3):
        parallel._begin(begun)
        numbers.append(parallel._number)
    assert numbers == [0, 1, 2]


def test_on_gpus_runs_go_together_with_those_of_their_row_and_share_memory(two_gpus, monkeypatch) -> None:
    """The pool is a list of what it was asked for; nothing trains."""
    asked, lines, there = [], [], set()

    class Pool:
        def __init__(self, jobs, *arguments, **options):
            self.jobs = jobs

        def submit(self, function, config, **options):
            asked.append((self.jobs, config.network, options["runs_per_gpu"], options["threads"]))
            there.add(config)
            future = Future()
            future.set_result(config)
            return future

        def shutdown(self):
            pass

    monkeypatch.setattr(parallel, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(parallel, "cores", lambda: 64)
    monkeypatch.setattr(parallel, "describe", lambda config: config.network)
    monkeypatch.setattr(store, "find", lambda config, again=True: config if config in there else None)
    table = experiments.plan("table1", "paper", seeds=5)
    configs = [config for config in table if config.network in ("f1", "vgg") and config.method == "LB"]
    assert experiments.run_all(configs, "paper", observer=Observer(lines.append)) == configs
    assert asked == [(2, "vgg", 1, 2)] * 5 + [(5, "f1", 8, 2)] * 5
    assert [line.split("  ")[0] for line in lines] == ["[5/10] vgg"] * 5 + ["[10/10] f1"] * 5


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (signal.SIGKILL, Failed, "was killed, most likely because memory ran out.*; 2 of 2 runs not finished"),
        (signal.SIGTERM, Interrupted, "stopped with 2 of 2 runs not finished"),
    ],
)
def test_a_lost_process_of_the_pool_is_told_from_one_that_was_stopped(number, error, message) -> None:
    configs = [QUICK.model_copy(update={"seed": seed}) for seed in range(2)]

    def end_one(progress: Callable[[], str]) -> None:
        os.kill(multiprocessing.active_children()[0].pid, number)

    with pytest.raises(error, match=message):
        experiments.run_all(configs, "smoke", jobs=1, observer=Observer(show=end_one))


def test_a_stop_leaves_other_processes_alone() -> None:
    other = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    other.start()

    def interrupt(progress: Callable[[], str]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="stopped with 1 of 1 runs not finished"):
        experiments.run_all([QUICK], "smoke", observer=Observer(show=interrupt))
    time.sleep(0.1)
    assert other.is_alive()
    other.kill()


def test_processes_of_the_pool_leave_when_their_parent_is_killed() -> None:
    config = experiments.plan("table1", "quick", seeds=1)[-1]
    call = [
        sys.executable,
        "-m",
        "gbnlib",
        "run",
        "table1",
        "--scale",
        "quick",
        "--seeds",
        "1",
        "--jobs",
        "1",
    ]
    parent = subprocess.Popen(call)
    wait_for(lambda: experiments.progress(config)[0] == "running", 180)
    parent.kill()
    parent.wait()
    wait_for(lambda: experiments.progress(config)[0] == "stopped", 90)
    assert (store.folder(config) / "checkpoint.pt").is_file()


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds, or fail."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def full(monkeypatch) -> Callable[[int], None]:
    """Make the GPU's memory run out in the first so many attempts, after an update and a checkpoint."""

    def fail(attempts: int) -> None:
        left, real = [attempts], runner.train

        def train(training, listener, **options):
            left[0] -= 1
            if left[0] < 0:
                return real(training, listener, **options)
            listener.save()
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(runner, "train", train)

    return fail


def test_out_of_memory_halves_the_micro_batches_once_and_says_so(full) -> None:
    """A batch of 32 in ghosts of 16; what comes out is that of micro-batches of one ghost from the start."""
    expected = experiments.run(QUICK, micro_batch=16).done["weights_sha256"]
    files.remove_folder(store.folder(QUICK))
    full(1)
    lines: list[str] = []
    found = experiments.run(QUICK, observer=Observer(lines.append))
    assert f"{QUICK.id}: out of memory; goes on with micro-batches of 16 in place of 32" in lines
    assert found.provenance()["micro_batch"] == 16 and found.done["weights_sha256"] == expected


@pytest.mark.parametrize(("changes", "attempts", "together"), [({}, 2, 16), ({"ghost_size": 0}, 1, 32)])
def test_a_run_that_does_not_fit_says_what_would(full, changes: dict, attempts: int, together: int) -> None:
    full(attempts)
    message = (
        rf"out of memory\. {together} samples are normalised together and keep about .* GiB; in 1\.0 GiB about \d+ "
    )
    with pytest.raises(UsageError, match=message):
        experiments.run(QUICK.model_copy(update=changes))


def test_a_run_that_diverges_is_a_recorded_result() -> None:
    wild = QUICK.model_copy(update={"regime": (Phase(epoch=0, lr=1e30),), "clip_norm": 0.0})
    run = experiments.run(wild)
    assert run.status == "diverged" == experiments.run(wild).status
    assert run.done["summary"]["final_validation_error"] is None
    assert len(run.frame("history")) >= 1
    assert "diverged after" in experiments.describe(run)


def test_the_device_on_record_is_that_of_the_weights(monkeypatch) -> None:
    """Not only its kind: of several GPUs, the one that was used is named, and its memory."""
    asked = []
    monkeypatch.setattr(provenance, "hardware", lambda device: asked.append(device) or {})
    monkeypatch.setattr(provenance, "peak_memory_mb", lambda device: asked.append(device) or 0.0)
    experiments.run(QUICK, device="cpu")
    assert asked == [torch.device("cpu")] * 2


def test_the_gpu_on_record_is_the_one_that_was_used(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {torch.device(device).index}")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.setattr(provenance, "_driver", lambda: "580.95.05")
    for precision, tf32 in (("fp32", False), ("tf32", True)):
        with arithmetic(precision):
            found = provenance.hardware(torch.device("cuda:1"))
        assert (found["device"], found["gpu"], found["driver"]) == ("cuda", "GPU 1", "580.95.05")
        assert (found["cudnn"], found["tf32_products"], found["tf32_convolutions"]) == (91002, tf32, tf32)


def test_a_run_computes_where_its_device_repeats_its_bits(monkeypatch) -> None:
    go_on = runner._go_on
    inside = []

    @contextmanager
    def noted(device: torch.device):
        inside.append(device)
        yield
        inside.append("left")

    monkeypatch.setattr(runner, "repeatable", noted)
    monkeypatch.setattr(runner, "_go_on", lambda recorder: inside.append("trains") or go_on(recorder))
    experiments.run(QUICK, device="cpu")
    assert inside == [torch.device("cpu"), "trains", "left"]


def stopped_after(updates: int) -> None:
    """A run that stopped, with its checkpoint."""
    step = loop.take_step

    def stop(training, parts):
        training.stop = training.update == updates - 1
        return step(training, parts)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(loop, "take_step", stop)
        experiments.run(QUICK, device="cpu")


def test_a_run_that_goes_on_elsewhere_says_so_in_one_line_and_in_its_provenance(monkeypatch) -> None:
    here = ["NVIDIA A100, cuDNN 91002"]
    monkeypatch.setattr(provenance, "processor", lambda device: here[-1])
    stopped_after(1)
    here.append("NVIDIA H100, cuDNN 92000")
    lines: list[str] = []
    run = experiments.run(QUICK, device="cpu", observer=Observer(lines.append))
    told = [line for line in lines if "H100" in line]
    assert len(told) == 1 and "goes on on NVIDIA H100, cuDNN 92000, after NVIDIA A100, cuDNN 91002" in told[0]
    assert run.provenance()["processors"] == here


def test_a_run_that_goes_on_where_it_was_says_nothing_of_it() -> None:
    stopped_after(1)
    lines: list[str] = []
    run = experiments.run(QUICK, device="cpu", observer=Observer(lines.append))
    assert not any("rounding" in line for line in lines)
    assert run.provenance()["processors"] == [provenance.processor(torch.device("cpu"))]


def test_a_gpu_is_told_by_its_name_and_cudnn(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {torch.device(device).index}")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    assert provenance.processor(torch.device("cuda:1")) == "GPU 1, cuDNN 91002"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build", "580.95.05"),
        ("something else", ""),
    ],
)
def test_the_version_of_the_driver_is_read_where_the_system_tells(tmp_path, said: str, version: str) -> None:
    (tmp_path / "version").write_text(said)
    assert provenance._driver(tmp_path / "version") == version
    assert provenance._driver(tmp_path / "missing") == ""


def test_a_run_computes_in_what_its_precision_says(monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(runner, "train", lambda *_, **__: seen.append(torch.backends.cudnn.conv.fp32_precision))
    monkeypatch.setattr(runner, "Recorder", MagicMock())
    monkeypatch.setattr(runner.store, "find", MagicMock(side_effect=[None, None, "found"]))
    assert runner.run(QUICK, device="cpu") == "found"
    assert seen == ["ieee"]


def test_tf32_on_a_cpu_is_refused_before_anything_is_written() -> None:
    with pytest.raises(UsageError, match="precision is 'tf32', which only GPUs compute in"):
        experiments.run(QUICK.model_copy(update={"precision": "tf32"}), device="cpu")


def test_results_that_cannot_be_written_are_one_line_and_nothing_is_lost(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("kept")
    monkeypatch.setenv("GBN_RESULTS", str(tmp_path / "file" / "results"))
    with pytest.raises(UsageError, match="cannot write to .*GBN_RESULTS"):
        experiments.run(QUICK)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_config_of_another_run_in_the_folder_is_set_aside(capsys) -> None:
    files.write_text(store.folder(QUICK) / "config.json", "{}")
    assert experiments.run(QUICK).status == "finished"
    assert "config.json: not the config of this run; set aside" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"seed": 7}, {"clip_norm": 1.0}])
def test_the_checkpoint_of_another_run_is_not_gone_on_with(wrong: dict, capsys) -> None:
    """Its weights, at an update where this run could be, would end in a result of both."""
    other = QUICK.model_copy(update=wrong)
    with pytest.raises(Interrupted):
        experiments.run(other, observer=stop_once(), checkpoint_seconds=0.0)
    path = store.folder(other) / "checkpoint.pt"
    alone = experiments.run(QUICK).done["weights_sha256"]
    files.remove_folder(store.folder(QUICK))
    files.make_folder(store.folder(QUICK))
    shutil.copyfile(path, store.folder(QUICK) / "checkpoint.pt")
    assert experiments.run(QUICK).done["weights_sha256"] == alone
    assert f"it is of {other.id}" in capsys.readouterr().err


def test_a_checkpoint_beyond_the_end_is_set_aside(capsys) -> None:
    with pytest.raises(Interrupted):
        experiments.run(QUICK, observer=stop_once(), checkpoint_seconds=0.0)
    path = store.folder(QUICK) / "checkpoint.pt"
    torch.save({**torch.load(path, weights_only=True), "update": 10**9}, path)
    assert experiments.run(QUICK).done["summary"]["updates"] == 8
    assert "checkpoint.pt: damaged checkpoint (update 1,000,000,000 of 8); set aside" in capsys.readouterr().err


def stop_once() -> Observer:
    """Asks for a checkpoint when a run is first evaluated."""
    return Observer(lambda line: os.kill(os.getpid(), signal.SIGTERM))


def test_a_stopped_pool_has_waited_for_the_checkpoints_of_all_its_runs() -> None:
    """Each run had trained, and nothing was saved by time: when the call ends, all of it is in checkpoints."""
    configs = experiments.plan("figure1", "quick")[:2]

    def interrupt_when_all_train(progress: Callable[[], str]) -> None:
        if all(experiments.progress(config)[1] > 0 for config in configs):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="2 of 2 runs not finished"):
        experiments.run_all(
            configs, "quick", jobs=2, observer=Observer(show=interrupt_when_all_train), checkpoint_seconds=1e9
        )
    for config in configs:
        update = torch.load(store.folder(config) / "checkpoint.pt", weights_only=True)["update"]
        assert update >= experiments.progress(config)[1] * experiments.updates(config) > 0
        assert experiments.progress(config)[0] == "stopped"


def test_a_second_sigterm_does_not_end_a_run_before_its_checkpoint() -> None:
    def stop_twice(line: str) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        experiments.run(QUICK, observer=Observer(stop_twice), checkpoint_seconds=1e9)
    assert (store.folder(QUICK) / "checkpoint.pt").is_file()


def test_what_is_ignored_stays_so() -> None:
    """A command that a shell has put in the background ignores Ctrl-C."""

    def interrupt(line: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert experiments.run(QUICK, observer=Observer(interrupt)).status == "finished"
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_process_of_the_pool_that_was_stopped_while_it_recorded_a_run_takes_no_other(monkeypatch) -> None:
    """The signal of a stop comes when the last update is made: the run is finished, the next is not begun."""
    record = recording.Recorder.finish

    def stopped(recorder: recording.Recorder) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        record(recorder)

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(runner, "_stopped", False)
    monkeypatch.setattr(recording.Recorder, "finish", stopped)
    monkeypatch.setattr(os, "_exit", leave)
    following = QUICK.model_copy(update={"seed": 1})
    assert parallel._run_or_leave(QUICK).status == "finished"
    with pytest.raises(SystemExit, match=str(parallel.STOPPED)):
        parallel._run_or_leave(following)
    assert not store.folder(following).exists()


def test_a_run_that_was_begun_on_a_gpu_says_so_where_there_is_none() -> None:
    with pytest.raises(Interrupted):
        experiments.run(QUICK, observer=stop_once(), checkpoint_seconds=0.0)
    path = store.folder(QUICK) / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["extra"]["execution"]["device"] = "cuda"
    torch.save(state, path)
    with pytest.raises(UsageError, match=f"{QUICK.id} was begun on a GPU, and there is none: go on there, or"):
        experiments.run(QUICK, device="cpu")
    assert experiments.run(QUICK, device="cpu", force=True).status == "finished"


def test_a_run_that_was_begun_with_whole_batches_keeps_them_where_less_memory_is_given() -> None:
    whole = experiments.run(QUICK).done["weights_sha256"]
    files.remove_folder(store.folder(QUICK))
    with pytest.raises(Interrupted):
        experiments.run(QUICK, observer=stop_once(), checkpoint_seconds=0.0)
    begun = torch.load(store.folder(QUICK) / "checkpoint.pt", weights_only=True)["extra"]["execution"]
    assert begun["micro_batch"] == QUICK.batch_size
    run = experiments.run(QUICK, memory_gb=1e-6)
    assert run.done["weights_sha256"] == whole


def test_a_process_that_lacks_memory_is_not_told_as_one_that_lost_another() -> None:
    with pytest.raises(torch.OutOfMemoryError), runner._failing_together(Processes(0, 2)):
        raise torch.OutOfMemoryError("CUDA out of memory")
    lost = pytest.raises(Interrupted, match="process 1 of the run lost another one")
    with lost, runner._failing_together(Processes(1, 2)):
        raise RuntimeError("Connection closed by peer")


def test_the_other_images_are_looked_at_with_the_statistics_of_the_evaluations() -> None:
    config = QUICK.model_copy(update={"held_out": 50, "evaluation": "recomputed", "adapt": False})
    training = prepare(config, Execution())
    train(training)
    images, labels = (getattr(data.load(config.dataset), f"validation_{each}") for each in ("images", "labels"))
    with loop._evaluation_statistics(training, training.regime.epochs):
        expected = evaluate(training.model, images, labels, training.batches, training.precision)[1]
    assert error_of_others(config, training) == expected
    assert expected != evaluate(training.model, images, labels, training.batches, training.precision)[1]


def test_updates_are_counted_without_what_is_held_out() -> None:
    config = QUICK.model_copy(update={"train_size": 0, "held_out": 256, "adapt": False})
    assert experiments.run(config).done["summary"]["updates"] == experiments.updates(config)


def test_a_run_with_held_out_images_looks_at_the_others_once() -> None:
    """Its history is of the held-out images, in steps of one of 50; the error of the others is that of a plain loop."""
    config = QUICK.model_copy(update={"dataset": "digits", "held_out": 50, "adapt": False})
    run = experiments.run(config)
    errors = run.frame("history").validation_error
    assert ((errors / 2) % 1 == 0).all()
    training = prepare(config, Execution())
    train(training)
    digits = data.load("digits")
    with torch.no_grad():
        images = normalise(digits.validation_images, digits.card.mean, digits.card.std)
        wrong = (training.model.eval()(images).argmax(1) != digits.validation_labels).float().mean()
    assert run.done["summary"]["test_error"] == pytest.approx(100 * float(wrong))
    assert set(run.frame("history").test_error) == {run.done["summary"]["test_error"]}
    plain = experiments.run(config.model_copy(update={"held_out": 0}))
    assert "test_error" not in plain.done["summary"] and "test_error" not in plain.frame("history")


@pytest.mark.parametrize("optimizer", ["lars", "lamb"])
def test_a_run_with_another_optimizer_goes_on_as_if_it_had_never_stopped(optimizer: str, tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="LARS and LAMB are timm's")
    phase = Phase(epoch=0, lr=0.01, momentum=0.9 if optimizer == "lars" else None, weight_decay=1e-4)
    config = QUICK.model_copy(update={"optimizer": optimizer, "regime": (phase,), "adapt": False})
    whole, begun = prepare(config, Execution()), prepare(config, Execution())
    train(whole)

    class Stop(Listener):
        def evaluated(self) -> None:
            begun.stop = True

    with pytest.raises(Interrupted):
        train(begun, Stop())
    save_checkpoint(tmp_path / "checkpoint.pt", begun)
    state, resumed = load_checkpoint(tmp_path / "checkpoint.pt"), prepare(config, Execution())
    assert misfit(state, resumed) is None
    resumed.load_state_dict(state)
    train(resumed)
    assert recording.weights_sha256(resumed.model) == recording.weights_sha256(whole.model)
    assert misfit(state, prepare(config.model_copy(update={"optimizer": "sgd"}), Execution())) is not None


def test_an_optimizer_that_is_not_there_is_named_with_its_package(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.optim", None)
    with pytest.raises(UsageError, match="optimizer lars is timm's: pip install timm"):
        prepare(QUICK.model_copy(update={"optimizer": "lars"}), Execution())


def test_the_official_reset_of_momentum_is_of_sgd() -> None:
    with pytest.raises(UsageError, match="momentum_buffer 'reset' is of the official code's SGD"):
        experiments.RunConfig(**{**dict(QUICK), "optimizer": "lamb", "momentum_buffer": "reset"})
