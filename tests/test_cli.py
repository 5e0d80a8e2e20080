"""The command line as a newcomer meets it."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gbnlib import cli, experiments, files
from gbnlib.errors import Failed, Interrupted
from gbnlib.report import listing
from tests.stored import leave


def gbn(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run `gbn` in a process of its own."""
    call = [sys.executable, "-m", "gbnlib", *arguments]
    return subprocess.run(call, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--network", "f1", "--batch-size", "-1"], "batch_size: Input should be greater than 0 (given: -1)"),
        (["run", "--network", "nope"], "unknown network 'nope'"),
        (["plan", "--scale", "huge"], "unknown scale 'huge'. Allowed: smoke, quick, desk, paper."),
        (["run", "--batch-size", "64"], "--batch-size belongs to a run of your own: name its --network too"),
        (["run", "--item", "table11"], "unknown item 'table11'; did you mean 'table1'"),
        (["run", "--network", "f1", "--dataset", "mnist"], "MNIST is not there (missing: "),
        (["run", "--only", "f1-nope"], "unknown run of scale quick 'f1-nope'"),
        (["run", "--only", "f1", "--seeds", "2"], "--seeds has no effect with --only. Leave one of them out."),
        (["run", "--only", "f1", "--epochs", "2"], "--epochs has no effect with --only"),
        (["run", "--network", "f1", "--item", "table1"], "--item has no effect with --network"),
        (["report", "--scale", "smoke"], "smoke"),
    ],
)
def test_what_the_user_can_fix_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    done = gbn(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("gbn: ") and done.stderr.count("\n") == 1
    assert message in done.stderr


def test_torchrun_is_for_one_run() -> None:
    done = gbn("run", "--item", "table1", "--scale", "smoke", WORLD_SIZE="2", RANK="0")
    assert done.returncode == 2 and done.stderr.startswith("gbn: torchrun trains one run: name it with --only")


def in_process(monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    """Exit code and stderr of `gbn` in this process, where its parts can be replaced."""
    monkeypatch.setattr(sys, "argv", ["gbn", *arguments])
    monkeypatch.setattr(cli.signals, "heed", lambda: None)
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code, capsys.readouterr().err


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
    monkeypatch.setattr(experiments, "run_all", lambda *_, tick, **__: tick())
    monkeypatch.setattr(listing, "runs_progress_text", lambda *_: computed.append("one") or "")
    assert in_process(monkeypatch, capsys, "run", "--scale", "smoke")[0] == 0
    assert not computed


def test_a_results_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = gbn("run", "--network", "f1", "--epochs", "8", GBN_RESULTS=str(tmp_path / "file"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "cannot write to" in done.stderr


def test_sigterm_stops_a_call_with_several_runs_and_begins_no_more() -> None:
    call = [sys.executable, "-m", "gbnlib", "run", "--item", "figure1", "--scale", "quick", "--jobs", "1"]
    process = subprocess.Popen(call, stderr=subprocess.PIPE, text=True)
    configs = experiments.plan("figure1", "quick")
    end = time.monotonic() + 60
    while "running" not in {experiments.progress(config)[0] for config in configs} and time.monotonic() < end:
        time.sleep(0.1)
    process.terminate()
    _, message = process.communicate(timeout=10)
    assert process.returncode == 130 and message.startswith("gbn: stopped with ") and message.count("\n") == 1
    time.sleep(3)
    states = [experiments.progress(config)[0] for config in configs]
    assert "running" not in states and states.count("missing") >= len(configs) - 2


@pytest.mark.parametrize("command", ["", "plan", "run", "measure", "status", "data", "report", "promote", "clean"])
def test_every_command_explains_itself(command: str) -> None:
    done = gbn(*filter(None, [command, "--help"]))
    assert done.returncode == 0 and "Usage" in done.stdout and "--help" in done.stdout


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


def test_measure_makes_what_an_item_measures_once_and_says_how_far_it_is() -> None:
    first, second = (gbn("measure", "--scale", "smoke", "--item", "random_walk").stdout.splitlines() for _ in range(2))
    assert first[0].startswith("[4 measurements, 0 made, about 4 s to go] passages")
    assert len(first) == 5 and first[-1] == second[-1] == "4 measurements, 4 made, nothing to measure"
    assert len(second) == 1 and second[-1] in gbn("plan", "--scale", "smoke", "--item", "random_walk").stdout
    gbn("clean", "--scale", "smoke", "--runs")
    assert not list(files.results_root().glob("measurements/*/done.json"))


@pytest.mark.parametrize(
    ("command", "item", "message"),
    [
        ("measure", "figure1", "figure1 has no measurements, only runs; see `gbn run --scale smoke --item figure1`."),
        ("measure", "ablations", "ablations has no measurements, only runs; see "),
        ("run", "algorithm1", "algorithm1 has no runs, only measurements; see `gbn measure --scale smoke --item algor"),
        ("run", "scorecard", "scorecard has neither runs nor measurements."),
        ("run", "table2", "table2 is not run at scale smoke; see `gbn plan --scale smoke`."),
        *[
            (command, "figur4", "unknown item 'figur4'; did you mean 'figure4'?")
            for command in ("run", "measure", "plan")
        ],
    ],
)
def test_what_an_item_has_not_is_said(monkeypatch, capsys, command: str, item: str, message: str) -> None:
    code, said = in_process(monkeypatch, capsys, command, "--scale", "smoke", "--item", item)
    assert code == 2 and said.startswith(f"gbn: {message}")


@pytest.mark.parametrize("command", ["plan", "status"])
def test_a_plan_of_an_item_that_only_measures_says_so(monkeypatch, capsys, command: str) -> None:
    monkeypatch.setattr(sys, "argv", ["gbn", command, "--scale", "smoke", "--item", "algorithm1"])
    with pytest.raises(SystemExit):
        cli.app()
    assert "algorithm1 has no runs, only measurements" in capsys.readouterr().out


def test_data_check_lists_every_set_with_its_state() -> None:
    text = gbn("data", "check").stdout
    assert "GBN_DATA" in text and "digits" in text and "missing:" in text


COUNTED = """
import collections, json, sys
from gbnlib.cli import main
counts = collections.Counter()
sys.addaudithook(lambda event, _: counts.update([event] * (event == "open")))
sys.setprofile(lambda frame, event, _: counts.update([event] * (event == "call")))
try:
    main()
except SystemExit:
    pass
sys.setprofile(None)
print(json.dumps({**counts, "modules": list(sys.modules)}))
"""


def counted(*arguments: str) -> tuple[str, dict]:
    """The last line that `gbn` prints, and the calls it makes, the files it opens and the modules it imports."""
    call = [sys.executable, "-c", COUNTED, *arguments]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, check=True)
    *_, line, counts = done.stdout.splitlines()
    return line, json.loads(counts)


def test_plan_and_status_of_a_thousand_runs_take_few_calls_and_files_a_run(tmp_path: Path, monkeypatch) -> None:
    """What makes them answer at once; `benchmarks/overhead.py` has the seconds, which depend on what else runs."""
    monkeypatch.setenv("GBN_RESULTS", str(tmp_path))
    seeds = math.ceil(1000 / len(experiments.plan_scale("paper", 1)))
    configs = experiments.plan_scale("paper", seeds)
    for config in configs[::2]:
        leave(config, seconds=3.0)
    finished = sum(map(experiments.is_done, configs))
    for command, calls in (("plan", 4_000), ("status", 1_500)):
        line, counts = counted(command, "--scale", "paper", "--seeds", str(seeds))
        assert f"{finished} finished" in line
        assert not {"torch", "scipy", "matplotlib"} & set(counts["modules"])
        assert counts["call"] < calls * len(configs) and counts["open"] < 5 * len(configs)
