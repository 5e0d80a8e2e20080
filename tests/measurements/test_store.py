"""Measurements: computed once, found by content, set aside when damaged, promoted."""

import json
import shutil
import threading

import pandas as pd
import pytest

from gbnlib import files
from gbnlib.errors import Interrupted
from gbnlib.measurements import measure
from gbnlib.measurements import store as measurements

PARAMETERS = {"power": 2, "values": [0.1, 0.2, 0.3]}


class Counted:
    """A function that knows how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, power: int, values: list[float]) -> pd.DataFrame:
        self.calls += 1
        return pd.DataFrame({"value": values, "result": [value**power for value in values], "kind": "power"})


@pytest.fixture
def powers(monkeypatch, tmp_path) -> Counted:
    """A function to measure, and an empty folder of reference measurements."""
    monkeypatch.setattr(files, "reference_root", lambda: tmp_path / "reference")
    return Counted()


def test_it_is_computed_once_and_read_with_every_bit(powers: Counted) -> None:
    first, second = (measure("powers", powers, PARAMETERS) for _ in range(2))
    assert powers.calls == 1
    pd.testing.assert_frame_equal(first, powers(**PARAMETERS), check_exact=True)
    pd.testing.assert_frame_equal(first, second, check_exact=True)


@pytest.mark.parametrize(
    ("name", "parameters", "version"),
    [("other", PARAMETERS, 1), ("powers", {**PARAMETERS, "power": 3}, 1), ("powers", PARAMETERS, 2)],
)
def test_name_parameters_and_version_make_the_id(name, parameters, version) -> None:
    assert measurements.identify(name, parameters, version) != measurements.identify("powers", PARAMETERS)
    backwards = dict(reversed(PARAMETERS.items()))
    assert measurements.identify("powers", backwards) == measurements.identify("powers", PARAMETERS)


def test_force_computes_again(powers: Counted) -> None:
    for _ in range(2):
        measure("powers", powers, PARAMETERS, force=True)
    assert powers.calls == 2


def test_force_keeps_what_is_there_until_the_new_one_is_made(powers: Counted, monkeypatch) -> None:
    frame = measure("powers", powers, PARAMETERS)

    def stopped(**_: object) -> pd.DataFrame:
        raise Interrupted

    with pytest.raises(Interrupted):
        measure("powers", stopped, PARAMETERS, force=True)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(measurements.provenance, "now", stopped)  # while it is written
        measure("powers", powers, PARAMETERS, force=True)
    pd.testing.assert_frame_equal(measure("powers", stopped, PARAMETERS), frame)
    measure("powers", powers, PARAMETERS, force=True)
    assert [path.name for path in measurements.root().iterdir() if path.name != ".locks"] == [
        measurements.identify("powers", PARAMETERS)
    ]


@pytest.mark.parametrize("name", [*measurements.TEXT_FILES, "done.json"])
def test_a_damaged_one_is_set_aside_and_made_again(powers: Counted, name: str, capsys) -> None:
    frame = measure("powers", powers, PARAMETERS)
    folder = measurements.root() / measurements.identify("powers", PARAMETERS)
    (folder / name).write_text((folder / name).read_text()[:-5])
    assert measurements.find(folder.name) is None and folder.is_dir()  # who asks changes nothing
    said = capsys.readouterr().err
    assert said.startswith(f"{folder}: damaged measurement ({name}") and said.count("\n") == 1
    pd.testing.assert_frame_equal(measure("powers", powers, PARAMETERS), frame)
    assert powers.calls == 2 and folder.with_name(folder.name + ".corrupt").is_dir()
    assert "set aside" in capsys.readouterr().err


def test_one_that_was_killed_is_made_again(powers: Counted) -> None:
    measure("powers", powers, PARAMETERS)
    (measurements.root() / measurements.identify("powers", PARAMETERS) / "done.json").unlink()
    measure("powers", powers, PARAMETERS)
    assert powers.calls == 2


def test_two_at_once_compute_once(powers: Counted) -> None:
    threads = [threading.Thread(target=measure, args=("powers", powers, PARAMETERS)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert powers.calls == 1


def test_a_promoted_one_stands_in_and_is_left_when_damaged(powers: Counted, capsys) -> None:
    frame = measure("powers", powers, PARAMETERS)
    wanted = measurements.identify("powers", PARAMETERS)
    target = measurements.promote(wanted)
    assert sorted(path.name for path in target.iterdir()) == sorted([*measurements.TEXT_FILES, "done.json"])
    assert measurements.promote(wanted) is None
    shutil.rmtree(measurements.root() / wanted)
    assert measurements.find(wanted).origin == "reference"
    pd.testing.assert_frame_equal(measure("powers", powers, PARAMETERS), frame)
    (target / "result.csv").write_text("")
    pd.testing.assert_frame_equal(measure("powers", powers, PARAMETERS), frame)
    said = capsys.readouterr().err
    assert said.startswith(f"{target}: damaged measurement (result.csv changed") and "git" in said and target.is_dir()


def test_the_config_says_what_was_measured(powers: Counted) -> None:
    measure("powers", powers, PARAMETERS)
    folder = measurements.root() / measurements.identify("powers", PARAMETERS)
    config = json.loads((folder / "config.json").read_text())
    assert config == {"id": folder.name, "name": "powers", "version": 1, "parameters": PARAMETERS}
    assert {"commit", "cpu", "seconds"} <= set(json.loads((folder / "provenance.json").read_text()))


def test_parameters_are_plain_values(powers: Counted) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        measure("powers", powers, {"power": float("nan"), "values": []})


STRANGE = {
    "empty": lambda path: path.write_bytes(b""),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "list": lambda path: path.write_text("[]"),
    "folder": lambda path: path.mkdir(),
    "loop": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("name", [*measurements.TEXT_FILES, "done.json", "."])
@pytest.mark.parametrize("content", STRANGE)
def test_no_damaged_file_of_a_measurement_blocks_anything(powers: Counted, name: str, content: str) -> None:
    wanted = measurements.identify("powers", PARAMETERS)
    path = measurements.root() / wanted / name
    files.make_folder(path.parent if name != "." else measurements.root())
    if (name, content) != (".", "folder"):
        STRANGE[content](path)
    assert measurements.find(wanted) is None
    pd.testing.assert_frame_equal(measure("powers", powers, PARAMETERS), powers(**PARAMETERS), check_exact=True)


def test_the_folder_of_another_measurement_is_not_this_one(powers: Counted, capsys) -> None:
    measure("powers", powers, PARAMETERS)
    other = {**PARAMETERS, "power": 3}
    first, wanted = (measurements.identify("powers", each) for each in (PARAMETERS, other))
    shutil.copytree(measurements.root() / first, measurements.root() / wanted)
    assert measurements.find(wanted) is None and f"it is of {first}" in capsys.readouterr().err
    assert measure("powers", powers, other).result.tolist() == [value**3 for value in PARAMETERS["values"]]


def test_what_a_killed_writer_left_goes_when_the_measurement_is_made(powers: Counted) -> None:
    wanted = measurements.identify("powers", PARAMETERS)
    left = measurements.root() / f".{wanted}" / ".result.csv.abcd1234"
    files.write_text(left, "half")
    measure("powers", powers, PARAMETERS)
    assert {path.name for path in measurements.root().iterdir()} == {".locks", wanted}


def test_all_reference_measurements_are_found() -> None:
    for path in (files.reference_root() / "measurements").iterdir():
        assert measurements.find(path.name).folder == path
