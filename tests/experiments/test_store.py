"""The store: what counts as finished, what is set aside, what is promoted."""

import json
import os
import resource
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from gbnlib import experiments, files
from gbnlib.experiments import RunConfig, config, store
from gbnlib.regimes import Phase
from tests.limits import limited

CONFIG = RunConfig(
    network="f1", dataset="synthetic", train_size=64, batch_size=32, epochs=2, regime=(Phase(epoch=0, lr=0.1),)
)


@pytest.fixture
def finished(monkeypatch, tmp_path) -> experiments.Run:
    """A finished run, and an empty folder of reference runs."""
    monkeypatch.setattr(files, "reference_root", lambda: tmp_path / "reference")
    return experiments.run(CONFIG)


def test_a_finished_run_is_found_and_not_trained_again(finished: experiments.Run) -> None:
    stamp = (finished.folder / "done.json").stat().st_mtime_ns
    assert experiments.run(CONFIG).origin == "local"
    assert (finished.folder / "done.json").stat().st_mtime_ns == stamp
    assert not (finished.folder / "checkpoint.pt").exists()


def test_force_trains_again_and_gives_the_same_bits(finished: experiments.Run) -> None:
    again = experiments.run(CONFIG, force=True)
    assert again.done["weights_sha256"] == finished.done["weights_sha256"]


def test_frames_are_tidy(finished: experiments.Run) -> None:
    history, distance = experiments.load_runs([CONFIG])
    labels = ["run", "network", "dataset", "method", "batch_size", "seed", "initialisation", "precision", "status"]
    assert history.columns[: len(labels)].tolist() == labels
    assert history.epoch.tolist() == [1, 2] and distance["update"].tolist() == [1, 2, 3, 4]
    assert all(frame.empty for frame in experiments.load_runs([CONFIG.model_copy(update={"seed": 9})]))
    pd.testing.assert_frame_equal(experiments.load_history([CONFIG]), history)


@pytest.mark.parametrize("name", ["history.csv", "distance.csv", "config.json", "provenance.json", "done.json"])
def test_a_run_with_a_damaged_file_is_set_aside_and_trained_again(finished, name: str, capsys) -> None:
    path = finished.folder / name
    path.write_text(path.read_text()[:-5])
    assert experiments.find(CONFIG) is None and experiments.progress(CONFIG) == ("missing", 0.0)
    assert finished.folder.is_dir()  # who asks changes nothing
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(finished.folder) in said and name in said and "counts as missing" in said
    assert experiments.run(CONFIG).done["weights_sha256"] == finished.done["weights_sha256"]
    assert finished.folder.with_name(finished.folder.name + ".corrupt").is_dir()
    assert "set aside" in capsys.readouterr().err


def test_a_run_is_not_damaged_because_no_file_can_be_opened(finished: experiments.Run) -> None:
    with limited(resource.RLIMIT_NOFILE, 3), pytest.raises(OSError, match="Too many open files"):
        experiments.find(CONFIG)
    assert experiments.find(CONFIG) == finished


def test_a_config_written_when_there_were_fewer_fields_is_of_the_run() -> None:
    path = store.folder(CONFIG) / "config.json"
    store.write_config(CONFIG)
    written = files.read_json(path)
    del written["config"]["noise"]
    files.write_json(path, written)
    store.write_config(CONFIG)
    assert [each.name for each in path.parent.iterdir()] == ["config.json"]


def test_a_promoted_run_stands_in_for_the_local_one(finished: experiments.Run) -> None:
    target = experiments.promote(CONFIG)
    assert sorted(path.name for path in target.iterdir()) == sorted([*store.TEXT_FILES, "done.json"])
    assert experiments.promote(CONFIG) is None
    shutil.rmtree(finished.folder)
    found = experiments.find(CONFIG)
    assert found.origin == "reference" and found.done == finished.done


def test_a_reference_run_of_an_older_engine_is_used_and_named_so(finished, monkeypatch) -> None:
    experiments.promote(CONFIG)
    shutil.rmtree(finished.folder)
    monkeypatch.setattr(config, "ENGINE", config.ENGINE + 1)
    assert experiments.find(CONFIG).origin == "older engine"
    assert experiments.find(CONFIG.model_copy(update={"clip_norm": 1.0})) is None


def test_a_damaged_reference_run_is_said_left_and_gone_on_without(finished: experiments.Run, capsys) -> None:
    target = experiments.promote(CONFIG)
    shutil.rmtree(finished.folder)
    (target / "history.csv").write_text("")
    assert experiments.find(CONFIG) is None
    said = capsys.readouterr().err
    assert said.startswith(f"{target}: damaged run (history.csv changed") and "git" in said and said.count("\n") == 1
    assert experiments.run(CONFIG).origin == "local" and target.is_dir()


