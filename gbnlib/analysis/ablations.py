"""What changing one choice of the protocol does to the accuracy of a method."""

from collections.abc import Mapping, Sequence

import pandas as pd

from gbnlib import paper
from gbnlib.analysis import stats
from gbnlib.analysis.outcomes import accuracies

#: Columns of `compare_ablations`.
COLUMNS = ("method", "changed", "declared", "here", "best", "gain", "decided", "over LB")


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
    Welch interval over seeds, `decided` whether that excludes zero. `over LB` is what the method has over LB, both with
    the choice changed if that touches LB, else LB as declared.
    """
    labels = {ablation.name: ablation.label for network, *_ in runs for ablation in paper.ablations(network)}
    rows = []
    for (network, name, method), ids in runs.items():
        own = changed[changed.run.isin(ids)] if len(changed) else changed
        found = accuracies(own, network, method)
        if found:
            before = accuracies(declared, network, method)
            best = accuracies(own, network, method, "best_error")
            touched = runs.get((network, name, "LB"))
            base = accuracies(changed[changed.run.isin(touched)] if touched else declared, network, "LB")
            compared = {**_compared(before, found, best), "over LB": _over(base, found, method)}
            rows.append({"method": method, "changed": labels[name], **compared})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values("method", key=lambda column: column.map(paper.METHODS.index), kind="stable")


def _over(base: list[float], found: list[float], method: str) -> str:
    """What a method has over LB; a dash for the baselines."""
    if method in ("SB", "LB") or not base:
        return "–"
    return stats.difference(found, base, paper.confidence()).text(sign=True)


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
