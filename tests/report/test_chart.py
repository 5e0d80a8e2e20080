"""The data of the chart with a switch; a browser draws it in `test_browser.py`."""

import json
import re

import pandas as pd
import pytest
from markupsafe import Markup

from gbnlib import analysis
from gbnlib.report.site.chart import chart, curves


def history(method: str, batch_size: int, seeds: dict[int, list[float]], status: str = "finished") -> pd.DataFrame:
    """Errors of some seeds after epochs 1, 2 …, of ten updates each."""
    rows = [
        (f"{method}-{batch_size}-{seed}", method, batch_size, seed, 10 * epoch, epoch, error, status)
        for seed, errors in seeds.items()
        for epoch, error in enumerate(errors, 1)
    ]
    names = ["run", "method", "batch_size", "seed", "update", "epoch", "validation_error", "status"]
    return pd.DataFrame(rows, columns=names)


def test_a_mean_curve_is_of_the_looks_that_all_seeds_have() -> None:
    table = analysis.mean_error_curves(history("LB", 64, {0: [4, 2, 1], 1: [6, 3]}))
    assert table[["update", "epoch", "error", "n"]].values.tolist() == [[10, 1, 5.0, 2], [20, 2, 2.5, 2]]
    assert table.high[0] - 5 == pytest.approx(12.706, abs=1e-3)  # t of one degree, standard error 1
    assert analysis.mean_error_curves(history("LB", 64, {0: [90]}, "diverged")).empty
    assert analysis.mean_error_curves(pd.DataFrame()).empty


def test_the_small_batch_the_largest_and_the_adapted_run_are_shown_at_first() -> None:
    runs = [history("SB", 32, {0: [3.0]}), history("LB", 64, {0: [4.0]}), history("LB", 512, {0: [5.126]})]
    runs += [history("LB+LR", 512, {0: [4.5]}), history("LB+LR+GBN+RA", 512, {0: [2.5]})]
    found = curves(pd.concat(runs))
    assert [(curve["label"], curve["shown"]) for curve in found] == [
        ("batch 32", True),
        ("batch 64", False),
        ("batch 512", True),
        ("batch 512 + √ rate", False),
        ("batch 512 + both, as many updates", True),
    ]
    assert found[2]["error"] == [5.13] and found[2]["low"] == [None] and found[2]["updates"] == [10]


def test_the_block_holds_the_data_and_a_picture_and_no_runs_make_none() -> None:
    block = chart(history("SB", 32, {0: [3.0]}), Markup("<p>no script</p>"))
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', block)
    assert json.loads(data)[0]["error"] == [3.0]
    assert "<noscript><p>no script</p></noscript>" in block
    assert chart(pd.DataFrame(), Markup("")) == ""


def test_a_curve_that_is_alone_is_shown_whatever_its_method() -> None:
    (curve,) = curves(history("LB+LR", 512, {0: [4.5, 3.0], 1: [4.0, 3.5]}))
    assert curve["shown"] is True
