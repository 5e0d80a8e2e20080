"""Writing is all or nothing, and says where it failed."""

import json
from pathlib import Path

import pytest

from gbnlib import files
from gbnlib.errors import UsageError, unknown


def test_atomic_keeps_the_old_content_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_content_and_is_one_clear_line(tmp_path, monkeypatch, step) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, step, full)
    with pytest.raises(UsageError, match=r"cannot write .*a\.txt: No space left on device"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("variable", ["GBN_RESULTS", "GBN_DATA"])
def test_a_folder_that_cannot_be_made_is_named_with_what_chooses_another(tmp_path, monkeypatch, variable) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    with pytest.raises(UsageError, match=f"cannot write to .*file/sub.* with {variable}"):
        files.make_folder(tmp_path / "file" / "sub")


def test_json_refuses_nan_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"value": 1})
    with pytest.raises(ValueError):
        files.write_json(path, {"value": float("nan")})
    assert json.loads(path.read_text()) == {"value": 1}


def test_csv_keeps_every_bit_of_a_float(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    files.write_csv(tmp_path / "a.csv", ["x"], [[value]])
    assert float((tmp_path / "a.csv").read_text().splitlines()[1]) == value


def test_set_aside_never_overwrites_what_was_set_aside_before(tmp_path: Path, capsys) -> None:
    for content in ("first", "second"):
        (tmp_path / "run").write_text(content)
        files.set_aside(tmp_path / "run", "damaged")
    assert (tmp_path / "run.corrupt").read_text() == "first"
    assert (tmp_path / "run.corrupt2").read_text() == "second"
    assert f"{tmp_path.name}/run: damaged; set aside as run.corrupt2" in capsys.readouterr().err


def test_an_unknown_name_is_answered_with_the_nearest_one() -> None:
    message = str(unknown("scale", "quik", ["smoke", "quick"]))
    assert message == "unknown scale 'quik'; did you mean 'quick'? Allowed: smoke, quick."


def test_of_many_names_the_nearest_are_listed() -> None:
    message = str(unknown("run", "rum-77", [f"run-{number}" for number in range(300)]))
    assert message.startswith("unknown run 'rum-77'; did you mean 'run-77'? Allowed: run-77, run-")
    assert message.count("run-") == 1 + 12 and message.endswith(" and 288 more.")


def test_deep_json_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match=r"a\.json is not readable JSON"):
        files.read_json(tmp_path / "a.json")


def test_sweeping_takes_temporary_files_alone(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.atomic(tmp_path / "a.txt") as temporary:
        left = temporary.rename(temporary.with_name(temporary.name + "x"))  # as a killed writer leaves it
        raise RuntimeError("killed")
    files.write_text(tmp_path / "a.txt", "kept")
    files.sweep(tmp_path)
    assert not left.exists() and [path.name for path in tmp_path.iterdir()] == ["a.txt"]
