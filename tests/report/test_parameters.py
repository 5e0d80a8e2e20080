"""What a notebook refuses before anything is trained."""

import pytest

from gbnlib.errors import UsageError
from gbnlib.report.parameters import Parameters, read_parameters

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
        ({"train": "yes"}, "train is 'yes'; it must be True or False"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
    ],
)
def test_a_wrong_value_is_one_line(change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_parameters({**DEFAULTS, **change})
    assert "\n" not in str(caught.value)


def test_a_missing_parameter_is_said() -> None:
    with pytest.raises(UsageError, match="parameter 'scale' is missing: run the cell"):
        read_parameters({})


def test_a_name_that_papermill_injected_and_nobody_knows_is_refused() -> None:
    cells = ["", CELL, "# Parameters\nsede = 3\n", "begin(...)"]
    with pytest.raises(UsageError, match="unknown parameter 'sede'; did you mean 'seeds'"):
        read_parameters({**DEFAULTS, "In": cells, "sede": 3})


def test_known_injected_names_and_later_variables_are_fine() -> None:
    cells = ["", CELL, '# Parameters\nscale = "smoke"\n', "begin(...)", "number = 3"]
    assert read_parameters({**DEFAULTS, "scale": "smoke", "In": cells, "number": 3}).scale == "smoke"
