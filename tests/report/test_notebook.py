"""What a notebook object does with measurements."""

import pandas as pd
import pytest

from gbnlib import files
from gbnlib.report.items import get_item
from gbnlib.report.listing import measurements_of
from gbnlib.report.notebook import PATIENCE_SECONDS, Notebook
from gbnlib.report.parameters import Parameters


def notebook(*, train: bool = False, force: bool = False) -> Notebook:
    """A notebook at smoke scale."""
    return Notebook(get_item("scorecard"), Parameters("smoke", 0, "cpu", train, force), [])


def squares(count: int) -> pd.DataFrame:
    """A frame to measure."""
    return pd.DataFrame({"square": [number**2 for number in range(count)]})


@pytest.mark.parametrize(
    ("seconds", "train", "made"), [(1, False, 1), (PATIENCE_SECONDS + 1, False, 0), (PATIENCE_SECONDS + 1, True, 1)]
)
def test_a_long_measurement_is_made_only_when_asked_for(seconds, train, made, capsys) -> None:
    page = notebook(train=train)
    assert len(page.measure("squares", squares, {"count": 3}, seconds=seconds)) == 3 * made
    assert ("squares is not measured yet" in capsys.readouterr().out) == (not made)
    page.check()
    assert f"{made} of 1 measurements made." in capsys.readouterr().out


def test_a_long_measurement_that_is_there_is_shown() -> None:
    notebook().measure("squares", squares, {"count": 3}, seconds=1)
    assert len(notebook().measure("squares", squares, {"count": 3}, seconds=2 * PATIENCE_SECONDS)) == 3


def test_the_record_names_the_measurements() -> None:
    page = notebook()
    page.measure("squares", squares, {"count": 3}, seconds=1)
    page.footer()
    record = files.read_json(files.results_root() / "smoke" / "items" / "scorecard.json")
    assert record["measurements"] == measurements_of("smoke") == measurements_of("smoke", "scorecard")
    assert measurements_of("smoke", "figure1") == []
