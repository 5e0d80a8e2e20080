"""Writing is all or nothing, and says where it failed."""

import json
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gbnlib import claims, experiments, files, measurements
from gbnlib.claims import Verdict
from gbnlib.errors import UsageError, unknown
from gbnlib.experiments import RunConfig, store
from tests.configs import REMEDIED

PATHS = [
    "x/../../../outside/y",
    "../outside",
    "/outside",
    "..",
    ".",
    "",
    "a/b",
    "a\\b",
    "~",
    "a\0",
    "-a",
    "a\n",
    "ä",
    "a b",
]


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
    assert message.count("run-") == 1 + 20 and message.endswith(" and 280 more.")


@pytest.mark.parametrize("name", ["a", "cifar10-jpeg", "A.b_c-1", "_a", "1"])
def test_a_name_is_kept(name: str, tmp_path: Path) -> None:
    assert files.check_name("data set", name) == name
    assert files.inside(tmp_path, name, ".json") == tmp_path / f"{name}.json"


@pytest.mark.parametrize("name", PATHS)
def test_what_is_no_name_is_refused_in_one_line_wherever_it_would_be_a_path(name: str) -> None:
    values = REMEDIED.model_dump()
    made_of_it = [
        lambda: files.check_name("data set", name),
        lambda: RunConfig(**values | {"dataset": name}),
        lambda: RunConfig(**values | {"network": name}),
        lambda: measurements.identify(name, {}),
        lambda: measurements.find(name),
        lambda: store.folder(REMEDIED.model_copy(update={"dataset": f"/{name}"})),
        lambda: claims.write_verdicts([Verdict("C1", "x", dataset=f"/{name}")], claims.verdicts_folder("quick")),
        lambda: claims.verdicts_folder(name),
    ]
    for make in made_of_it:
        with pytest.raises(UsageError, match="a name holds only letters A to Z, digits and") as caught:
            make()
        assert len(str(caught.value).splitlines()) == 1


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dataset=st.sampled_from(PATHS) | st.text() | st.from_regex(r"[\w./-]{1,20}", fullmatch=True))
def test_whatever_the_name_nothing_outside_the_results_is_written_or_removed(
    tmp_path: Path, monkeypatch, dataset
) -> None:
    """A run that is forced is removed and written anew; here all but the training is done with any name of its data."""
    monkeypatch.setenv("GBN_RESULTS", str(tmp_path / "a" / "b" / "results"))
    own = tmp_path / "a" / "outside" / "y" / "own.txt"
    files.write_text(own, "a person's file")
    config = REMEDIED.model_copy(update={"dataset": dataset})  # which asks no validator
    with suppress(UsageError):
        files.remove_folder(experiments.folder(config))
        store.write_config(config)
        assert experiments.folder(config).parent == store.RUNS.root()
    with suppress(UsageError):
        measurements.measure(dataset, lambda: pd.DataFrame({"x": [1]}), {})
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and "results" not in path.parts]
    assert outside == [own] and own.read_text() == "a person's file"


ROOTS = {"GBN_RESULTS": files.results_root, "GBN_DATA": files.data_root}


@pytest.mark.parametrize("variable", ROOTS)
def test_a_root_is_the_same_from_every_folder(variable: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value, expected in {"~/mine": tmp_path / "mine", "out/mine": files.REPOSITORY / "out" / "mine"}.items():
        monkeypatch.setenv(variable, value)
        for folder in (files.REPOSITORY, files.REPOSITORY / "notebooks", tmp_path):
            monkeypatch.chdir(folder)
            assert ROOTS[variable]() == expected


@pytest.mark.parametrize("variable", ROOTS)
def test_a_root_that_no_folder_can_be_is_one_line(variable: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    for value, message in {
        f"{tmp_path}/file": "is not a folder. Choose a folder you may write to with",
        f"{tmp_path}/file/below": "file is not a folder.",
        "~nobody-of-this-name/x": "name the folder without ~",
        f"{tmp_path}/\udcff": "in UTF-8",
    }.items():
        monkeypatch.setenv(variable, value)
        with pytest.raises(UsageError, match=message) as caught:
            ROOTS[variable]()
        assert variable in str(caught.value) and "\n" not in str(caught.value)


def test_deep_json_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match=r"a\.json is not readable JSON"):
        files.read_json(tmp_path / "a.json")


def test_sweeping_takes_temporary_files_alone(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.atomic(tmp_path / "a.txt") as temporary:
        left = temporary.rename(temporary.with_name(temporary.name + "x"))  # as a killed writer leaves it
        raise RuntimeError("killed")
    files.write_text(tmp_path / "a.txt", "kept")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    files.sweep(tmp_path)
    assert not left.exists() and {path.name for path in tmp_path.iterdir()} == {"a.txt", ".ipynb_checkpoints"}
