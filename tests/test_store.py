"""The one store, for both kinds: who asks changes nothing, and a copy that is cut off leaves all or nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gbnlib import experiments, files, measurements
from gbnlib.experiments.store import RUNS
from gbnlib.measurements.store import MEASUREMENTS
from gbnlib.report import listing
from tests.stored import leave

STORES = {"run": RUNS, "measurement": MEASUREMENTS}


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest, monkeypatch, tmp_path: Path) -> str:
    """Each kind, with an empty folder of reference results."""
    monkeypatch.setattr(files, "reference_root", lambda: tmp_path / "reference")
    return request.param


def left(kind: str) -> tuple[object, Path]:
    """What is asked for to get something finished, and its folder."""
    if kind == "run":
        config = experiments.plan("figure1", "smoke")[0]
        leave(config)
        return config, RUNS.folder(config)
    wanted, entry = next(iter(measurements.plan("smoke").items()))
    folder = MEASUREMENTS.folder(wanted)
    made_of = {"name": entry.name, "version": entry.version, "parameters": entry.parameters}
    files.write_json(folder / "config.json", {"id": wanted, **made_of})
    for name in ("result.csv", "provenance.json"):
        files.write_text(folder / name, "x\n1\n")
    MEASUREMENTS.finish(folder, {"id": wanted, "seconds": 1.0})
    return wanted, folder


def snapshot(*roots: Path) -> dict[Path, tuple]:
    """All that is below some folders: kind and rights, time of the last change, content."""
    found = {path: path.lstat() for root in roots for path in (root, *root.rglob("*"))}
    return {
        path: (seen.st_mode, seen.st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path, seen in found.items()
    }


def replaced_by_a_file(folder: Path) -> None:
    """Nothing but a file where the folder was."""
    shutil.rmtree(folder)
    folder.write_text("")


STATES = {
    "finished": lambda folder: None,
    "missing": shutil.rmtree,
    "not a folder": replaced_by_a_file,
    "unfinished": lambda folder: (folder / "done.json").unlink(),
    "changed": lambda folder: (folder / "provenance.json").write_text("x"),
    "cut": lambda folder: (folder / "done.json").write_text("{"),
    "incomplete": lambda folder: (folder / "config.json").unlink(),
    "begun again": lambda folder: shutil.copytree(folder, folder.with_name(f".{folder.name}")),
    "a writer's rest": lambda folder: (folder / ".history.csv.abcd1234").write_text("half"),
}


@pytest.mark.parametrize("promoted", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_who_asks_changes_nothing(kind: str, state: str, promoted: bool) -> None:
    wanted, folder = left(kind)
    store = STORES[kind]
    target = store.promote(wanted) if promoted else None
    STATES[state](target or folder)
    if promoted:
        shutil.rmtree(folder)
    roots = files.results_root(), files.make_folder(files.reference_root())
    before = snapshot(*roots)
    found = store.find(wanted)
    assert (found is not None) == store.is_done(wanted) == (state in ("finished", "begun again", "a writer's rest"))
    store.damage(wanted), files.is_locked(store.root(), folder.name)
    listing.plan_text("smoke"), listing.status_text("smoke"), listing.measuring_text("smoke")
    assert snapshot(*roots) == before


@pytest.mark.parametrize("state", ["changed", "cut", "incomplete", "not a folder"])
def test_who_takes_sets_aside_what_is_damaged_and_nothing_else(kind: str, state: str) -> None:
    wanted, folder = left(kind)
    STATES[state](folder)
    other = files.make_folder(folder.with_name("other-0123"))
    STORES[kind].clear(wanted)
    assert {path.name for path in folder.parent.iterdir()} == {f"{folder.name}.corrupt", other.name}
    STORES[kind].clear(wanted)
    assert {path.name for path in folder.parent.iterdir()} == {f"{folder.name}.corrupt", other.name}


def test_a_copy_to_the_reference_results_that_is_cut_off_is_not_there_and_is_made_again(kind: str, monkeypatch) -> None:
    wanted, folder = left(kind)
    calls, copyfile = 0, shutil.copyfile

    def cut_off(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        copyfile(source, target)
        if calls in cut:
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", cut_off)
    names = {*STORES[kind].names, "done.json"}
    for last in range(1, len(names) + 1):
        calls, cut = 0, {last}
        with pytest.raises(KeyboardInterrupt):
            STORES[kind].promote(wanted)
        assert not (files.reference_root() / f"{kind}s" / folder.name).exists()
        assert STORES[kind].find(wanted).origin == "local"
    cut = set()
    target = STORES[kind].promote(wanted)
    assert [path.name for path in target.parent.iterdir()] == [folder.name]
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        name: (folder / name).read_bytes() for name in names
    }


HOLDER = """
import sys, time
from gbnlib import files
with files.locked(files.Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_lock_of_a_process_is_seen_waited_for_and_free_when_it_is_killed(kind: str) -> None:

    def interrupted() -> None:
        raise KeyboardInterrupt

    _, folder = left(kind)
    place = STORES[kind].root(), folder.name
    assert not files.is_locked(*place)
    call = [sys.executable, "-c", HOLDER, *map(str, place)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=os.environ) as holder:
        assert holder.stdout.readline() == "held\n" and files.is_locked(*place)
        with pytest.raises(KeyboardInterrupt), files.locked(*place, wait=interrupted):
            pass
        with files.locked(*place, wait=holder.kill):  # without the kill it would wait for ten minutes
            assert holder.wait(60) < 0 and files.is_locked(*place)
    assert not files.is_locked(*place)
    with files.locked(*place, wait=lambda: pytest.fail("nobody holds it")):
        pass
