"""The command line as a newcomer meets it."""

import contextlib
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gbnlib import cli, experiments, files, measurements
from gbnlib.errors import Failed, Interrupted, UsageError
from gbnlib.experiments import parallel, runner
from tests.stored import leave


def gbn(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run `gbn` in a process of its own."""
    call = [sys.executable, "-m", "gbnlib", *arguments]
    return subprocess.run(call, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "--scale", "huge"], "unknown scale 'huge'. Allowed: smoke, quick, desk, paper."),
        (["run", "--batch-size", "64"], "No such option: --batch-size"),
        (["run", "--only", "f1-nope"], "unknown run of scale quick 'f1-nope'"),
        (["train", "f1", "--dataset", "mnist"], "MNIST is not there (missing: "),
        (["report", "--scale", "smoke"], "smoke"),
    ],
)
def test_what_the_user_can_fix_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    done = gbn(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("gbn: ") and done.stderr.count("\n") == 1
    assert message in done.stderr


def test_torchrun_is_for_one_run() -> None:
    done = gbn("run", "table1", "--scale", "smoke", WORLD_SIZE="2", RANK="0")
    assert done.returncode == 2 and done.stderr.startswith("gbn: torchrun trains one run: name it with --only")


def in_process(monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    """Exit code and stderr of `gbn` in this process, where its parts can be replaced."""
    return exit_code(monkeypatch, *arguments), capsys.readouterr().err


def exit_code(monkeypatch, *arguments: str) -> int:
    """The exit code of `gbn` in this process, which goes on to heed its own signals."""
    monkeypatch.setattr(sys, "argv", ["gbn", *arguments])
    for name in ("heed", "ignore"):
        monkeypatch.setattr(cli.signals, name, lambda: None)
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code


@pytest.mark.parametrize(
    ("error", "options", "code", "said"),
    [
        (Interrupted("stopped"), [], 130, "gbn: stopped; the same command goes on from there\n"),
        (Interrupted("stopped"), ["--force"], 130, "gbn: stopped; the same command without --force goes on with what "),
        (Failed("a process\nSphinx"), [], 1, "gbn: a process\nSphinx\n"),
        (OSError(), [], 2, "gbn: OSError\n"),
    ],
)
def test_how_a_call_can_end(monkeypatch, capsys, error, options, code, said) -> None:
    def end(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(experiments, "run_all", end)
    found, message = in_process(monkeypatch, capsys, "run", "--scale", "smoke", *options)
    assert found == code and message.startswith(said)


def test_progress_is_not_computed_where_it_is_not_shown(monkeypatch, capsys) -> None:
    computed = []
    monkeypatch.setattr(
        experiments, "run_all", lambda *_, observer, **__: observer.show(lambda: computed.append("one"))
    )
    assert in_process(monkeypatch, capsys, "run", "--scale", "smoke")[0] == 0
    assert not computed


@pytest.mark.parametrize(("options", "found"), [([], ("2017", "reset")), (["--today"], ("today", "kept"))])
def test_a_run_of_ones_own_is_by_the_code_of_2017_or_as_today(monkeypatch, capsys, options, found) -> None:
    trained = []
    monkeypatch.setattr(experiments, "run", lambda config, **_: trained.append(config))
    monkeypatch.setattr(experiments, "describe", str)
    assert in_process(monkeypatch, capsys, "train", "f1", *options)[0] == 0
    assert [(config.initialisation, config.momentum_buffer) for config in trained] == [found]


HUGE = f"1{'0' * 400}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "--seeds", str(10**9)], "seeds is 1000000000; it is a count, 1 or more and at most 100"),
        (["run", "--scale", "smoke", "--jobs", str(10**30)], "--jobs"),
        (["run", "--scale", "smoke", "--jobs", "two"], "--jobs"),
        (["run", "--scale", "smoke", "--memory-gb", "inf"], "memory_gb is inf; it must be at least 0 and at most"),
        (["train", "f1", "--memory-gb", "1e308"], "memory_gb is 1e+308"),
        (["train", "f1", "--memory-gb", "nan"], "memory_gb is nan"),
        (["train", "f1", "--threads", "10000"], "threads is 10000; it must be at least 1 and at most 256"),
        (["train", "f1", "--batch-size", HUGE], "batch_size: Input should be less than or equal to"),
        (["train", "f1", "--ghost-size", HUGE], "ghost_size: "),
        (["train", "f1", "--base-batch", HUGE], "base_batch: "),
        (["train", "f1", "--epochs", HUGE], "epochs: Input should be less than or equal to 1000000"),
        (["train", "f1", "--seed", str(2**64)], "seed: Input should be less than 18446744073709551616"),
        (["train", "f1", "--base-batch", "1", "--adapt"], "--base-batch is 1; one sample alone cannot be"),
        (
            ["train", "f1", "--base-batch", "2", "--adapt", "--batch-size", "4000", "--epochs", "1000"],
            "regime adaptation makes 2,000,000 epochs; at most 1,000,000",
        ),
        (["measure", "--scale", "smoke", "--device", "meta"], "unknown device 'meta'. Allowed: auto, cpu, cuda."),
        (["train", "f1", "--batch-size", "-1"], "batch_size: Input should be greater than 0 (given: -1)"),
        (["train", "nope"], "unknown network 'nope'"),
        (["run", "table11"], "unknown item 'table11'; did you mean 'table1'"),
        (["run", "--only", "f1", "--seeds", "2"], "--only names one run of the scale: leave the item, --seeds and"),
        (["run", "--only", "f1", "--epochs", "2"], "No such option: --epochs"),
        (["run", "table1", "--only", "x"], "--only names one run of the scale: leave the item, --seeds"),
        (["plam"], "No such command"),
        (["plan", "--sede", "3"], "No such option"),
    ],
)
def test_what_cannot_be_meant_is_one_line(monkeypatch, capsys, arguments: list[str], message: str) -> None:
    code, said = in_process(monkeypatch, capsys, *arguments)
    assert code == 2 and said.startswith("gbn: ") and said.count("\n") == 1 and len(said) < 300
    assert message in said


@pytest.mark.parametrize("device", ["cpu:9", "meta", "", "cuda:-1"])
def test_a_wrong_device_is_refused_though_nothing_is_left_to_do(monkeypatch, capsys, device: str) -> None:
    config = experiments.custom_config("f1", 8, dataset="digits", batch_size=128)
    for done in (config, *experiments.plan("figure1", "smoke")):
        leave(done, seconds=1.0)
    for call in (["train", "f1", "--epochs", "8"], ["run", "figure1", "--scale", "smoke"]):
        code, said = in_process(monkeypatch, capsys, *call, "--device", device)
        assert code == 2 and f"unknown device {device!r}" in said


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_a_plan_is_shown_whatever_the_locale(encoding: str) -> None:
    code = "import sys; sys.stdout.reconfigure(encoding=sys.argv.pop(), errors='strict'); from gbnlib.cli import main"
    call = [sys.executable, "-c", f"{code}; print('√' if sys.stdout.encoding == 'utf-8' else ''); main()"]
    done = subprocess.run([*call, "plan", "--scale", "quick", "table1", encoding], capture_output=True)
    assert done.returncode == 0 and not done.stderr and b"table1: " in done.stdout


@pytest.mark.parametrize("call", [["-m", "gbnlib", "plan"], ["-c", "from gbnlib import plan"]])
def test_without_the_suite_the_extra_is_named(tmp_path: Path, call: list[str]) -> None:
    for package in ("typer", "pydantic"):
        missing = f"raise ModuleNotFoundError({f'No module named {package}'!r}, name={package!r})"
        (tmp_path / f"{package}.py").write_text(missing)
    path = os.pathsep.join([str(tmp_path), str(files.REPOSITORY)])
    done = subprocess.run(
        [sys.executable, *call], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == (2 if "-m" in call else 1)
    said = done.stderr.splitlines()
    assert "is not installed: this part of gbnlib needs its extra, pip install 'gbnlib[suite]'" in said[-1]
    assert len(said) == 1 or "-c" in call


#: Runs `gbn` with a signal to itself at the moment when a module begins to be imported.
WHILE_IMPORTING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
from gbnlib.__main__ import main
*sys.argv, kind, module = sys.argv
class Sender:
    def find_spec(name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), getattr(signal, kind))
sys.meta_path.insert(0, Sender)
main()
"""
STOPPED = "gbn: stopped; the same command goes on from there\n"


@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(("command", "module"), [("plan", "typer"), ("plan", "pandas"), ("run", "torch")])
def test_a_signal_while_it_starts_ends_it_with_the_line(kind: str, command: str, module: str) -> None:
    call = [sys.executable, "-c", WHILE_IMPORTING, command, "--scale", "smoke", kind, module]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, STOPPED)


