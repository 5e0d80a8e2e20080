"""What theory says is equal: the largest differences that were measured, as tables show them."""

import numpy as np
import pandas as pd

from gbnlib import paper

ACCUMULATION_CAPTION = "Largest relative difference between accumulated gradients and those of the whole batch."


def summarise_identity(identity: pd.DataFrame) -> pd.DataFrame:
    """The largest differences over seeds by scheme and pair of batches, as a table shows them."""
    if identity.empty:
        return identity
    table = identity.groupby(["scheme", "small", "large"], sort=False)
    shown = table[["formula", "invariance"]].max().map("{:.1e}".format)
    columns = {
        "scheme": "drawn",
        "small": "small batch",
        "large": "large batch",
        "formula": "from the formula",
        "invariance": "between increments",
    }
    counted = shown.assign(**{"factor left": table.left.first(), "networks": table.size()})
    return counted.reset_index().rename(columns=columns)


def summarise_accumulation(differences: pd.DataFrame) -> pd.DataFrame:
    """The largest differences of each network, case and precision, as a table shows them."""
    if differences.empty:
        return differences
    table = differences.groupby(["case", "network", "precision"], sort=False)
    found = table[["gradient", "statistics"]].max().map(lambda value: "–" if np.isnan(value) else f"{value:.1e}")
    shown = found.assign(n=table.size()).reset_index()
    return shown.assign(network=[paper.protocol(name).label for name in shown.network])
