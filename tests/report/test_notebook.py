"""What a notebook object does with measurements, captions and empty plans."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from gbnlib import __version__, claims, experiments, files, paper
from gbnlib.errors import UsageError
from gbnlib.experiments import ENGINE
from gbnlib.measurements import functions
from gbnlib.report.items import get_item
from gbnlib.report.notebook import Notebook
from gbnlib.report.parameters import Parameters, patience
from gbnlib.report.record import Record


def notebook(*, train: bool = False, force: bool = False) -> Notebook:
    """A notebook at smoke scale."""
    return Notebook(get_item("scorecard"), Parameters("smoke", 0, "cpu", train, force), [])


def squares(count: int) -> pd.DataFrame:
    """A frame to measure."""
    return pd.DataFrame({"square": [number**2 for number in range(count)]})


def planned(monkeypatch: pytest.MonkeyPatch, seconds: float, **parameters: object) -> None:
    """Let every measurement be the squares, of a count of 3 if nothing else, and take some seconds."""
    monkeypatch.setitem(functions.FUNCTIONS, "squares", squares)
    facts = {"name": "squares", "item": "scorecard", "seconds": seconds}
    entry = paper.MeasurementPlan(**facts, parameters=parameters or {"count": 3})
    monkeypatch.setattr(paper, "measurement", lambda name, scale: entry)


@pytest.mark.parametrize(
    ("seconds", "train", "given", "made"),
    [(600, False, "", 1), (601, False, "", 0), (601, True, "", 1), (1, False, "0", 0), (1, True, "0", 1)],
)
def test_a_long_measurement_is_made_only_when_asked_for(seconds, train, given, made, capsys, monkeypatch) -> None:
    monkeypatch.setenv("GBN_PATIENCE", given)
    planned(monkeypatch, seconds)
    page = notebook(train=train)
    assert len(page.measure("squares")) == 3 * made
    assert ("squares is not measured yet" in capsys.readouterr().out) == (not made)
    page.check()
    assert f"{made} of 1 measurements made." in capsys.readouterr().out


def test_a_measurement_without_its_data_is_left_and_says_so(capsys, monkeypatch) -> None:
    planned(monkeypatch, 1, dataset="mnist")
    assert notebook().measure("squares").empty
    assert "squares is not measured yet" in (said := capsys.readouterr().out) and "Its data are missing: " in said


def test_a_long_measurement_that_is_there_is_shown(monkeypatch) -> None:
    planned(monkeypatch, 1)
    notebook().measure("squares")
    planned(monkeypatch, 2 * patience())
    assert len(notebook().measure("squares")) == 3


def test_ablations_do_not_mix_with_the_runs_of_the_item(monkeypatch) -> None:
    monkeypatch.setenv("GBN_PATIENCE", "0")
    page = Notebook(
        get_item("table1"), Parameters("desk", 1, "cpu", False, False), experiments.plan("table1", "desk", 1)
    )
    history, _ = page.compute()
    assert len(page.ablations(history))
    again, _ = page.compute()
    pd.testing.assert_frame_equal(again, history)
    assert {run.config for run in page.runs} <= set(page.configs)
    assert {run.config for run in page.ablation_runs} <= set(page.ablation_configs)


def test_a_patience_that_is_no_number_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("GBN_PATIENCE", "long")
    with pytest.raises(UsageError, match="GBN_PATIENCE is 'long'; it must be a number of seconds"):
        patience()


def test_a_parameter_of_the_notebook_replaces_the_scales_unless_it_is_zero(monkeypatch) -> None:
    planned(monkeypatch, 1)
    assert len(notebook().measure("squares", count=5)) == 5
    assert len(notebook().measure("squares", count=0)) == 3


def test_the_record_names_the_measurements(monkeypatch) -> None:
    planned(monkeypatch, 1)
    page = notebook()
    page.measure("squares")
    page.footer()
    record = files.read_json(files.results_root() / "smoke" / "items" / "scorecard.json")
    assert record["measurements"] == list(page.measured) and len(page.measured) == 1


def test_a_scale_without_runs_says_so_and_counts_none(capsys) -> None:
    page = notebook()
    page.check(pd.DataFrame())
    assert capsys.readouterr().out == "This scale has no runs of this notebook.\n"
    page.footer()
    assert "0 of 0" not in capsys.readouterr().out


def test_a_caption_says_what_its_figure_averages() -> None:
    page = notebook()
    runs = pd.DataFrame({"seed": [0, 1, 2]})
    page.save_figure(plt.figure(), "x", "A figure.", "Words.", title="It rises", runs=runs)
    assert page.exhibits["figures/x"].caption == "A figure. Means over 3 seeds with 95 % t intervals."
    assert page.exhibits["figures/x"].alt == "It rises. Words."
    folder = files.results_root() / "smoke" / "figures"
    pd.testing.assert_frame_equal(pd.read_csv(folder / "x.csv"), runs)
    assert {path.name for path in folder.iterdir()} >= {"x.png", "x.svg", "x-narrow.svg"}
    assert all("It rises" in (folder / f"{name}.svg").read_text() for name in ("x", "x-narrow"))


def test_the_record_is_read_as_it_was_written(capsys) -> None:
    page = notebook()
    page.save_table(pd.DataFrame({"a": [1]}), "x", "A table.")
    page.save_figure(plt.figure(), "x", "A figure.", "Words.")
    page.save_table(pd.DataFrame({"a": [2]}), "x", "The table again.")
    page.footer()
    record = Record.read(files.results_root() / "smoke" / "items" / "scorecard.json")
    assert [(each.id, each.caption, each.alt) for each in record.exhibits] == [
        ("tables/x", "The table again.", ""),
        ("figures/x", "A figure.", "Words."),
    ]
    assert {name: record.provenance[name] for name in ("gbnlib", "engine")} == {"gbnlib": __version__, "engine": ENGINE}
    shown = capsys.readouterr().out
    assert all(str(value) in shown for value in record.provenance.values())


def test_what_is_executed_by_hand_leaves_the_report_as_it_is(monkeypatch) -> None:
    def execute(kind: str) -> None:
        figure, ax = plt.subplots()
        ax.set_title(kind)
        page = Notebook(get_item("table1"), Parameters("quick", 0, "cpu", False, False), [])
        page.save_figure(figure, "table1", "A caption.", "A picture.")
        page.save_table(pd.DataFrame({"a": [1]}), "table1", "A table.")
        page.show_verdicts([claims.Verdict("C6", "x", kind, item="table1")])
        page.footer()

    execute("reproduced")
    folder = files.results_root() / "quick"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {path.parent.name for path in before} == {"figures", "tables", "verdicts", "items"}
    monkeypatch.delenv("GBN_REPORT")
    execute("not reproduced")
    assert all(path.read_bytes() == content for path, content in before.items())
    beside = {path.relative_to(folder / "by_hand") for path in (folder / "by_hand").rglob("*") if path.is_file()}
    assert beside == {path.relative_to(folder) for path in before}
    assert [each.verdict for each in claims.read_verdicts("quick") if each.tested] == ["reproduced"]