def test_ctrl_c_ends_a_measurement_with_the_line(monkeypatch, capsys) -> None:
    def interrupted(*_: object, **__: object) -> None:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.signal(signal.SIGINT, before)

    monkeypatch.setattr(measurements, "make", interrupted)
    assert in_process(monkeypatch, capsys, "measure", "--scale", "smoke", "algorithm1") == (130, STOPPED)


COMMANDS = {
    "plan": ("--scale", "--seeds"),
    "status": ("--scale", "--seeds"),
    "measure": ("--scale", "--device"),
    "clean": ("--scale",),
    "promote": ("--scale",),
    "run --scale smoke": ("--seeds", "--only", "--jobs", "--device", "--memory-gb"),
    "train f1": (
        *("--dataset", "--batch-size", "--base-batch", "--ghost-size", "--lr-rule", "--epochs", "--seed"),
        *("--device", "--threads", "--memory-gb"),
    ),
}
ODD = [
    *("0", "1", "2", "-1", "1.5", "nan", "inf", "-inf", "1e308", HUGE, str(2**63), str(2**64)),
    *(
        "",
        " ",
        "x",
        "smoke",
        "f1",
        "digits",
        "figure1",
        "algorithm1",
        "cpu",
        "cpu:9",
        "meta",
        "../x",
        "/",
        "~",
        "√",
        "-h",
    ),
]
#: The values that a variable is tried with; {} is a folder of the example's own, with a file in it.
VARIABLES = {
    "GBN_RESULTS": (
        "{}/results",
        "{}/file",
        "{}/file/below",
        "~nobody-of-this-name/x",
        "{}/\udcff",
        f"{{}}/{'x' * 300}",
    ),
    "GBN_DATA": ("{}/data", "{}/file", "{}/file/below", "~nobody-of-this-name/x", "{}/\udcff", f"{{}}/{'x' * 300}"),
    "RANK": ("", "0", "5", "-1", "x", "1.5"),
    "WORLD_SIZE": ("", "0", "1", "-1", "x"),
    "LOCAL_RANK": ("", "0", "9", "x"),
}


