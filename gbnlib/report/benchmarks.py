"""Benchmarks that are committed with the code, as frames."""

import numpy as np
import pandas as pd

from gbnlib import files


def layer_costs() -> tuple[pd.DataFrame, str]:
    """Time of ghost batch normalization over that of plain, a row a shape, and where it was measured.

    Columns: shape, layout, dtype, ghost_size, plain_ms, and the ratios `loop` (over the ghosts) and `ghost` (gbnlib).
    Empty, with words that say so, where `benchmarks/norm.py` has not been run.
    """
    path = files.reference_root() / "benchmarks" / "norm.json"
    if not path.is_file():
        return pd.DataFrame(), "The cost has not been measured yet: `benchmarks/norm.py` does it."
    facts = files.read_json(path)
    rows = [
        {
            "shape": " × ".join(map(str, cell["shape"])),
            **{key: cell[key] for key in ("layout", "dtype", "ghost_size")},
            "plain_ms": 1e3 * cell["plain"]["median"],
            **{code: cell[code]["median"] / cell["plain"]["median"] for code in ("loop", "ghost")},
        }
        for cell in facts["cells"]
    ]
    known = {name: facts.get(name, "unknown") for name in ("cpu", "threads", "torch", "rounds")}
    where = "Measured on {cpu}, threads: {threads}, PyTorch {torch}, medians of {rounds} rounds.".format(**known)
    return pd.DataFrame(rows), where


def summarise_costs(costs: pd.DataFrame) -> pd.DataFrame:
    """Geometric means of the ratios over shapes, and the worst of gbnlib, by layout, number format and ghost size."""
    groups = costs.groupby(["layout", "dtype", "ghost_size"], sort=False)
    means = groups[["loop", "ghost"]].agg(lambda ratios: np.exp(np.log(ratios).mean()))
    return means.assign(worst_ghost=groups.ghost.max(), shapes=groups.size()).reset_index()