def test_progress_tells_missing_stopped_running_and_finished(finished: experiments.Run) -> None:
    assert experiments.progress(CONFIG) == ("finished", 1.0)
    other = CONFIG.model_copy(update={"seed": 5})
    assert experiments.progress(other) == ("missing", 0.0)
    files.write_text(store.folder(other) / "history.csv", "update,epoch\n2,1\n")
    assert experiments.progress(other) == ("stopped", 0.5)
    with files.locked(store.RUNS.root(), other.id):
        assert experiments.progress(other) == ("running", 0.5)


def test_provenance_says_what_is_needed_and_nothing_personal(finished, monkeypatch) -> None:
    facts = finished.provenance()
    wanted = {"gbnlib", "engine", "python", "torch", "commit", "dirty", "cpu", "device", "data_sha256", "threads"}
    assert wanted | {"precision", "seconds", "images_per_second", "peak_memory_mb", "finished"} <= set(facts)
    text = json.dumps(facts)
    import getpass
    import pathlib
    import socket

    for private in (socket.gethostname(), str(pathlib.Path.home()), getpass.getuser()):
        assert private not in text


CONFIGS = [CONFIG.model_copy(update={"seed": seed}) for seed in range(20)]
WRITER = """
import json, sys
from gbnlib import files
from gbnlib.experiments import RunConfig, store
configs = [RunConfig(**each) for each in json.load(sys.stdin)]
first, written = int(sys.argv[1]), 0
for config in configs[first:] + configs[:first]:
    store.write_config(config)
    with files.locked(store.RUNS.root(), config.id):
        if store.find(config) is None:
            for name in ("history.csv", "distance.csv"):
                files.write_csv(store.folder(config) / name, ("update", "value"), [[1, config.seed]])
            files.write_json(store.folder(config) / "provenance.json", {})
            store.write_done(config, "finished", {"seconds": 0.0}, "")
            written += 1
    store.progress(config)
    store.promote(config)
print(written)
"""


def test_sixteen_processes_that_write_at_once_leave_the_store_whole(tmp_path) -> None:
    environment = {**os.environ, "GBN_RESULTS": str(tmp_path)}
    code = f"from gbnlib import files; files.reference_root = lambda: files.Path({str(tmp_path / 'reference')!r})"
    given = json.dumps([config.model_dump(mode="json") for config in CONFIGS])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    writers = [
        subprocess.Popen([sys.executable, "-c", f"{code}\n{WRITER}", str(first)], env=environment, **pipes)
        for first in range(16)
    ]
    for writer in writers:
        writer.stdin.write(given)
        writer.stdin.close()
    errors = [writer.stderr.read() for writer in writers]
    assert errors == [""] * 16 and [writer.wait(60) for writer in writers] == [0] * 16
    assert sum(int(writer.stdout.read()) for writer in writers) == len(CONFIGS)  # each run once
    for root in (tmp_path / "runs", tmp_path / "reference" / "runs"):
        assert {path.name for path in root.iterdir()} - {".locks"} == {config.id for config in CONFIGS}
        for path in root.glob("f1-*"):
            assert store.RUNS.read(path, RunConfig(**files.read_json(path / "config.json")["config"]))[1] is None
            assert {file.name for file in path.iterdir()} == {*store.TEXT_FILES, "done.json"}


def test_every_bit_of_a_finished_run_is_covered(finished: experiments.Run) -> None:
    """A flipped bit is noticed in every byte of `done.json`; the other files have their checksums there."""
    path = finished.folder / "done.json"
    whole = path.read_bytes()
    for position in range(len(whole)):
        content = bytearray(whole)
        content[position] ^= 1 << position % 8
        path.write_bytes(content)
        assert store.damage(CONFIG) is not None, (position, chr(whole[position]))
    path.write_bytes(whole)
    assert experiments.find(CONFIG) == finished


def test_a_finished_run_of_an_earlier_version_is_found(finished: experiments.Run) -> None:
    """It has no checksum of `done.json`."""
    path = finished.folder / "done.json"
    files.write_json(path, {key: value for key, value in files.read_json(path).items() if key != "sha256"})
    assert experiments.find(CONFIG).status == "finished"


def test_the_folder_of_another_run_is_not_this_run(finished: experiments.Run, capsys) -> None:
    other = CONFIG.model_copy(update={"seed": 1})
    shutil.copytree(finished.folder, store.folder(other))
    assert experiments.find(other) is None and f"it is of {CONFIG.id}" in capsys.readouterr().err
    assert experiments.run(other).config == other
    assert experiments.run(other).done["weights_sha256"] != finished.done["weights_sha256"]