@st.composite
def calls(draw: st.DrawFn) -> tuple[list[str], dict[str, str]]:
    """A command with odd values of some of its options, and odd values of some variables."""
    command = draw(st.sampled_from(list(COMMANDS)))
    names = draw(st.lists(st.sampled_from(COMMANDS[command]), unique=True, max_size=3))
    options = [word for name in names for word in (name, draw(st.sampled_from(ODD)))]
    variables = draw(st.lists(st.sampled_from(list(VARIABLES)), unique=True, max_size=2))
    scale = [] if "--scale" in [*names, *command.split()] or command.startswith("train") else ["--scale", "smoke"]
    item = draw(st.lists(st.sampled_from(ODD), max_size=1)) if "train" not in command and command != "clean" else []
    return [*command.split(), *item, *scale, *options], {
        each: draw(st.sampled_from(VARIABLES[each])) for each in variables
    }


def untouched(*folders: Path) -> dict[Path, bytes | None]:
    """Everything in some folders, but for what is below a folder of results."""
    paths = [path for at in folders for path in at.rglob("*") if "results" not in path.relative_to(at).parts]
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


def no_training(*_: object, **__: object) -> None:
    """In place of the training, which is not what is tried here."""
    raise UsageError("would train now")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=calls())
def test_whatever_is_given_it_ends_well_or_with_one_line(tmp_path_factory, call) -> None:
    arguments, variables = call
    folder = tmp_path_factory.mktemp("call")
    (folder / "file").write_text("mine")
    given = {name: value.format(folder) for name, value in variables.items()}
    before, out, err = untouched(folder), io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for name, value in {"GBN_RESULTS": str(folder / "results"), **given}.items():
            patch.setenv(name, value)
        for module, name in ((runner, "_train"), (parallel, "_run_missing"), (measurements, "make")):
            patch.setattr(module, name, no_training)
        patch.setattr(sys, "argv", ["gbn", *arguments])
        for name in ("heed", "ignore"):
            patch.setattr(cli.signals, name, lambda: None)
        with pytest.raises(SystemExit) as left:
            cli.main()
    said = err.getvalue()
    assert left.value.code == (2 if said else 0)
    assert not said or (said.startswith("gbn: ") and said.count("\n") == 1)
    assert untouched(folder) == before


