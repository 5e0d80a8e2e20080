"""What a notebook refuses before anything is trained."""

import nbformat
import pytest

from gbnlib import files
from gbnlib.errors import UsageError
from gbnlib.report.items import items
from gbnlib.report.parameters import COMMON, OWN, Parameters, _assigned, read_parameters

DEFAULTS = {"scale": "quick", "seeds": 0, "device": "auto", "train": False, "force": False}
CELL = "\n".join(f"{name}: {type(value).__name__} = {value!r}" for name, value in DEFAULTS.items())


def test_good_parameters_are_read() -> None:
    assert read_parameters({**DEFAULTS, "seeds": 3}) == Parameters("quick", 3, "auto", False, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": "huge"}, "unknown scale 'huge'. Allowed: smoke, quick, desk, paper"),
        ({"seeds": "many"}, "seeds is 'many'; it must be a whole number"),
        ({"seeds": True}, "seeds is True; it must be a whole number"),
        ({"seeds": -2}, "seeds is -2; it is a count"),
        ({"seeds": 10**9}, "seeds is 1000000000; it is a count, 1 or more and at most 100"),
        ({"device": "cuda:-1"}, "unknown device 'cuda:-1'"),
        ({"train": "yes"}, "train is 'yes'; it must be True or False"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
    ],
)
def test_a_wrong_value_is_one_line(change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_parameters({**DEFAULTS, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("item", list(items()))
def test_every_parameter_of_a_notebook_is_checked_and_its_default_is_allowed(item: str) -> None:
    notebook = nbformat.read(files.REPOSITORY / "notebooks" / f"{items()[item].notebook}.ipynb", as_version=4)
    (cell,) = (cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    assert set(_assigned(cell)) == {*COMMON, *OWN.get(item, ())}
    namespace: dict[str, object] = {}
    exec(cell, namespace)
    read_parameters(namespace, item)


@pytest.mark.parametrize(
    ("item", "name", "value", "message"),
    [
        ("algorithm1", "ghost_size", -1, "ghost_size is -1; it must be from 0 to 4096"),
        ("algorithm1", "ghost_size", 10**400, "it must be from 0 to 4096"),
        ("algorithm1", "momentum", "abc", "momentum is 'abc'; it must be a number, such as 0.1"),
        ("algorithm1", "momentum", float("nan"), "momentum is nan; it must be from 1e-06 to 1"),
        ("algorithm1", "momentum", -3, "momentum is -3; it must be from 1e-06 to 1"),
        ("algorithm1", "momentum", 0, "momentum is 0; it must be from 1e-06 to 1"),
        ("algorithm1", "momentum", True, "momentum is True; it must be a number"),
        ("appendix_a", "hidden", -1, "hidden is -1; it must be from 0 to 256"),
        ("figure4", "directions", 1.5, "directions is 1.5; it must be a whole number"),
        ("random_walk", "environments", 10**9, "environments is 1000000000; it must be from 0 to 4000"),
        ("random_walk", "dimension", None, "dimension is None; it must be a whole number"),
        ("figure2", "which", "../x", r"unknown which '../x'. Allowed: weights, first, all\."),
        ("figure2", "which", 3, "which is 3; it must be a word"),
    ],
)
def test_a_notebooks_own_parameter_out_of_bounds_is_one_line(item: str, name: str, value: object, message: str) -> None:
    good = {"which": "all", "momentum": 1, "ghost_size": 8, "environments": 2, "dimension": 3}
    read_parameters({**DEFAULTS, "hidden": 5, "directions": 2, **good}, item)
    with pytest.raises(UsageError, match=message) as caught:
        read_parameters({**DEFAULTS, **good, name: value}, item)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", ["30;60", "", "30,", "a", 30])
def test_milestones_are_whole_numbers_with_commas(given: object) -> None:
    known = {"batch_size": 4096, "base_batch": 256, "lr": 0.1, "epochs": 90, "samples": 1000, "rule": "sqrt"}
    known |= {"adapt": "full", "warmup": 5, "ghost_size": 0}
    read_parameters({**DEFAULTS, **known, "milestones": "30,60"}, "recipe")
    with pytest.raises(UsageError, match="milestones is .*; it must be text of whole numbers with commas"):
        read_parameters({**DEFAULTS, **known, "milestones": given}, "recipe")


@pytest.mark.parametrize("given", ["nan", "-1", "long"])
def test_a_patience_that_means_nothing_is_said_at_once(monkeypatch, given: str) -> None:
    monkeypatch.setenv("GBN_PATIENCE", given)
    with pytest.raises(UsageError, match=f"GBN_PATIENCE is '{given}'; it must be a number of seconds, such as 600"):
        read_parameters(DEFAULTS)


def test_a_missing_parameter_is_said() -> None:
    with pytest.raises(UsageError, match="parameter 'scale' is missing: run the cell"):
        read_parameters({})
    with pytest.raises(UsageError, match="parameter 'milestones' is missing: run the cell"):
        read_parameters(DEFAULTS, "recipe")


def test_a_name_that_papermill_injected_and_nobody_knows_is_refused() -> None:
    cells = ["", CELL, "# Parameters\nsede = 3\n", "begin(...)"]
    with pytest.raises(UsageError, match="unknown parameter 'sede'; did you mean 'seeds'"):
        read_parameters({**DEFAULTS, "In": cells, "sede": 3})


def test_known_injected_names_and_later_variables_are_fine() -> None:
    cells = ["", CELL, '# Parameters\nscale = "smoke"\n', "begin(...)", "number = 3"]
    assert read_parameters({**DEFAULTS, "scale": "smoke", "In": cells, "number": 3}).scale == "smoke"
