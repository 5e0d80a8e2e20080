"""The claims of the paper that hold to floating-point error or do not; seeds play no part."""

import math

import pandas as pd

from gbnlib import data, paper
from gbnlib.analysis import stats
from gbnlib.claims.decision import NOT, REPRODUCED, Case, Decision, effect

IDENTITIES = ("C12", "C13")


def c12(case: Case) -> Decision:
    """The √ rate keeps the covariance of the increments: an identity. `frame`: see `covariance.measure_identity`."""
    row = paper.protocol("f1")
    samples = data.card(row.dataset).train
    left = (samples - row.large_batch) / (samples - row.small_batch)
    also = f"without replacement a factor stays, {left:.3f} for F1 on MNIST at {row.small_batch} and {row.large_batch}"
    return _identity("C12", pd.concat([case.frame.formula, case.frame.invariance]), also)


def c13(case: Case) -> Decision:
    """Accumulating over chunks equals the large batch, and with BN the ghosts: an identity; plain BN is the control."""
    double = case.frame[case.frame.precision == "double"]
    equal, control = double[double.case != "plain BN"], double[double.case == "plain BN"]
    cases = pd.concat([equal.gradient, equal.statistics[equal.case == "ghost BN"]])
    also = f"plain batch normalization, the control, differs by {control.gradient.min():.1e} at least"
    return _identity("C13", cases, also)


def _identity(claim: str, differences: pd.Series, also: str) -> Decision:
    """Whether every relative difference lies below the claim's margin; NaN counts as a failure."""
    holds = bool((differences < paper.claims()[claim].margin).all())
    largest = f"largest relative difference {differences.max(skipna=False):.1e} in {len(differences)} cases"
    worst = stats.Interval(differences.max(skipna=False), math.nan, math.nan, (len(differences),), "largest")
    shown = effect("largest relative difference", worst, most=paper.claims()[claim].margin)
    return Decision(REPRODUCED if holds else NOT, f"{largest}; {also}", len(differences), shown)
