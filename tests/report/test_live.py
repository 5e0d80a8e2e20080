"""What a notebook shows while runs train, to a person and to papermill, and what is tried in notebook 00."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import nbclient
import nbformat
import pytest
from IPython.display import Markdown

from gbnlib import experiments, files, paper
from gbnlib.errors import UsageError
from gbnlib.experiments import store
from gbnlib.report import live, playing
from gbnlib.training.loop import HISTORY_COLUMNS
from tests.stored import leave

RUNS = experiments.plan("table1", "smoke")[:3]


@pytest.fixture
def screen(monkeypatch) -> list:
    """What is displayed, each output as it was at first and after every update."""
    shown = []

    def display(value: object, **options: object) -> SimpleNamespace:
        shown.append([value])
        return SimpleNamespace(update=lambda new, **_: shown[-1].append(new))

    for module in (live, playing):
        monkeypatch.setattr(module, "display", display)
    return shown


@pytest.fixture
def person(monkeypatch) -> None:
    """A front end that takes input, as JupyterLab's does."""
    asked = {"content": {"allow_stdin": True}}
    monkeypatch.setattr(
        live, "get_ipython", lambda: SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda _: asked))
    )


@pytest.fixture
def tiny(monkeypatch) -> None:
    """Try the protocol of the smoke scale, by hand."""
    monkeypatch.setattr(playing, "ROW", paper.protocol("f1", "smoke"))
    monkeypatch.delenv("GBN_REPORT")


def test_bars_have_a_row_a_run_with_its_share_its_curve_and_its_error() -> None:
    """The second run is at half of its updates: 50 % of 20 characters. Errors of 100, 10 and 1 % are 15 px apart."""
    leave(RUNS[0])
    half = experiments.updates(RUNS[1]) // 2
    rows = [[half - 2, 1, 0.1, 0, 0, 0, 100.0], [half - 1, 2, 0.1, 0, 0, 0, 10.0], [half, 3, 0.1, 0, 0, 0, 1.0]]
    files.write_csv(store.folder(RUNS[1]) / "history.csv", HISTORY_COLUMNS, rows)
    shown = live.bars(RUNS, "1/3")
    first, heads, *lines = shown["text/plain"].splitlines()
    assert first == "1/3" and heads.split() == ["run", "state", "done", "validation", "error"] and len(lines) == 3
    assert "█" * 20 + " 100%" in lines[0] and "finished" in lines[0]
    assert "█" * 10 + "░" * 10 in lines[1] and "stopped" in lines[1] and lines[1].endswith("1.00 %")
    assert "waits" in lines[2] and "░" * 20 + " 0%" in lines[2]
    assert shown["text/html"].count("<svg") == 3
    curve = shown["text/html"].split('points="')[2].split('"')[0]
    assert [point.split(",")[1] for point in curve.split()] == ["1", "16", "31"]
    assert curve.split()[-1].split(",")[0] == f"{1 + 118 * half / experiments.updates(RUNS[1]):.0f}"


def test_those_that_train_come_first(monkeypatch) -> None:
    states = dict(zip(RUNS, ("finished", "missing", "running"), strict=True))
    monkeypatch.setattr(experiments, "progress", lambda config: (states[config], 0.5))
    words = [line.split("  ")[-1] for line in live.bars(RUNS, "")["text/plain"].splitlines()]
    assert len(words) == 5
    text = live.bars(RUNS, "")["text/plain"]
    assert text.index("running") < text.index("finished") < text.index("waits")


def test_the_clock_is_told_from_the_sum_of_the_runs() -> None:
    leave(RUNS[0], seconds=30.0)
    leave(RUNS[1], seconds=40.0)
    two = "2 of 2 runs trained: 45 s by the clock, 70 s of training summed over the runs."
    assert live.summary(RUNS[:2], 45.0) == two
    assert live.summary(RUNS, 45.0).startswith("2 of 3 ") and live.summary(RUNS, 45.0).endswith("goes on from there.")


def test_a_person_sees_bars_in_place_and_one_line_stays(screen, person) -> None:
    with live.watched(RUNS) as observer:
        observer.show(lambda: "0/3, 9 s left")
    (output,) = screen
    assert [type(each) for each in output] == [dict, dict, Markdown]
    assert "scrollIntoView" in output[0]["text/html"] and "script" not in output[1]["text/html"]
    assert "0/3, 9 s left; 0 s by the clock so far" in output[1]["text/html"]
    assert output[-1].data.startswith("0 of 3 runs trained: ")


def test_papermill_gets_one_line_and_no_more(screen) -> None:
    with pytest.raises(KeyboardInterrupt), live.watched(RUNS) as observer:
        observer.show(lambda: pytest.fail("nobody looks"))
        raise KeyboardInterrupt
    assert [len(output) for output in screen] == [1] and screen[0][0].data.startswith("0 of 3 runs trained: ")


