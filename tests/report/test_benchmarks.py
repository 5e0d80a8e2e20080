"""The committed benchmarks as frames."""

import pandas as pd
import pytest

from gbnlib import files
from gbnlib.report import benchmarks


def test_costs_are_ratios_to_the_plain_layer(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "reference_root", lambda: tmp_path)
    times = {code: {"median": median} for code, median in (("plain", 2e-3), ("loop", 3e-3), ("ghost", 1e-3))}
    cell = {"shape": [8, 4], "layout": "rows", "dtype": "float32", "ghost_size": 2, **times}
    files.write_json(tmp_path / "benchmarks" / "norm.json", {"cells": [cell], "cpu": "a processor", "rounds": 15})
    costs, where = benchmarks.layer_costs()
    assert costs.to_dict("records") == [
        {
            "shape": "8 × 4",
            "layout": "rows",
            "dtype": "float32",
            "ghost_size": 2,
            "plain_ms": 2.0,
            "loop": 1.5,
            "ghost": 0.5,
        }
    ]
    assert benchmarks.summarise_costs(pd.concat([costs, costs.assign(loop=6.0)])).loop.tolist() == pytest.approx([3.0])
    assert "a processor" in where and "15 rounds" in where


def test_a_missing_benchmark_is_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "reference_root", lambda: tmp_path)
    costs, where = benchmarks.layer_costs()
    assert costs.empty and "has not been measured" in where
