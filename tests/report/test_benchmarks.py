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
    summary = benchmarks.summarise_costs(pd.concat([costs, costs.assign(loop=6.0)]))
    assert summary["loop ÷ plain"].tolist() == pytest.approx([3.0])
    assert "a processor" in where and "15 rounds" in where


def test_a_missing_benchmark_is_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "reference_root", lambda: tmp_path)
    costs, where = benchmarks.layer_costs()
    assert costs.empty and "has not been measured" in where


def test_overhead_has_a_row_a_number_of_runs_and_a_dash_where_nothing_was_measured(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "reference_root", lambda: tmp_path)
    times = {"plan": 0.5, "status": 0.25, "start_up": 3.0, "store": 0.0125, "local": 0.125}
    rows = [{"runs": 100, **times, "slurm": 12.5}, {"runs": 1000, **times}]
    where = {"cpu": "a processor", "cpu_capability": "AVX2", "threads": 2, "torch": "2.0"}
    files.write_json(tmp_path / "benchmarks" / "overhead.json", {"rows": rows, **where})
    ((title, table, notes),) = benchmarks.sections()
    assert title == "Overhead" and "a processor" in notes
    assert table["planned runs"].tolist() == ["100", "1,000"]
    assert table["store, ms a run"].tolist() == ["12"] * 2 and table["SLURM, s a run"].tolist() == ["12", "–"]