def test_a_results_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = gbn("train", "f1", "--epochs", "8", GBN_RESULTS=str(tmp_path / "file"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "cannot write to" in done.stderr


def test_sigterm_stops_a_call_with_several_runs_and_begins_no_more() -> None:
    call = [sys.executable, "-m", "gbnlib", "run", "figure1", "--scale", "quick", "--jobs", "1"]
    process = subprocess.Popen(call, stderr=subprocess.PIPE, text=True)
    configs = experiments.plan("figure1", "quick")
    end = time.monotonic() + 60
    while "running" not in {experiments.progress(config)[0] for config in configs} and time.monotonic() < end:
        time.sleep(0.1)
    process.terminate()
    _, message = process.communicate(timeout=10)
    assert process.returncode == 130, message
    assert message.startswith("gbn: stopped with ") and message.count("\n") == 1
    time.sleep(3)
    states = [experiments.progress(config)[0] for config in configs]
    assert "running" not in states and states.count("missing") >= len(configs) - 2


@pytest.mark.parametrize("command", ["", "plan", "run", "measure", "status", "data", "report", "promote", "clean"])
def test_every_command_explains_itself(monkeypatch, capsys, command: str) -> None:
    assert exit_code(monkeypatch, *filter(None, [command, "--help"])) == 0
    said = capsys.readouterr().out
    assert "Usage" in said and "--help" in said


def test_plan_run_status_and_clean_of_a_scale() -> None:
    planned = len(experiments.plan_scale("smoke"))
    assert f"{planned} runs, 0 finished" in gbn("plan", "--scale", "smoke").stdout
    run_id = experiments.plan("table1", "smoke")[1].id
    done = gbn("run", "--scale", "smoke", "--only", run_id)
    assert done.returncode == 0 and f"[0/{planned}" in done.stdout and ": starts, " in done.stdout
    assert f"[1/{planned}" in done.stdout and "validation error" in done.stdout
    status = gbn("status", "--scale", "smoke").stdout
    assert "1 finished" in status and f"{planned - 1} missing" in status
    (files.results_root() / "smoke").mkdir()
    assert gbn("clean", "--scale", "smoke").returncode == 0
    assert not (files.results_root() / "smoke").exists() and (files.results_root() / "runs" / run_id).exists()
    gbn("clean", "--scale", "smoke", "--runs")
    assert not (files.results_root() / "runs" / run_id).exists()


def test_clean_leaves_what_is_being_made_and_what_another_scale_shows() -> None:
    """Desk and paper share runs: cleaning one leaves them where the other has been shown."""
    both = {config.id for config in experiments.plan_scale("desk")} & {c.id for c in experiments.plan_scale("paper")}
    own = {config.id for config in experiments.plan_scale("paper")} - both
    root = files.results_root() / "runs"
    trained, shared, busy = min(own), min(both), max(own)
    for name in (trained, shared, busy):
        files.write_text(root / name / "config.json", "{}")
    (files.results_root() / "desk").mkdir()
    with files.locked(root, busy):
        said = gbn("clean", "--scale", "paper", "--runs").stdout
    assert {path.name for path in root.iterdir() if path.is_dir() and path.name != ".locks"} == {shared, busy}
    assert "2 of its runs and measurements stay: they are being made, or a scale that is shown here has them." in said
    (files.results_root() / "desk").rmdir()
    assert "stay" not in gbn("clean", "--scale", "paper", "--runs").stdout and not (root / shared).exists()


def test_measure_makes_what_an_item_measures_once_and_says_how_far_it_is() -> None:
    first, second = (gbn("measure", "--scale", "smoke", "random_walk").stdout.splitlines() for _ in range(2))
    assert first[0].startswith("[4 measurements, 0 made, about 4 s to go] passages")
    assert len(first) == 5 and first[-1] == second[-1] == "4 measurements, 4 made, nothing to measure"
    assert len(second) == 1 and second[-1] in gbn("plan", "--scale", "smoke", "random_walk").stdout
    gbn("clean", "--scale", "smoke", "--runs")
    assert not list(files.results_root().glob("measurements/*/done.json"))


@pytest.mark.parametrize(
    ("command", "item", "message"),
    [
        ("measure", "figure1", "figure1 has no measurements, only runs; see `gbn run figure1 --scale smoke`."),
        ("measure", "ablations", "ablations has no measurements, only runs; see "),
        ("run", "algorithm1", "algorithm1 has no runs, only measurements; see `gbn measure algorithm1 --scale smoke"),
        ("run", "scorecard", "scorecard has neither runs nor measurements."),
        ("run", "table2", "table2 is not run at scale smoke; see `gbn plan --scale smoke`."),
        *[
            (command, "figur4", "unknown item 'figur4'; did you mean 'figure4'?")
            for command in ("run", "measure", "plan")
        ],
    ],
)
def test_what_an_item_has_not_is_said(monkeypatch, capsys, command: str, item: str, message: str) -> None:
    code, said = in_process(monkeypatch, capsys, command, "--scale", "smoke", item)
    assert code == 2 and said.startswith(f"gbn: {message}")


@pytest.mark.parametrize("command", ["plan", "status"])
def test_a_plan_of_an_item_that_only_measures_says_so(monkeypatch, capsys, command: str) -> None:
    monkeypatch.setattr(sys, "argv", ["gbn", command, "--scale", "smoke", "algorithm1"])
    with pytest.raises(SystemExit):
        cli.app()
    assert "algorithm1 has no runs, only measurements" in capsys.readouterr().out


def test_data_check_lists_every_set_with_its_state() -> None:
    text = gbn("data", "check").stdout
    assert "GBN_DATA" in text and "digits" in text and "missing:" in text


COUNTED = """
import cProfile, json, sys
from gbnlib.cli import main
opened, calls = [], cProfile.Profile(builtins=False)
sys.addaudithook(lambda event, _: opened.append(event) if event == "open" else None)
calls.enable()
try:
    main()
except SystemExit:
    pass
calls.disable()
number = sum(entry.callcount for entry in calls.getstats())
print(json.dumps({"call": number, "open": len(opened), "modules": list(sys.modules)}))
"""


def counted(*arguments: str) -> tuple[str, dict]:
    """The last lines that `gbn` prints, and the calls it makes, the files it opens and the modules it imports."""
    call = [sys.executable, "-c", COUNTED, *arguments]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, check=True)
    *lines, counts = done.stdout.splitlines()
    return "\n".join(lines[-2:]), json.loads(counts)


def test_plan_and_status_of_a_thousand_runs_take_few_calls_and_files_a_run(tmp_path: Path, monkeypatch) -> None:
    """What makes them answer at once; `benchmarks/overhead.py` has the seconds, which depend on what else runs."""
    monkeypatch.setenv("GBN_RESULTS", str(tmp_path))
    seeds = math.ceil(1000 / len(experiments.plan_scale("paper", 1)))
    configs = experiments.plan_scale("paper", seeds)
    for config in configs[::2]:
        leave(config, seconds=3.0)
    finished = sum(map(experiments.is_done, configs))
    for command, calls in (("plan", 4_000), ("status", 1_500)):
        lines, counts = counted(command, "--scale", "paper", "--seeds", str(seeds))
        assert f"{finished} finished" in lines
        assert not {"torch", "scipy", "matplotlib"} & set(counts["modules"])
        assert counts["call"] < calls * len(configs) and counts["open"] < 5 * len(configs)
