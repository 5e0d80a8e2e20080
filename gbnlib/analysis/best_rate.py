"""Which rate is best at each batch, and how many updates a target takes there (Shallue et al. 2019).

All functions take the tidy history of a study whose runs differ in batch size, first rate (column `rate`) and seed.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import optimize

from gbnlib.analysis import stats
from gbnlib.analysis.outcomes import outcomes


def final_errors(history: pd.DataFrame) -> pd.DataFrame:
    """One row a run: batch_size, rate, seed, `error` on the held-out images at the end and `test_error`, in %.

    A diverged run has the error of guessing for both.
    """
    if history.empty:
        return pd.DataFrame(columns=["run", "batch_size", "rate", "seed", "error", "test_error"])
    table = outcomes(history).rename(columns={"final_error": "error"})
    own = history.groupby("run")[["rate", "test_error"]].first()
    table = table[["run", "batch_size", "seed", "status", "error"]].join(own, on="run")
    table["test_error"] = table.test_error.mask(table.status == "diverged", table.error)
    return table.drop(columns="status")


def best_rates(history: pd.DataFrame) -> pd.DataFrame:
    """The best rate of each batch and seed: a row each, with batch_size, seed, rate and `at_edge`.

    It is the vertex of the parabola through the smallest held-out error and its two neighbours, in log rate; where the
    smallest error is that of the first or last rate, that rate, `at_edge`.
    """
    rows = []
    for (batch_size, seed), runs in final_errors(history).groupby(["batch_size", "seed"]):
        runs = runs.sort_values("rate")
        rates, errors = np.log(runs.rate.to_numpy()), runs.error.to_numpy()
        least = int(errors.argmin())
        at_edge = least in (0, len(errors) - 1)
        best = rates[least] if at_edge else _vertex(rates[least - 1 : least + 2], errors[least - 1 : least + 2])
        rows.append({"batch_size": batch_size, "seed": seed, "rate": math.exp(best), "at_edge": at_edge})
    return pd.DataFrame(rows)


def _vertex(x: np.ndarray, y: np.ndarray) -> float:
    """Where the parabola through three points (3,), the middle one lowest, is lowest; the middle for a flat one."""
    curve, slope, _ = np.polyfit(x - x[1], y, 2)
    return x[1] - slope / (2 * curve) if curve > 0 else x[1]


def exponents(table: pd.DataFrame, column: str, sizes: Sequence[int] = ()) -> list[float]:
    """Slopes of log `column` on log batch size over some sizes (default: all), one a seed that has them all.

    Over the whole of a table of best rates, 1/2 is the √ rule and 1 the linear one.
    """
    chosen = table[table.batch_size.isin(sizes or table.batch_size.unique())] if len(table) else table
    whole = chosen.batch_size.nunique() if len(chosen) else 0
    groups = [runs for _, runs in chosen.groupby("seed") if len(runs) == whole > 1] if len(chosen) else []
    return [float(np.polyfit(np.log(runs.batch_size), np.log(runs[column]), 1)[0]) for runs in groups]


def chosen_rates(history: pd.DataFrame) -> dict[int, float]:
    """The rate with the smallest held-out error by batch size, averaged over the seeds."""
    errors = final_errors(history).groupby(["batch_size", "rate"]).error.mean()
    return {size: errors[size].idxmin() for size in errors.index.unique("batch_size")}


def test_errors(history: pd.DataFrame, batch_size: int, rate: float) -> pd.Series:
    """Final test errors of a batch size at a rate, in % by seed."""
    table = final_errors(history)
    return table[(table.batch_size == batch_size) & (table.rate == rate)].set_index("seed").test_error


def updates_to_target(history: pd.DataFrame, target: float) -> pd.DataFrame:
    """Updates until the held-out error is at most `target` %, by batch size and seed at the best of the rates.

    Columns batch_size, seed, updates, rate, and `at_first`: the first evaluation was below it, so that it may have
    taken fewer. Between two evaluations the error is taken to fall evenly. Where no rate gets there, there is no row.
    """
    rows = []
    for (batch_size, seed, rate), run in history.groupby(["batch_size", "seed", "rate"]) if len(history) else ():
        updates, errors = run["update"].to_numpy(float), run.validation_error.to_numpy()
        if not (errors <= target).any():
            continue
        look = int((errors <= target).argmax())
        reached = updates[0]
        if look:
            share = (errors[look - 1] - target) / (errors[look - 1] - errors[look])
            reached = updates[look - 1] + share * (updates[look] - updates[look - 1])
        rows.append([batch_size, seed, reached, rate, look == 0])
    table = pd.DataFrame(rows, columns=["batch_size", "seed", "updates", "rate", "at_first"])
    return table.loc[table.groupby(["batch_size", "seed"]).updates.idxmin()].reset_index(drop=True)


def knees(table: pd.DataFrame) -> list[float]:
    """The batch size at which updates to the target are twice their least, one a seed: `updates_to_target` as
    ``s (1 + B / batch)``, fitted in logarithms (McCandlish et al. 2018, equation 2.11). Seeds under three sizes are
    left out."""
    found = []
    for _, runs in table.groupby("seed") if len(table) else ():
        if len(runs) < 3:
            continue
        sizes, logs = runs.batch_size.to_numpy(float), np.log(runs.updates.to_numpy())

        def off(guess: np.ndarray, sizes: np.ndarray = sizes, logs: np.ndarray = logs) -> np.ndarray:
            return guess[0] + np.log1p(np.exp(guess[1]) / sizes) - logs

        fit = optimize.least_squares(off, [logs.min(), math.log(np.median(sizes))])
        found.append(float(math.exp(fit.x[1])))
    return found


def summarised(history: pd.DataFrame, target: float) -> pd.DataFrame:
    """What the study found, a row a batch size: best rate, updates to the target and final test error, with intervals.

    The test error is that at the rate chosen for the batch size.
    """
    best, reached, chosen = best_rates(history), updates_to_target(history, target), chosen_rates(history)
    rows = []
    for size, rate in chosen.items():
        at_best = best[best.batch_size == size]
        updates = reached[reached.batch_size == size].updates
        rows.append(
            {
                "batch size": size,
                "best rate": stats.mean(at_best.rate).text(digits=3),
                "at an end of the grid": int(at_best.at_edge.sum()),
                "chosen": rate,
                f"updates to {target:g} %": stats.mean(updates).text(digits=0),
                "test error": stats.mean(test_errors(history, size, rate)).text(),
            }
        )
    return pd.DataFrame(rows)
