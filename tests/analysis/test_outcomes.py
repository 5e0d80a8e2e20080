"""Final and best accuracies, and the tables beside the paper's."""

import math

import pandas as pd
import pytest

from gbnlib import analysis, claims
from gbnlib.analysis.outcomes import count_diverged
from gbnlib.report import answer


def history(rows: list[tuple]) -> pd.DataFrame:
    """A history from (run, method, batch size, seed, update, validation error, status)."""
    columns = ["run", "method", "batch_size", "seed", "update", "validation_error", "status"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(network="f1", dataset="digits")


RUNS = history(
    [
        ("a", "SB", 32, 0, 1, 5.0, "finished"),
        ("a", "SB", 32, 0, 2, 3.0, "finished"),
        ("a", "SB", 32, 0, 3, 4.0, "finished"),
        ("b", "SB", 32, 1, 3, 2.0, "finished"),
        ("c", "LB", 1024, 0, 1, 90.0, "diverged"),
        ("d", "LB", 1024, 1, 1, 12.0, "finished"),
        ("e", "LB", 1024, 2, 1, 13.0, "finished"),
    ]
)


def test_the_final_error_is_the_last_and_the_best_the_lowest() -> None:
    table = analysis.outcomes(RUNS).set_index("run")
    assert (table.final_error["a"], table.best_error["a"]) == (4.0, 3.0)


def test_a_diverged_run_has_the_error_of_guessing_among_ten_classes_and_is_told() -> None:
    assert analysis.outcomes(RUNS).set_index("run").final_error["c"] == 90.0
    assert analysis.accuracies(RUNS, "SB") == [96.0, 98.0]
    assert analysis.accuracies(RUNS, "LB") == [10.0, 88.0, 87.0]
    assert analysis.accuracies(pd.DataFrame(), "SB") == []
    assert count_diverged(RUNS, "left out") == "diverged, and left out: 1 of 3 runs of LB"
    assert count_diverged(RUNS[RUNS.method == "SB"], "left out") == ""


def test_the_table_shows_the_paper_where_nothing_was_run() -> None:
    table = analysis.compare_with_paper(RUNS)
    assert len(table) == 6 * 5
    small = table.iloc[0]
    assert (small.paper, small.ours, small.n, small.best) == (98.27, 97.0, 2, 97.5)
    assert small.difference == pytest.approx(-1.27)
    assert table.iloc[1].diverged == 1 and table.iloc[1].n == 3
    assert (table.iloc[5:].data == "no finished runs").all() and table.iloc[5:].ours.isna().all()


def test_a_row_of_table2_takes_its_own_batch_sizes() -> None:
    """LB ran at 2048, and +GBN at 4096 for the first row, at 8192 for the second."""
    cells = [("SB", 128, 43.0), ("LB", 2048, 59.0), ("LB+LR+GBN", 4096, 45.0), ("LB+LR+GBN", 8192, 46.0)]
    rows = [(f"{size}-{seed}", m, size, seed, 1, error, "finished") for m, size, error in cells for seed in range(3)]
    runs = history(rows).assign(network="alexnet", dataset="imagenet")
    table = analysis.compare_with_paper(runs, "table2").set_index(["network", "method"])
    assert table.loc[("AlexNet, LB 4096", "LB+LR+GBN"), "ours"] == 55.0
    assert table.loc[("AlexNet, LB 8192", "LB+LR+GBN"), "ours"] == 54.0
    assert table.loc[("AlexNet, LB 8192", "LB"), "n"] == 3
    verdicts = claims.judge_rows(("C6", "C7"), runs, item="table2", scale="paper")
    assert len({verdict.file for verdict in verdicts}) == 4
    assert claims.judge_rows(("C6",), pd.DataFrame(), item="table2", scale="quick") == []


def test_the_layout_puts_ours_under_the_papers_row() -> None:
    layout = analysis.table1_layout(analysis.compare_with_paper(RUNS))
    assert layout.result[:3].tolist() == [
        "paper, MNIST",
        "here, MNIST digits (5,000, embedded), n = 0 to 3",
        "here, best epoch",
    ]
    # SB: errors 4 and 2, so 97 ± t(1) · 1 = 12.71; LB has 88, 87 and, diverged, 10; nothing else was run.
    assert layout.SB[:3].tolist() == ["98.27", "97.00 [84.29, 109.71]", "97.50"]
    assert layout.LB[1].startswith("61.67 [") and layout["+LR"][1] == "–"
    assert len(layout) == 3 + 5 * 2 and layout.result[4] == "here: no finished runs"


def test_a_share_is_given_only_where_there_is_a_gap() -> None:
    """SB 96, 97, 98 and LB 86, 87, 88: the gap is 10; +LR at 92 closes half of it, and the paper 41 %."""
    errors = {"SB": (2, 3, 4), "LB": (12, 13, 14), "LB+LR": (7, 8, 9)}
    rows = [(f"{m}{s}", m, 1, s, 1, e, "finished") for m, es in errors.items() for s, e in enumerate(es)]
    shares = analysis.gap_shares(history(rows), "f1").set_index("method")
    assert shares.ours["LB+LR"] == pytest.approx(50.0)
    assert shares.paper["LB+LR"] == pytest.approx(100 * (97.55 - 97.05) / (98.27 - 97.05))
    flat = [(f"{m}{s}", m, 1, s, 1, e, "finished") for m in errors for s, e in enumerate((1, 5, 9))]
    assert analysis.gap_shares(history(flat), "f1").ours.isna().all()


def test_training_errors_are_compared_with_those_of_the_small_batch() -> None:
    """SB ends at 1, 2, 3 and LB at 5, 6, 7 in training: a difference of 4, ± t(4) √(1/3 + 1/3) = 2.27."""
    rows = []
    for method, ends in {"LB": (5.0, 6.0, 7.0), "SB": (1.0, 2.0, 3.0)}.items():
        for seed, end in enumerate(ends):
            rows += [(f"{method}{seed}", method, 1, seed, update, 9.0, "finished", 50.0 / update) for update in (1, 2)]
            rows[-1] = (*rows[-1][:-1], end)
    rows.append(("gone", "LB+LR", 1, 0, 1, 90.0, "diverged", 90.0))
    frame = history([row[:-1] for row in rows]).assign(training_error=[row[-1] for row in rows])
    table = analysis.compare_training(frame).set_index("method")
    assert table.index.tolist() == ["SB", "LB"]
    assert table["training error"]["LB"] == "6.00 [3.52, 8.48] (n = 3)"
    assert table["training: over SB's"]["LB"] == "+4.00 [+1.73, +6.27] (n = 3 and 3)"
    assert table["validation: over SB's"]["LB"].startswith("+0.00 ")
    assert analysis.compare_training(pd.DataFrame()).empty
    sizes = frame.assign(batch_size=frame.method.map({"SB": 32, "LB": 64, "LB+LR": 64}))
    by_size = analysis.compare_training(sizes, by="batch_size")
    assert by_size["batch size"].tolist() == [32, 64]
    pd.testing.assert_frame_equal(by_size.iloc[:, 1:], table.reset_index().iloc[:, 1:])


def test_errors_on_the_plateau_are_those_of_the_last_quarter_before_the_rate_drops() -> None:
    """Of eight epochs at the first rate the errors of the last two, 7 and 9; a rate that rises does not end them."""
    rates = [0.1] * 4 + [0.5] * 4 + [0.1] * 2
    rows = [("a", "SB", 32, 0, epoch, 10.0 + epoch, "finished") for epoch in range(1, 11)]
    rows.append(("b", "LB", 64, 0, 1, 5.0, "diverged"))
    frame = history(rows).assign(training_error=[*range(6), 7.0, 9.0, 1.0, 1.0, 5.0], lr=[*rates, 0.1])
    frame["epoch"] = frame["update"]
    table = analysis.compare_training(frame, by="batch_size", plateau=True)
    assert table.to_dict("records") == [
        {
            "batch size": 32,
            "training error": "8.00, no interval (n = 1)",
            "validation error": "17.50, no interval (n = 1)",
        }
    ]


def test_the_gap_in_training_is_that_of_the_last_epochs() -> None:
    rows = [(f"{m}{s}", m, 1, s, u, 9.0, "finished") for m in ("SB", "LB") for s in range(3) for u in (1, 2)]
    frame = history(rows).assign(training_error=[50.0, 1.0, 50.0, 2.0, 50.0, 3.0, 50.0, 5.0, 50.0, 6.0, 50.0, 7.0])
    found = analysis.training_gap(frame)
    assert found.estimate == 4.0 and found.low == pytest.approx(4 - 2.27, abs=0.01) and found.n == (3, 3)
    assert analysis.training_gap(pd.DataFrame()).n == (0, 0)
    said = " At equal epochs batch 4,096 errs more in training as well, +4.00 points [+1.73, +6.27] (n = 3 and 3)"
    assert answer.in_training(frame) == f"{said}: it has learned less." and answer.in_training(pd.DataFrame()) == ""
    assert "is not shown" in answer.in_training(frame.assign(training_error=1.0))


def test_figure1_beside_the_papers_points() -> None:
    table = analysis.compare_figure1(RUNS).set_index("batch size")
    assert table.loc[128, "paper (ResNet44)"] == 7.2 and table.loc[32, "ours"] == 3.0
    assert math.isnan(table.loc[128, "ours"]) and table.loc[1024, "n"] == 3


def test_errors_stand_at_the_updates_of_the_whole_training() -> None:
    table = analysis.errors_by_updates(RUNS.assign(epoch=RUNS["update"] * 2)).set_index("method")
    assert table.loc["SB", ["batch_size", "updates", "epochs", "error", "n"]].tolist() == [32, 3, 6, 3.0, 2]
    assert table.error["LB"] == pytest.approx((90 + 12 + 13) / 3)  # a diverged run guesses among ten classes
    assert table.high["SB"] - table.error["SB"] == pytest.approx(12.706 * 2**0.5 / 2**0.5, abs=0.01)  # t of 1 degree
    assert analysis.errors_by_updates(pd.DataFrame()).empty
