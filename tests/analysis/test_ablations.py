"""The table of ablations."""

import math

import pandas as pd
import pytest

from gbnlib import analysis
from gbnlib.analysis import stats

COLUMNS = ["run", "method", "seed", "update", "validation_error"]


def history(rows: list[tuple]) -> pd.DataFrame:
    """A history from (run, method, seed, update, validation error) of F1's large batch."""
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.assign(network="f1", dataset="mnist", batch_size=4096, status="finished")


DECLARED = history([("a", "LB", 0, 1, 4.0), ("b", "LB", 1, 1, 4.2), ("c", "LB", 2, 1, 4.1), ("d", "LB+LR", 0, 1, 3.0)])
#: Accuracies 98.0, 97.8, 97.9.
CHANGED = history(
    [
        ("e", "LB", 0, 1, 2.0),
        ("f", "LB", 1, 1, 1.0),
        ("f", "LB", 1, 2, 2.2),
        ("g", "LB", 2, 1, 2.1),
        ("h", "LB", 0, 1, 9.0),
    ]
)
LB = ["e", "f", "g"]


def test_a_comparison_is_with_the_declared_protocol() -> None:
    runs = {("f1", "buffer", "LB+LR"): ["missing"], ("f1", "weights", "LB"): LB, ("f1", "buffer", "LB"): ["h"]}
    effects = analysis.ablation_effects(DECLARED, CHANGED, runs)
    assert effects.changed.tolist() == ["BN weights 1", "momentum buffer kept"]
    assert effects.text.tolist() == ["+2.00 [+1.77, +2.23] (n = 3 and 3)", "−4.90, no interval (n = 1 and 3)"]
    assert effects.decided.tolist() == [True, False] and set(effects.on) == {"declared"}
    table = analysis.compare_ablations(effects)
    assert (table.before[0], table.here[0]) == pytest.approx((95.9, 97.9))
    assert table.gain.tolist()[0].endswith(" ↑") and table["over LB"].tolist() == ["–", "–"]


def test_an_ablation_on_top_of_another_is_compared_with_that_one() -> None:
    """Today's LB has 98.0, 97.8, 97.9; with recomputed statistics 97.0, 96.9, 96.8: a loss of 1."""
    above = history([(name, "LB", seed, 1, 3.0 + seed / 10) for seed, name in enumerate("ijk")])
    runs = {("f1", "today", "LB"): LB, ("f1", "statistics", "LB"): ["i", "j", "k"]}
    effects = analysis.ablation_effects(DECLARED, pd.concat([CHANGED, above]), runs).set_index("changed")
    found = effects.loc["statistics recomputed for evaluation"]
    assert found.on == "today" and found.text == "−1.00 [−1.23, −0.77] (n = 3 and 3)"


def test_what_a_method_is_compared_with_has_the_same_choice_changed() -> None:
    """LB has 98.0, 97.8, 97.9 with the choice changed and 96.0, 95.8, 95.9 without; LB+LR has 97.0, 96.9, 96.8."""
    remedied = history([(name, "LB+LR", seed, 1, 3.0 + seed / 10) for seed, name in enumerate("ijk")])
    changed, own = pd.concat([CHANGED, remedied]), ["i", "j", "k"]

    def over_lb(runs: dict) -> list[str]:
        effects = analysis.ablation_effects(DECLARED, changed, runs)
        return effects[effects.over == "LB"].text.tolist()

    assert over_lb({("f1", "weights", "LB"): LB, ("f1", "weights", "LB+LR"): own}) == [
        "−1.00 [−1.23, −0.77] (n = 3 and 3)"
    ]
    assert over_lb({("f1", "base", "LB+LR"): own}) == ["+1.00 [+0.77, +1.23] (n = 3 and 3)"]
    assert over_lb({("f1", "weights", "LB"): ["missing"], ("f1", "weights", "LB+LR"): own}) == []


def test_of_many_comparisons_only_those_that_survive_holm_are_decided() -> None:
    """Twenty with p just under 0.05 are what chance gives; one far below stays."""
    p_values = [0.04] * 20 + [1e-6, math.nan]
    assert stats.holm(p_values) == [False] * 20 + [True, False]
    assert stats.holm([0.01, 0.02, 0.03]) == [True, True, True]  # against 0.05 / 3, / 2, / 1
    assert stats.holm([0.01, 0.026, 0.03]) == [True, False, False] and stats.holm([]) == []


def test_the_findings_name_the_changes_on_each_side() -> None:
    rows = [
        ("LB", "warm-up", "today", "before", 1.0, True),
        ("LB+LR", "BN weights 1", "declared", "LB", 1.0, True),
        ("LB+LR", "clipping", "today", "LB", -1.0, True),
        ("LB+LR", "crops", "today", "LB", 1.0, False),
        ("LB+LR+GBN", "BN weights 1", "declared", "LB+LR", 0.1, False),
    ]
    effects = pd.DataFrame(rows, columns=["method", "changed", "on", "over", "estimate", "decided"])
    assert analysis.ablation_findings(effects) == [
        "LB+LR over LB (C6): above with BN weights 1; below with clipping (today's protocol); "
        "not decided with crops (today's protocol).",
        "LB+LR+GBN over LB+LR (C7): not decided with BN weights 1.",
    ]
    assert analysis.ablation_findings(effects[:0]) == []


def test_the_sentence_on_the_defaults_has_what_each_does_alone_and_all_together() -> None:
    def row(changed: str, over: str, text: str, on: str = "declared") -> dict:
        return {"method": "LB+LR", "changed": changed, "on": on, "over": over, "text": text}

    today = "as one would write it today"
    rows = [row("the code of 2017", "LB", "+0.5"), row(today, "LB", "−1.0"), row("BN weights 1", "LB", "+0.2")]
    told = f"LB+LR − LB, in points: −1.0 {today}, +0.5 by the code of 2017"
    assert analysis.defaults_sentence(pd.DataFrame(rows[:2])) == f"{told}."
    rows += [
        row("momentum buffer kept", "before", "+0.1"),
        row(today, "before", "−1.1"),
        row("other", "before", "−9", "today"),
    ]
    assert analysis.defaults_sentence(pd.DataFrame(rows)) == (
        f"{told}; of the latter with one thing as today: +0.2 with BN weights 1. "
        f"LB+LR itself changes by +0.1 with momentum buffer kept, and by −1.1 {today}."
    )
    assert analysis.defaults_sentence(pd.DataFrame(rows[1:])) == ""


def test_without_runs_there_is_nothing_to_compare() -> None:
    effects = analysis.ablation_effects(DECLARED, pd.DataFrame(), {("f1", "weights", "LB"): ["e"]})
    assert effects.empty and analysis.compare_ablations(effects).empty
