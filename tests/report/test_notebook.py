"""What a notebook object does with measurements, captions and empty plans."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from gbnlib import files, paper
from gbnlib.report.items import get_item
from gbnlib.report.listing import measurements_of
from gbnlib.report.notebook import PATIENCE_SECONDS, Notebook
from gbnlib.report.parameters import Parameters


def notebook(*, train: bool = False, force: bool = False) -> Notebook:
    """A notebook at smoke scale."""
    return Notebook(get_item("scorecard"), Parameters("smoke", 0, "cpu", train, force), [])


def takes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let every measurement have a count of 3 and take some seconds."""
    monkeypatch.setattr(paper, "measurement", lambda name, scale: ({"count": 3}, seconds))


def squares(count: int) -> pd.DataFrame:
    """A frame to measure."""
    return pd.DataFrame({"square": [number**2 for number in range(count)]})


@pytest.mark.parametrize(
    ("seconds", "train", "made"), [(1, False, 1), (PATIENCE_SECONDS + 1, False, 0), (PATIENCE_SECONDS + 1, True, 1)]
)
def test_a_long_measurement_is_made_only_when_asked_for(seconds, train, made, capsys, monkeypatch) -> None:
    takes(monkeypatch, seconds)
    page = notebook(train=train)
    assert len(page.measure("squares", squares)) == 3 * made
    assert ("squares is not measured yet" in capsys.readouterr().out) == (not made)
    page.check()
    assert f"{made} of 1 measurements made." in capsys.readouterr().out


def test_a_measurement_without_its_data_is_left_and_says_so(capsys, monkeypatch) -> None:
    monkeypatch.setattr(paper, "measurement", lambda name, scale: ({"dataset": "mnist"}, 1))
    assert notebook().measure("images", lambda dataset: pytest.fail("made")).empty
    assert "images is not measured yet" in (said := capsys.readouterr().out) and "Its data are missing: " in said


def test_a_long_measurement_that_is_there_is_shown(monkeypatch) -> None:
    takes(monkeypatch, 1)
    notebook().measure("squares", squares)
    takes(monkeypatch, 2 * PATIENCE_SECONDS)
    assert len(notebook().measure("squares", squares)) == 3


def test_a_parameter_of_the_notebook_replaces_the_scales_unless_it_is_zero(monkeypatch) -> None:
    takes(monkeypatch, 1)
    assert len(notebook().measure("squares", squares, count=5)) == 5
    assert len(notebook().measure("squares", squares, count=0)) == 3


def test_the_record_names_the_measurements(monkeypatch) -> None:
    takes(monkeypatch, 1)
    page = notebook()
    page.measure("squares", squares)
    page.footer()
    record = files.read_json(files.results_root() / "smoke" / "items" / "scorecard.json")
    assert record["measurements"] == measurements_of("smoke") == measurements_of("smoke", "scorecard")
    assert len(record["measurements"]) == 1 and measurements_of("smoke", "figure1") == []


def test_a_scale_without_runs_says_so_and_counts_none(capsys) -> None:
    page = notebook()
    page.check(pd.DataFrame())
    assert capsys.readouterr().out == "This scale has no runs of this notebook.\n"
    page.footer()
    assert "0 of 0" not in capsys.readouterr().out


def test_a_caption_says_what_its_figure_averages() -> None:
    notebook().save_figure(plt.figure(), "x", "A figure.", "Words.", runs=pd.DataFrame({"seed": [0, 1, 2]}))
    described = files.read_json(files.results_root() / "smoke" / "figures" / "x.json")
    assert described["caption"] == "A figure. Means over 3 seeds with 95 % t intervals."
