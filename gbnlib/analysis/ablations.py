"""What changing one choice of the protocol does to the accuracy of a method."""

from collections.abc import Mapping, Sequence

import pandas as pd

from gbnlib import paper
from gbnlib.analysis import stats
from gbnlib.analysis.outcomes import accuracies

#: Columns of `compare_ablations`.
COLUMNS = ("method", "changed", "declared", "here", "best", "gain", "decided", "over LB", "over LB+LR")
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
    Welch interval over seeds, `decided` whether that excludes zero. `over LB` and `over LB+LR` are what the method has
    over these: with the choice changed for both, or the other as declared where `runs` has none of it to compare with.
    """
    labels = {ablation.name: ablation.label for network, *_ in runs for ablation in paper.ablations(network)}
    rows = []
    for (network, name, method), ids in runs.items():
        own = changed[changed.run.isin(ids)] if len(changed) else changed
        found = accuracies(own, network, method)
        if not found:
            continue
        best = accuracies(own, network, method, "best_error")
        row = {"method": method, "changed": labels[name]}
        row |= _compared(accuracies(declared, network, method), found, best)
        for base in ("LB", "LB+LR"):
            others = runs.get((network, name, base))
            history = changed[changed.run.isin(others)] if others else declared
            row[f"over {base}"] = _over(accuracies(history, network, base), found) if base in _BASES[method] else "–"
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values("method", key=lambda column: column.map(paper.METHODS.index), kind="stable")


def _over(base: list[float], found: list[float]) -> str:
    """What a method has over another one; a dash where that is not finished."""
    return stats.difference(found, base, paper.confidence()).text(sign=True) if base else "–"


def _compared(before: list[float], found: list[float], best: list[float]) -> dict:
    """The numbers of one row."""
    gain = stats.difference(found, before, paper.confidence())
    return {
        "declared": stats.mean(before).estimate,
        "here": stats.mean(found).estimate,
        "best": stats.mean(best).estimate,
        "gain": gain.text(sign=True),
        "decided": "up" if gain.above(0) else "down" if gain.below(0) else "–",
    }
