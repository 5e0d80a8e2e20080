"""Whether the small batch of a row has converged, as its protocol asks before the row is judged."""

import math

import pandas as pd

from gbnlib import experiments, paper
from gbnlib.analysis import stats
from gbnlib.analysis.stats import Interval


def row_history(network: str, scale: str) -> pd.DataFrame:
    """The history of the finished runs of SB and LB in a row of the tables."""
    planned = [*experiments.plan("table1", scale), *experiments.plan("table2", scale)]
    wanted = [config for config in planned if config.network == network and config.method in ("SB", "LB")]
    return experiments.load_history(wanted)


def doubled_history(network: str, scale: str) -> pd.DataFrame:
    """The history of the small batch of a row with twice the epochs."""
    return experiments.load_history(
        [config for config in experiments.plan("convergence", scale) if config.network == network]
    )


def shortfall(network: str, scale: str, row: pd.DataFrame, doubled: pd.DataFrame) -> str:
    """What the small batch of a row falls short of, in words; empty where it has converged or nothing is asked.

    Parameters
    ----------
    network, scale : of the row; `paper.protocol` says what it must reach.
    row : history with the row's SB runs.
    doubled : that of `doubled_history`.
    """
    asked = paper.protocol(network, scale).converged
    if asked == paper.Convergence():
        return ""
    small = row[row.method == "SB"] if len(row) else row
    last = small.groupby("run").tail(1) if len(small) else small
    if last.empty:
        return "no run of the small batch is finished"
    error = last.validation_error.mean()
    lead = error - last.training_error.mean() if asked.memorised else 0.0
    if lead < asked.memorised:
        return f"SB's training error lies {lead:.1f} points under its validation error, not {asked.memorised:g}"
    if 100 - error < asked.accuracy:
        return f"SB's accuracy is {100 - error:.2f} %, under {asked.accuracy:g} %"
    if not asked.doubling:
        return ""
    gain = doubling_gain(row, doubled).estimate
    if math.isnan(gain):
        return "the run with twice the epochs is missing"
    return f"twice the epochs gain {gain:.2f} points, more than {asked.doubling:g}" if gain > asked.doubling else ""


def doubling_gain(row: pd.DataFrame, doubled: pd.DataFrame) -> Interval:
    """Points of error that twice the epochs take from the small batch, each run against that of the same seed.

    Parameters
    ----------
    row : history with the row's SB runs.
    doubled : that of `doubled_history`.

    Returns
    -------
    The mean gain over the seeds that have both runs, with its t interval; NaN where none has.
    """
    if doubled.empty or row.empty:
        return stats.mean([])
    plain, longest = (frame.groupby("seed").validation_error.last() for frame in (row[row.method == "SB"], doubled))
    return stats.mean((plain - longest).dropna())
