"""What changing one choice of the protocol does to the accuracy of a method."""

from collections.abc import Mapping, Sequence

import pandas as pd

from gbnlib import paper
from gbnlib.analysis import stats
from gbnlib.analysis.outcomes import accuracies

#: Columns of `compare_ablations`.
COLUMNS = ("method", "changed", "declared", "here", "best", "gain", "over LB", "over LB+LR")
#: What a method is compared with, as C6 and C7 do.
_BASES = {"SB": (), "LB": (), "LB+LR": ("LB",), "LB+LR+GBN": ("LB", "LB+LR")}


def compare_ablations(
    declared: pd.DataFrame, changed: pd.DataFrame, runs: Mapping[tuple[str, str, str], Sequence[str]]
) -> pd.DataFrame:
    """Final accuracy in % with one choice changed, beside the declared protocol's: a row an ablation and method.

    Parameters
    ----------
    declared, changed : tidy history frames of the declared protocol's runs and of the ablations'.
    runs : ids of the runs by (network, name of the ablation, method).

    Returns
    -------
    Rows in the order of `runs`, by method; those without finished runs are left out. `gain` is the difference with its
    Welch interval over seeds. `over LB` and `over LB+LR` are what the method has over these: with the choice changed
    for both, or the other as declared where `runs` has none of it. An arrow marks an interval that excludes zero.
    """
    labels = {ablation.name: ablation.label for network, *_ in runs for ablation in paper.ablations(network)}
    rows = []
    for (network, name, method), ids in runs.items():
        own = changed[changed.run.isin(ids)] if len(changed) else changed
        found = accuracies(own, network, method)
        if not found:
            continue
        before = accuracies(declared, network, method)
        row = {
            "method": method,
            "changed": labels[name],
            "declared": stats.mean(before).estimate,
            "here": stats.mean(found).estimate,
            "best": stats.mean(accuracies(own, network, method, "best_error")).estimate,
            "gain": _over(before, found),
        }
        for base in ("LB", "LB+LR"):
            others = runs.get((network, name, base))
            history = changed[changed.run.isin(others)] if others else declared
            row[f"over {base}"] = _over(accuracies(history, network, base), found) if base in _BASES[method] else "–"
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values("method", key=lambda column: column.map(paper.METHODS.index), kind="stable")


def _over(base: list[float], found: list[float]) -> str:
    """What some runs have over others, in points, with an arrow where the interval excludes zero; or a dash."""
    if not base:
        return "–"
    more = stats.difference(found, base, paper.confidence())
    return more.text(sign=True) + (" ↑" if more.above(0) else " ↓" if more.below(0) else "")


def ablation_findings(table: pd.DataFrame) -> list[str]:
    """What a table of `compare_ablations` says of C6 and C7: by which changes a method is above another one."""
    lines = []
    for method, base, claim in (("LB+LR", "LB", "C6"), ("LB+LR+GBN", "LB+LR", "C7"), ("LB+LR+GBN", "LB", "both")):
        rows = table[(table.method == method) & (table[f"over {base}"] != "–")]
        marks = rows[f"over {base}"].str[-1]
        changes = {
            "above": rows.changed[marks == "↑"],
            "below": rows.changed[marks == "↓"],
            "not decided": rows.changed[~marks.isin(["↑", "↓"])],
        }
        told = [f"{words} with {', '.join(labels)}" for words, labels in changes.items() if len(labels)]
        if told:
            lines.append(f"{method} over {base} ({claim}): {'; '.join(told)}.")
    return lines
