"""The table of ablations."""

import pandas as pd
import pytest

from gbnlib import analysis

COLUMNS = ["run", "method", "seed", "update", "validation_error"]


def history(rows: list[tuple]) -> pd.DataFrame:
    """A history from (run, method, seed, update, validation error) of F1's large batch."""
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.assign(network="f1", dataset="mnist", batch_size=4096, status="finished")


DECLARED = history([("a", "LB", 0, 1, 4.0), ("b", "LB", 1, 1, 4.2), ("c", "LB", 2, 1, 4.1), ("d", "LB+LR", 0, 1, 3.0)])
CHANGED = history(
    [
        ("e", "LB", 0, 1, 2.0),
        ("f", "LB", 1, 1, 1.0),
        ("f", "LB", 1, 2, 2.2),
        ("g", "LB", 2, 1, 2.1),
        ("h", "LB", 0, 1, 9.0),
    ]
)


def test_a_row_compares_an_ablation_with_the_declared_protocol() -> None:
    runs = {
        ("f1", "augmentation", "LB+LR"): ["missing"],
        ("f1", "statistics", "LB"): ["e", "f", "g"],
        ("f1", "augmentation", "LB"): ["h"],
    }
    table = analysis.compare_ablations(DECLARED, CHANGED, runs)
    assert table.changed.tolist() == ["statistics recomputed for evaluation", "no crops and flips"]
    first, second = (row for _, row in table.iterrows())
    assert (first.declared, first.here, first.best) == pytest.approx((95.9, 97.9, 98.3))
    assert first.gain == "+2.00 [+1.77, +2.23] (n = 3 and 3) ↑"
    assert second.gain == "−4.90, no interval (n = 1 and 3)"


def test_what_a_method_is_compared_with_has_the_same_choice_changed() -> None:
    remedied = history([("i", "LB+LR", seed, 1, error) for seed, error in enumerate((3.0, 3.1, 3.2))])
    remedied.run = ["i", "j", "k"]
    changed = pd.concat([CHANGED, remedied])
    own = {("f1", "statistics", "LB"): ["e", "f", "g"], ("f1", "statistics", "LB+LR"): ["i", "j", "k"]}
    table = analysis.compare_ablations(DECLARED, changed, own)
    # LB has 98.0, 97.8, 97.9 with the choice changed, and 96.0, 95.8, 95.9 without; LB+LR has 97.0, 96.9, 96.8.
    assert table["over LB"].tolist() == ["–", "−1.00 [−1.23, −0.77] (n = 3 and 3) ↓"]
    alone = analysis.compare_ablations(DECLARED, changed, {("f1", "warmup", "LB+LR"): ["i", "j", "k"]})
    assert alone["over LB"].tolist() == ["+1.00 [+0.77, +1.23] (n = 3 and 3) ↑"]
    unfinished = {("f1", "warmup", "LB"): ["missing"], ("f1", "warmup", "LB+LR"): ["i", "j", "k"]}
    assert analysis.compare_ablations(DECLARED, changed, unfinished)["over LB"].tolist() == ["–"]


def test_ghosts_are_compared_with_the_rate_alone_too() -> None:
    changed = history([("i", "LB+LR", 0, 1, 3.0), ("j", "LB+LR+GBN", 0, 1, 2.5)])
    own = {("f1", "warmup", "LB+LR"): ["i"], ("f1", "warmup", "LB+LR+GBN"): ["j"]}
    table = analysis.compare_ablations(DECLARED, changed, own)
    assert table["over LB+LR"].tolist() == ["–", "+0.50, no interval (n = 1 and 1)"]
    assert table["over LB"].tolist() == ["+1.10, no interval (n = 1 and 3)", "+1.60, no interval (n = 1 and 3)"]


def test_the_findings_name_the_changes_on_each_side() -> None:
    rows = [
        ("LB", "warm-up", "–", "–"),
        ("LB+LR", "warm-up", "+1.00 [+0.77, +1.23] (n = 3 and 3) ↑", "–"),
        ("LB+LR", "clipping", "−1.00 [−1.23, −0.77] (n = 3 and 3) ↓", "–"),
        ("LB+LR", "crops", "+1.00, no interval (n = 1 and 1)", "–"),
        ("LB+LR+GBN", "warm-up", "–", "+0.10 [−0.20, +0.40] (n = 3 and 3)"),
    ]
    table = pd.DataFrame(rows, columns=["method", "changed", "over LB", "over LB+LR"])
    assert analysis.ablation_findings(table) == [
        "LB+LR over LB (C6): above with warm-up; below with clipping; not decided with crops.",
        "LB+LR+GBN over LB+LR (C7): not decided with warm-up.",
    ]
    assert analysis.ablation_findings(table[:0]) == []


def test_without_runs_the_table_is_empty() -> None:
    assert analysis.compare_ablations(DECLARED, pd.DataFrame(), {("f1", "statistics", "LB"): ["e"]}).empty
