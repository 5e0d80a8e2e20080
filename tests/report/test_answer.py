"""The answer in words and in one picture, from made-up verdicts."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from gbnlib import claims
from gbnlib.claims.decision import INCONCLUSIVE, NOT, NOT_TESTED, REPRODUCED
from gbnlib.report import answer, answer_figure

COLUMNS = ["method", "batch_size", "updates", "epochs", "error", "low", "high", "n"]
EQUAL_EPOCHS = [
    ("SB", 128, 23450, 50, 1.8, 1.7, 1.9, 5),
    ("LB", 1024, 2950, 50, 2.2, 2.1, 2.3, 3),
    ("LB", 4096, 750, 50, 3.0, 2.8, 3.2, 5),
    ("LB+LR", 4096, 750, 50, 2.4, 2.2, 2.6, 5),
    ("LB+LR+GBN", 4096, 750, 50, 2.5, 2.1, 2.9, 5),
]
ADAPTED = ("LB+LR+GBN+RA", 4096, 24000, 1600, 1.4, float("nan"), float("nan"), 1)


def table(*rows: tuple) -> pd.DataFrame:
    """A table like that of `analysis.errors_by_updates`."""
    return pd.DataFrame(rows, columns=COLUMNS)


def verdict(claim: str, kind: str, estimate: float = 0.5) -> claims.Verdict:
    """A verdict whose interval reaches 0.1 to both sides."""
    effect = claims.Effect("a minus b", "points", estimate, estimate - 0.1, estimate + 0.1, least=0, paper=0.26)
    return claims.Verdict(claim, "", kind, effect=None if kind == NOT_TESTED else effect, n=3)


@pytest.mark.parametrize(
    ("c8", "c1", "words"),
    [
        (REPRODUCED, REPRODUCED, "the large one catches up"),
        (NOT, REPRODUCED, "stays behind"),
        (INCONCLUSIVE, REPRODUCED, "not decided"),
        (NOT_TESTED, REPRODUCED, "At equal epochs a larger batch makes fewer updates, and errs more"),
        (NOT_TESTED, INCONCLUSIVE, "Validation error by the number of weight updates"),
    ],
)
def test_the_title_is_what_the_verdicts_say(c8: str, c1: str, words: str) -> None:
    assert words in answer.title([verdict("C1", c1), verdict("C8", c8)])


def test_the_sentence_has_the_numbers_the_cost_and_what_is_missing() -> None:
    said = answer.sentence([verdict("C1", REPRODUCED, 1.2), verdict("C7", NOT, -0.3)], table(*EQUAL_EPOCHS))
    assert "by 1.20 points [1.10, 1.30]; ghost batch normalization adds −0.30 points [−0.40, −0.20]." in said
    assert "C8, is not finished" in said and "1,600 epochs in place of 50" in said  # 50 · 4096 / 128
    both = answer.sentence([verdict("C8", REPRODUCED)], table(*EQUAL_EPOCHS, ADAPTED))
    assert "not finished" not in both
    assert answer.sentence([], table()) == "Nothing is finished yet."


def test_findings_leave_out_what_is_not_tested_and_what_is_no_finding() -> None:
    lines = answer.findings([verdict("C6", REPRODUCED), verdict("C8", NOT_TESTED), verdict("C12", REPRODUCED)])
    told = "(C6): reproduced, +0.50 points [+0.40, +0.60] (a minus b); the paper +0.26; n = 3."
    assert lines == [f"**The √ rate closes part of the gap** {told}"]


def test_a_number_so_small_is_not_rounded_to_zero() -> None:
    assert answer.number(claims.Effect("a", "", 1.5e-13)) == "1.5e−13"


@pytest.mark.parametrize("theme", answer_figure.THEMES)
def test_the_picture_marks_means_intervals_and_the_papers_numbers(theme: str) -> None:
    figure = answer_figure.draw(table(*EQUAL_EPOCHS, ADAPTED), "Finding", theme)
    (ax,) = figure.axes
    marked = [line for line in ax.lines if len(line.get_xdata()) == 1]
    crosses = {round(float(line.get_ydata()[0]), 2) for line in marked if line.get_marker() == "x"}
    assert crosses == {1.73, 2.95, 2.45, 2.4, 1.47}
    hollow = [line for line in marked if line.get_fillstyle() == "none"]
    assert [float(line.get_ydata()[0]) for line in hollow] == [1.4]  # one seed has no interval
    bars = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_xdata()[0] == line.get_xdata()[1]]
    assert sorted(tuple(map(float, bar.get_ydata())) for bar in bars) == sorted(row[5:7] for row in EQUAL_EPOCHS)
    words = {text.get_text() for text in ax.texts}
    assert {"batch 128", "1,024", "batch 4,096", "+ √ rate", "+ both, as many updates (1 seed)"} <= words
    plt.close(figure)


def test_what_is_not_run_is_named_and_an_empty_table_draws() -> None:
    figure = answer_figure.draw(table(*EQUAL_EPOCHS), "Finding")
    assert "+ both, as many updates: not run here yet" in {text.get_text() for text in figure.axes[0].texts}
    plt.close(figure)
    plt.close(answer_figure.draw(table(), "Finding"))
