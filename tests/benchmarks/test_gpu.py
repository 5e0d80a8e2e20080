"""`benchmarks/gpu.py` on a machine without a GPU: its dry run, twice, without the packages that it must not need."""

import json
import os
import subprocess
import sys
import warnings
from multiprocessing import context
from pathlib import Path

import pytest
import torch

from gbnlib import files
from gbnlib.errors import UsageError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
#: What a bare machine lacks; `None` in place of a module makes Python say that it is not there.
BLOCKED = (
    "snakemake sphinx papermill typer seaborn matplotlib mlxtend IPython ipykernel nbformat myst_nb grimp bs4 docutils "
    "tabulate scipy jupyterlab torchvision pyarrow"
)


def call(*options, packages=()):
    """Call it in a process of its own, which has no gbnlib installed, and lacks some packages."""
    path = os.pathsep.join(map(str, packages))
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), *map(str, options)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)


@pytest.fixture
def bare(tmp_path):
    """A folder that makes each Python that has it on its path lack what a bare machine does."""
    blocked = tmp_path / "bare"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(f"import sys\nsys.modules |= dict.fromkeys('{BLOCKED}'.split())\n")
    return blocked


def test_a_dry_run_takes_all_steps_and_a_second_call_the_missing_ones(tmp_path, bare):
    options = ("--dry-run", "--networks", "f1", "--out", tmp_path / "out")
    first = call(*options, packages=[bare])
    assert first.returncode == 0, first.stderr
    path = tmp_path / "out" / "gpu.json"
    content = json.loads(path.read_text())
    wanted = ["facts", *(f"{step} f1" for step in ("equal", "repeat", "waits", "ghosts", "rates", "graphs"))]
    wanted += ["together 2", "plan", "layers", "runs f1, Table 1"]
    assert list(content["steps"]) == wanted
    assert not [entry for entry in content["steps"].values() if "error" in entry]
    assert len(list((tmp_path / "out" / "runs").glob("*/done.json"))) == 2
    assert content["steps"]["equal f1"]["found"]["fp32"] == 0  # the device is the CPU that it is compared with
    page = path.with_suffix(".md").read_text()
    assert "| f1 | 16 | 4 | bf16 |" in page and "Lines for gbnlib/paper/scales.toml" in page

    kept = {key: entry for key, entry in content["steps"].items() if key != "waits f1"}
    kept["ghosts f1"] = {"error": "the card was busy"}
    path.write_text(json.dumps({**content, "steps": kept}))
    second = call(*options, packages=[bare])
    assert second.returncode == 0, second.stderr
    assert [line.split(":")[0] for line in second.stdout.splitlines()[:-1]] == ["waits f1", "ghosts f1"]
    again = json.loads(path.read_text())["steps"]
    assert set(again) == set(wanted) and "found" in again["ghosts f1"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    found = call("--out", tmp_path)
    assert found.returncode == 2 and len(found.stderr.splitlines()) == 1
    assert "PyTorch finds no CUDA GPU" in found.stderr and "--dry-run" in found.stderr


# --- its parts -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpu():
    """The modules of the benchmark."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        patch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
        import gpu

        yield gpu


@pytest.fixture
def setting(gpu, tmp_path):
    """A dry run of one network."""
    return gpu.Setting("cpu", True, ("f1",), tmp_path)


@pytest.mark.parametrize("options", [("--networks", "f2"), ("--minutes", "0"), ("--minutes", "nan")])
def test_what_cannot_be_meant_is_refused(gpu, options):
    with pytest.raises(UsageError, match="unknown network 'f2'|minutes is"):
        gpu.prepared(gpu.parsed(["--dry-run", *options]))


def test_a_dry_run_takes_the_small_networks_unless_others_are_named(gpu, tmp_path, monkeypatch):
    monkeypatch.setenv("GBN_RESULTS", str(tmp_path))  # which a dry run changes
    for options, expected in (((), gpu.TINY_NETWORKS), (("--networks", "vgg,c3"), ("vgg", "c3"))):
        setting, _ = gpu.prepared(gpu.parsed(["--dry-run", "--out", str(tmp_path / "out"), *options]))
        assert setting.networks == expected


def test_results_of_another_card_are_not_mixed_in(gpu, setting):
    report = gpu.Report(setting, "a card")
    report.add("facts", {"found": {}}, 1.0)
    assert not gpu.Report(setting, "a card").lacks("facts")
    with pytest.raises(UsageError, match="is of a card, not of another"):
        gpu.Report(setting, "another")


def failing(setting):
    raise ValueError("first line\nsecond line")


def leaving(setting):
    os._exit(3)


def counting(setting):
    return {"pid": os.getpid(), "ratio": float("nan")}


def in_this_process(gpu, monkeypatch, steps):
    """Fork rather than spawn, so that the steps of a test are known in the process that takes them."""

    monkeypatch.setattr(gpu.multiprocessing, "get_context", lambda kind: context.ForkContext())
    for name, step in steps.items():
        monkeypatch.setitem(gpu.STEPS, name, step)


def test_an_error_is_a_result_and_the_next_step_gets_a_new_process(gpu, setting, monkeypatch):
    in_this_process(gpu, monkeypatch, {"facts": failing, "layers": leaving, "plan": counting})
    worker = gpu.Worker(setting)
    pids = [worker.take("plan", ())["found"]["pid"] for _ in range(2)]
    assert pids[0] == pids[1]
    found = worker.take("facts", ())
    assert found["error"] == "ValueError: first line" and found["where"][-1].startswith("test_gpu.py:")
    assert worker.take("layers", ()) == {"error": "the process ended with exit code 3"}
    last = worker.take("plan", ())["found"]
    assert last["pid"] not in pids and last["ratio"] == "NaN"  # JSON has no number for it
    worker.end()


def test_a_step_without_end_is_given_up(gpu, setting, monkeypatch):
    in_this_process(gpu, monkeypatch, {"facts": lambda setting: __import__("time").sleep(60)})
    monkeypatch.setattr(gpu, "PATIENCE", 0.2)
    worker = gpu.Worker(setting)
    assert worker.take("facts", ()) == {"error": "none in 0.2 s"} and worker.process is None


def test_steps_that_have_no_time_left_are_for_the_next_call(gpu, setting, monkeypatch):
    monkeypatch.setattr(gpu.Worker, "take", lambda *arguments: pytest.fail("a step was taken"))
    report = gpu.Report(setting, "a card")
    gpu.take_steps(setting, report, until=0.0)
    gpu.train(setting, report, until=0.0)
    assert not report.path.exists()


def test_the_most_valuable_runs_come_first(gpu, tmp_path):
    groups = gpu.runs.groups(gpu.Setting("cuda", False, ("resnet44", "c1", "f1"), tmp_path))
    first, second, third, *_ = groups.values()
    assert {(run.network, run.seed, run.adapt) for run in first} == {("resnet44", 0, False)} and len(first) == 4
    assert {(run.network, run.seed) for run in second} == {("c1", 0)} and len(second) == 5
    assert {run.batch_size for run in third} == {64, 128, 256, 512, 1024, 2048}


def test_runs_take_the_declared_data_unless_only_what_stands_in_for_them_is_there(gpu, monkeypatch):
    run = gpu.runs.experiments.plan("table1", "paper")[25]
    for there, used in (({"cifar10"}, "cifar10"), ({"cifar10-jpeg"}, "cifar10-jpeg"), (set(), "cifar10")):
        state = lambda name, there=there: "ready" if name in there else f"missing: {name}"  # noqa: E731
        monkeypatch.setattr(gpu.runs.data, "check", state)
        assert gpu.runs.with_data(run).dataset == used


def test_runs_replay_updates_where_that_was_found_equal_and_faster_for_all_their_networks(gpu, tmp_path):
    c1, resnet44 = (gpu.runs.experiments.plan("table1", "paper", seeds=1)[place] for place in (5, 10))
    assert (c1.network, resnet44.network) == ("c1", "resnet44")
    good = [{"equal": True, "computed_ms": 5.0, "replayed_ms": 2.0}, {"equal": True}]
    slow, other = [{**good[0], "replayed_ms": 5.0}, good[1]], [good[0], {"equal": False}]
    decided = [
        gpu.runs.replayed([c1, resnet44], {"graphs c1": good, "graphs resnet44": found})
        for found in (good, slow, other, [{"equal": None, "why": "only a GPU has graphs"}])
    ]
    assert decided == [True, False, False, False] and not gpu.runs.replayed([c1, resnet44], {"graphs c1": good})


def test_lines_of_waits_are_those_of_synchronisations(gpu):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.warn_explicit("called a synchronizing CUDA operation", UserWarning, "/a/loop.py", 7)
        warnings.warn_explicit("called a synchronizing CUDA operation", UserWarning, "/a/loop.py", 7)
        warnings.warn_explicit("deprecated", UserWarning, "/a/loop.py", 8)
    assert gpu.checks.waiting_lines(seen) == {"loop.py:7": 2}


def test_a_kernel_that_is_wrong_is_seen(gpu, setting, monkeypatch):
    right = gpu.checks.ghosts(setting, "c1")
    assert all(row["within"] for row in right) and len({tuple(row["shape"]) for row in right}) == 4
    wrong = gpu.checks.ghost_batch_norm
    monkeypatch.setattr(gpu.checks, "ghost_batch_norm", lambda batch, size, *state: wrong(batch, size - 1, *state))
    assert not any(row["within"] for row in gpu.checks.ghosts(setting, "c1"))


def test_an_update_in_another_arithmetic_is_told_from_an_equal_one(gpu, setting):
    found = gpu.checks.equal(setting, "c1")
    assert found["within"] and found["fp32"] == 0 and 1e-4 < found["bf16"] < 1


def test_a_batch_that_does_not_fit_is_a_row_and_the_others_go_on(gpu, setting, monkeypatch):
    def timed(setting, network, batch, ghost, precision):
        if batch == 16 and not ghost:
            raise torch.OutOfMemoryError("CUDA out of memory.\nmore")
        return {"ms": 2.0 * batch, "images_per_second": 500.0}

    monkeypatch.setattr(gpu.speed, "timed", timed)
    facts = {"fp32_tflops": 40, "tf32_tflops": 200, "bf16_tflops": 350, "copy_gb_s": 2500}
    rows = gpu.speed.rates(setting, "f1", {"facts": facts})
    assert [row.get("error") for row in rows[3:6]] == ["CUDA out of memory."] * 3
    assert all(0 < row["of_roofline"] < 1 for row in rows if "ms" in row)
    found = gpu.speed.plan(setting, {"rates f1": rows})
    (start, *_) = found["hours"]
    images = 50 * (60_000 + 10_000 / 3) * 2  # SB and LB, one seed; 2 ms an image and nothing besides
    assert (start["item"], start["runs"]) == ("start_here", 2) and start["fp32"] == pytest.approx(images / 500 / 3600)
    assert found["rows"]["f1"].endswith("images_per_second = { fp32 = 500 }\nupdate_ms = 0.00")


def test_the_page_shows_errors_and_any_value(gpu):
    steps = {
        "equal f1": {"found": {"fp32": 1e-7, "within": True}},
        "equal c1": {"error": "ValueError: a | b", "where": ["x.py:1"]},
        "waits f1": {"found": {"waits": {"loop.py:7": 2}}},
    }
    text = gpu.page.text({"card": "a card", "tiny": False, "steps": steps})
    assert "| f1 | 1e-07 | True |  |  |" in text and "| c1 |  |  | ValueError: a \\| b | x.py:1 |" in text
    assert "| f1 | loop.py:7: 2 |" in text


def test_reading_what_was_torn_is_said(gpu, setting):
    files.write_text(setting.folder / "gpu.json", '{"card": ')
    with pytest.raises(UsageError, match="not readable JSON"):
        gpu.Report(setting, "a card")
