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


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("items/x.json", {"notebook": "../../evil"}),
        ("items/x.json", {"item": "../../evil"}),
        ("items/x.json", {"notebook": "index"}),
        ("items/x.json", {"notebook": 5}),
        ("items/x.json", {"claims": ["C²"]}),
        ("items/x.json", []),
        ("items/x y.json", {}),
        ("items/figure1b.json", {"notebook": "01_figure1_generalization_gap"}),
        ("figures/x.json", {"name": "/etc/x"}),
        ("figures/x.json", {"item": "..", "files": {"png": "/etc/passwd"}}),
        ("figures/`x`.json", {}),
        ("tables/x.json", {"name": "a\nb"}),
        ("verdicts/x.json", {"claim": "C1", "statement": "x", "item": "a/b"}),
        ("verdicts/x.json", {"claim": "C99", "statement": "x"}),
        ("verdicts/x.json", {"claim": "C1", "statement": "x", "verdict": "<b>"}),
        ("verdicts/x.json", {"claim": "C1"}),
        ("notebooks/a b.ipynb", {"cells": [], "metadata": {}}),
        ("notebooks/x.ipynb", {"cells": 1, "metadata": {}}),
        ("notebooks/x.ipynb", {"cells": [{"cell_type": "code", "source": "x", "metadata": {}, "outputs": [{}]}]}),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_names_it(tmp_path, file, value):
    write(tmp_path / "quick/items/figure1.json", {"notebook": "01_figure1_generalization_gap"})
    write(tmp_path / "quick" / file, value)
    with pytest.raises(UsageError) as caught:
        build.build_report(tmp_path, "quick")
    assert len(str(caught.value).splitlines()) == 1 and str(tmp_path / "quick") in str(caught.value)


NAMES = st.sampled_from(["../../evil", "/evil", "..", ".", "a/b", "a\\b", "~", "a\0", "ok", "o.k-1_"]) | st.text()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(item=NAMES, notebook=NAMES, figure=NAMES)
def test_whatever_the_names_nothing_is_written_outside(tmp_path_factory, monkeypatch, item, notebook, figure):
    root = tmp_path_factory.mktemp("root")
    results = root / "a" / "b" / "results"
    write(results / "quick/items/x.json", {"item": item, "notebook": notebook})
    write(results / "quick/figures/x.json", {"item": item, "name": figure})
    before = {path for path in root.rglob("*") if not path.is_relative_to(results)}
    monkeypatch.setattr(build, "_run_sphinx", lambda scratch: (scratch / "html").mkdir())
    try:
        build.build_report(results, "quick")
        contents = read_contents(results / "quick")
        assert all(set(name) <= set(string.ascii_letters + string.digits + "._-")
                   for each in contents.items for name in (each.slug, each.item))  # fmt: skip
    except UsageError:
        pass
    assert {path for path in root.rglob("*") if not path.is_relative_to(results)} == before
