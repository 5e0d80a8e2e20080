"""Names in result files become addresses of pages: what is none is refused, and nothing is written elsewhere."""

import json
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gbnlib.errors import UsageError
from gbnlib.report import build
from gbnlib.report.site.contents import read_contents

FIGURE1 = "01_figure1_generalization_gap"


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("items/figure1.json", {"notebook": "../../evil"}),
        ("items/figure1.json", {"planned": "many"}),
        ("items/figure1.json", []),
        ("items/figure1b.json", {}),
        ("items/x y.json", {}),
        ("items/figure1.json", {"exhibits": [{"folder": "figures", "name": "/etc/x"}]}),
        ("items/figure1.json", {"exhibits": [{"folder": "figures", "name": "`x`"}]}),
        ("items/figure1.json", {"exhibits": [{"folder": "tables", "name": "a\nb"}]}),
        ("items/figure1.json", {"exhibits": [{"folder": "..", "name": "x"}]}),
        ("items/figure1.json", {"exhibits": [{"folder": "figures", "name": "x", "files": {"png": "/etc/passwd"}}]}),
        ("verdicts/x.json", {"claim": "C1", "statement": "x", "item": "a/b"}),
        ("verdicts/x.json", {"claim": "C99", "statement": "x"}),
        ("verdicts/x.json", {"claim": "C1", "statement": "x", "verdict": "<b>"}),
        ("verdicts/x.json", {"claim": "C1"}),
        (f"notebooks/{FIGURE1}.ipynb", {"cells": 1, "metadata": {}}),
        (
            f"notebooks/{FIGURE1}.ipynb",
            {"cells": [{"cell_type": "code", "source": "x", "metadata": {}, "outputs": [{}]}]},
        ),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_names_it(tmp_path, file, value):
    write(tmp_path / "quick/items/figure1.json", {})
    write(tmp_path / "quick" / file, value)
    with pytest.raises(UsageError) as caught:
        build.build_report(tmp_path, "quick")
    assert len(str(caught.value).splitlines()) == 1 and str(tmp_path / "quick") in str(caught.value)


NAMES = st.sampled_from(["../../evil", "/evil", "..", ".", "a/b", "a\\b", "~", "a\0", "ok", "o.k-1_"]) | st.text()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(item=NAMES, folder=NAMES, figure=NAMES)
def test_whatever_the_names_nothing_is_written_outside(tmp_path_factory, monkeypatch, item, folder, figure):
    root = tmp_path_factory.mktemp("root")
    results = root / "a" / "b" / "results"
    write(results / "quick/items/figure1.json", {"exhibits": [{"folder": "figures", "name": figure}]})
    write(results / "quick/items/figure2.json", {"exhibits": [{"folder": folder, "name": "x"}]} if folder else {})
    write(results / "quick/verdicts/x.json", {"claim": "C1", "statement": "x", "item": item})
    before = {path for path in root.rglob("*") if not path.is_relative_to(results)}
    monkeypatch.setattr(build, "_run_sphinx", lambda scratch: (scratch / "html").mkdir())
    try:
        build.build_report(results, "quick")
        contents = read_contents(results / "quick")
        assert all(set(exhibit.name) <= set(string.ascii_letters + string.digits + "._-")
                   for each in contents.entries for exhibit in each.facts.exhibits)  # fmt: skip
    except UsageError:
        pass
    assert {path for path in root.rglob("*") if not path.is_relative_to(results)} == before


def test_notebooks_that_are_no_items_are_left_out(tmp_path):
    """Such as one that a killed job left half-written."""
    write(tmp_path / "quick/items/figure1.json", {})
    for name in ("a b.ipynb", f"{FIGURE1}.ipynb.part.ipynb"):
        write(tmp_path / "quick/notebooks" / name, {})
    assert list(read_contents(tmp_path / "quick").pages) == [FIGURE1]
