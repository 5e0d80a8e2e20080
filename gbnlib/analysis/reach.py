"""How far the methods of appendix A move in equal updates."""

import pandas as pd

from gbnlib.analysis import diffusion, stats


def compare_reach(curves: pd.DataFrame) -> pd.DataFrame:
    """How far each method has moved after equal updates, over the small batch's distance of the same seed.

    A row a method, with t intervals over seeds, at the last update that all high-rate phases share. `curves` are those
    of `diffusion.high_rate_curves`; without the small batch there are no rows.
    """
    if "SB" not in set(curves.method):
        return pd.DataFrame()
    update = diffusion.shared_update(curves)
    by_method = curves.assign(batch_size=curves.method)  # so that the columns are methods
    tables = {which: diffusion.distances_at(by_method, which, update) for which in ("weights", "first")}
    rows = []
    for method in curves.method.unique():
        row = {"method": method, "update": update}
        for which, table in tables.items():
            ratio = (table[method] / table["SB"]).dropna()
            row[f"over SB's, {diffusion.QUANTITIES[which]}"] = stats.mean(ratio).text()
        rows.append(row)
    return pd.DataFrame(rows)