def test_a_kernel_without_a_front_end_gives_papermills_advice_short_errors_and_static_outputs(monkeypatch) -> None:
    monkeypatch.delenv("MPLBACKEND")  # the kernel has its own, which shows figures
    cells = [
        "from gbnlib import paper\nfrom gbnlib.report import live, playing",
        "print(live.how_to_train())",
        "playing.try_it()",
        "import os\ndel os.environ['GBN_REPORT']",
        "playing.ROW = paper.protocol('f1', 'smoke')\nplaying.try_it(batch=64)",
        "playing.try_it(batch=3)",
    ]
    book = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    nbclient.NotebookClient(book, allow_errors=True, extra_arguments=["--log-level=50"]).execute()
    _, advice, reported, _, played, error = (cell.outputs for cell in book.cells)
    assert advice[0].text == "execute with `-p train True`\n"
    assert [sorted(output.data) for output in reported] == [["text/markdown", "text/plain"]]
    words = ["text/markdown", "text/plain"]
    assert [sorted(output.data) for output in played] == [words, words, ["image/png", "text/plain"]]
    assert error[0].traceback == ["UsageError: batch is 3; it must be a whole number from 16 to 4,000."]
    assert "widgets" not in book.metadata


def test_a_person_is_advised_in_jupyters_terms(person) -> None:
    assert live.how_to_train() == "set `train = True` in the parameters cell and run all"


def test_what_is_tried_is_trained_once_and_changes_no_report(screen, tiny, monkeypatch) -> None:
    playing.try_it(batch=64, ghost=16)
    (told,), (line,), (figure,) = screen
    assert told.data == "*20 updates, about 1 s.*"
    assert line.data.startswith("1 of 1 runs trained: ")
    config = playing.chosen(64, 16, "sqrt", False)
    error = store.find(config).frame("history").validation_error.iloc[-1]
    assert figure.axes[0].get_title() == f"yours ends at {error:.1f} %"
    assert {path.name for path in files.results_root().iterdir()} == {"runs"}
    monkeypatch.setattr(experiments, "run", lambda *_, **__: pytest.fail("trained again"))
    leave_small_batch = experiments.plan("table1", "quick")[0]
    playing.try_it(batch=64, ghost=16)
    assert len(screen) == 4 and not experiments.is_done(leave_small_batch)


def test_a_choice_of_the_quick_scale_is_its_run() -> None:
    planned = experiments.plan("table1", "quick")
    assert playing.chosen(512, 64, "sqrt", True) in planned and playing.chosen(64, 0, "none", False) in planned
    assert playing.chosen(512, 32, "sqrt", True) not in planned


def test_the_report_trains_nothing_that_is_tried(screen) -> None:
    playing.try_it()
    assert [output[0].data for output in screen] == ["*Executed for the report, this cell trains nothing.*"]
    assert not files.results_root().exists()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"batch": 15}, "batch is 15; it must be a whole number from 16 to 4,000."),
        ({"batch": 512.0}, "batch is 512.0; it must be a whole number"),
        ({"batch": 3999}, "batch is 3999; of 4,000 images it leaves one to the last batch"),
        ({"ghost": 1}, "ghost is 1; it must be a whole number from 2 to 512, or 0 for plain batch normalization."),
        ({"ghost": 513}, "ghost is 513; it must be"),
        ({"rate": "sqr"}, "unknown rate 'sqr'; did you mean 'sqrt'? Allowed: none, sqrt, linear."),
        ({"same_updates": "no"}, "same_updates is 'no'; it must be True or False."),
    ],
)
def test_a_wrong_choice_is_one_line_and_trains_nothing(screen, tiny, choice: dict, message: str) -> None:
    with pytest.raises(UsageError) as error:
        playing.try_it(**choice)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
    assert not screen and not files.results_root().exists()


def test_sliders_follow_where_there_are_widgets_and_a_person(screen, tiny, person, monkeypatch) -> None:
    offered = []
    widgets = ModuleType("ipywidgets")
    widgets.__spec__ = ModuleSpec("ipywidgets", None)
    manual = SimpleNamespace(options=lambda **_: lambda draw, **choices: offered.append((draw, choices)))
    widgets.interact_manual = manual
    monkeypatch.setattr(playing, "attended", live.attended)
    monkeypatch.setattr(playing, "_train_and_draw", lambda config: offered.append(config.batch_size))
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    playing.try_it(batch=32)
    assert offered[0] == 32 and list(offered[1][1]) == ["batch", "ghost", "rate"]
    offered[1][0](batch=48)
    assert offered[2] == 48