def test_all_reference_runs_are_found() -> None:
    for path in sorted((files.reference_root() / "runs").glob("*/config.json")):
        found = experiments.find(RunConfig(**files.read_json(path)["config"]))
        assert found is not None and found.folder == path.parent


STRANGE = {
    "empty": lambda path: path.write_bytes(b""),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "foo": lambda path: path.write_text("update,epoch\nfoo,1\n"),
    "too far": lambda path: path.write_text("update,epoch\n1000000000,1\n"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "list": lambda path: path.write_text("[]"),
    "folder": lambda path: path.mkdir(),
    "loop": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("name", [*store.TEXT_FILES, "done.json", "checkpoint.pt", "."])
@pytest.mark.parametrize("content", STRANGE)
def test_no_damaged_file_of_a_run_blocks_anything(name: str, content: str, monkeypatch, tmp_path, capsys) -> None:
    """Asking answers and changes nothing; taking sets aside and trains."""
    monkeypatch.setattr(files, "reference_root", lambda: tmp_path / "reference")
    path = store.folder(CONFIG) / name
    files.make_folder(path.parent if name != "." else store.RUNS.root())
    if name == "." and content == "folder":
        return
    STRANGE[content](path)
    before = sorted(files.results_root().rglob("*"))
    state, share = experiments.progress(CONFIG)
    assert state in ("missing", "stopped") and share == 0.0 and experiments.find(CONFIG) is None
    assert experiments.remaining_seconds([CONFIG], "smoke") > 0
    assert sorted(files.results_root().rglob("*")) == before
    assert capsys.readouterr().err.count("\n") <= 1
    assert experiments.run(CONFIG).status == "finished"
    assert {each.name for each in store.folder(CONFIG).iterdir() if ".corrupt" not in each.name} == {
        *store.TEXT_FILES,
        "done.json",
    }


def test_asking_needs_no_right_to_write_and_leaves_no_file() -> None:
    files.write_text(store.folder(CONFIG) / "history.csv", "update,epoch\n2,1\n")
    before = sorted(files.results_root().rglob("*"))
    assert experiments.progress(CONFIG) == ("stopped", 0.5)
    assert sorted(files.results_root().rglob("*")) == before
    with files.locked(store.RUNS.root(), CONFIG.id) as held:
        os.chmod(held.lock_file, 0o444)  # another user's
        assert experiments.progress(CONFIG) == ("running", 0.5)


#: What takes from root the right to write everywhere.
WITHOUT_POWER = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []


@pytest.mark.skipif(bool(WITHOUT_POWER) and not shutil.which("setpriv"), reason="root may write everywhere")
def test_another_users_results_can_be_read_and_running_there_names_the_remedy(tmp_path) -> None:
    config = experiments.plan("figure1", "smoke")[0]
    for place in (f"{config.id}/history.csv", f".locks/{config.id}.lock"):
        files.write_text(tmp_path / "runs" / place, "update,epoch\n1,1\n")
    for path in (*tmp_path.rglob("*"), tmp_path):
        path.chmod(0o555 if path.is_dir() else 0o444)

    def gbn(*arguments: str) -> subprocess.CompletedProcess:
        call = [*WITHOUT_POWER, sys.executable, "-m", "gbnlib", *arguments, "--scale", "smoke"]
        environment = {**os.environ, "GBN_RESULTS": str(tmp_path)}
        return subprocess.run(call, env=environment, capture_output=True, text=True, timeout=120)

    for command in ("plan", "status"):
        asked = gbn(command)
        assert (asked.returncode, asked.stderr) == (0, "")
    refused = gbn("run", "--only", config.id)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert all(word in refused.stderr for word in ("cannot write to", "group", "umask", "GBN_RESULTS"))
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)


def test_a_lock_may_be_taken_by_who_may_write_in_its_folder() -> None:
    place = files.make_folder(store.RUNS.root() / ".locks")
    for mode in (0o755, 0o775):
        place.chmod(mode)
        other = CONFIG.model_copy(update={"seed": mode})
        with files.locked(store.RUNS.root(), other.id) as held:
            assert os.stat(held.lock_file).st_mode & 0o777 == mode & 0o666


def test_temporary_files_of_killed_writers_are_swept_when_the_run_is_taken() -> None:
    left = store.folder(CONFIG) / ".checkpoint.pt.abcd1234"
    files.write_text(left, "half")
    assert experiments.progress(CONFIG)[0] == "missing" and left.exists()
    experiments.run(CONFIG)
    assert not left.exists()
