"""Intervals over seeds. They say how far seeds scatter, not how well the test images stand for all images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from gbnlib import paper

#: The level of every interval that a verdict rests on.
CONFIDENCE = paper.confidence()
#: Values under which a bootstrap interval covers far less than it says, so that none is given.
BOOTSTRAP_MINIMUM = 10


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; the ends are NaN where too few values allow none.

    `n` counts the values that the estimate rests on, with one number for each group.
    """

    estimate: float
    low: float
    high: float
    n: tuple[int, ...]
    kind: str

    def named(self, name: str) -> dict[str, float]:
        """The columns of a table: the estimate by a name, low, high, and n of the first group."""
        return {name: self.estimate, "low": self.low, "high": self.high, "n": self.n[0]}

    @property
    def half_width(self) -> float:
        """Half of the interval's length."""
        return (self.high - self.low) / 2

    def above(self, threshold: float) -> bool:
        """Whether the whole interval lies above a threshold."""
        return self.low > threshold

    def below(self, threshold: float) -> bool:
        """Whether the whole interval lies below a threshold."""
        return self.high < threshold

    def times(self, factor: float) -> "Interval":
        """The interval of a positive multiple."""
        return Interval(factor * self.estimate, factor * self.low, factor * self.high, self.n, self.kind)

    def text(self, unit: str = "", *, digits: int = 2, sign: bool = False) -> str:
        """The estimate with its unit, its interval and the numbers of values, in words."""
        if math.isnan(self.estimate):
            return f"no estimate (n = {self._counts()})"
        form = f"{'+' if sign else ''}.{digits}f"
        shown = f"{self.estimate:{form}} {unit}".rstrip()
        ends = ", no interval" if math.isnan(self.low) else f" [{self.low:{form}}, {self.high:{form}}]"
        return f"{shown}{ends} (n = {self._counts()})".replace("-", "−")

    def _counts(self) -> str:
        return " and ".join(str(count) for count in self.n)


def mean(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The mean with Student's t interval, shape (n,); no interval under two values."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return Interval(float(array.mean()) if len(array) else math.nan, math.nan, math.nan, (len(array),), "t")
    half = _quantile(confidence, len(array) - 1) * array.std(ddof=1) / math.sqrt(len(array))
    return _around(array.mean(), half, (len(array),), "t")


def difference(first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean of `first` minus mean of `second` with Welch's interval (unequal variances, Satterthwaite's degrees)."""
    counts = len(first), len(second)
    if min(counts) == 0:
        return Interval(math.nan, math.nan, math.nan, counts, "Welch")
    estimate = np.asarray(first, dtype=float).mean() - np.asarray(second, dtype=float).mean()
    if min(counts) < 2:
        return Interval(float(estimate), math.nan, math.nan, counts, "Welch")
    error, freedom = _welch(first, second)
    return _around(estimate, _quantile(confidence, freedom) * error if error else 0.0, counts, "Welch")


def _welch(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Standard error of the difference of two means, and Satterthwaite's degrees of freedom (NaN for no error)."""
    groups = [np.asarray(values, dtype=float) for values in (first, second)]
    parts = [(group.var(ddof=1) / len(group), len(group) - 1) for group in groups]
    variance = sum(part for part, _ in parts)
    return math.sqrt(variance), variance**2 / sum(part**2 / free for part, free in parts) if variance else math.nan


def welch_p(first: Sequence[float], second: Sequence[float]) -> float:
    """The two-sided p-value of Welch's test that two means are equal; NaN under two values a group."""
    if min(len(first), len(second)) < 2:
        return math.nan
    return float(stats.ttest_ind(first, second, equal_var=False).pvalue)


def holm(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    """Which of several tests are significant at a level that holds for all of them together (Holm 1979).

    Tests in the order of their p-values are held against level / m, level / (m − 1) … until the first one fails. NaN is
    never significant, and counts as a test.
    """
    order = sorted(range(len(p_values)), key=lambda i: (math.isnan(p_values[i]), p_values[i]))
    passed = [False] * len(p_values)
    for rank, i in enumerate(order):
        if not p_values[i] <= level / (len(order) - rank):
            break
        passed[i] = True
    return passed


def page_trend_p(values: np.ndarray) -> float:
    """The one-sided p-value of Page's test that values (blocks, treatments) rise from treatment to treatment."""
    return float(stats.page_trend_test(values).pvalue)


def seeds_needed(
    first: Sequence[float], second: Sequence[float], true: float, confidence: float = CONFIDENCE, power: float = 0.8
) -> int:
    """Seeds a group at which a mean that is larger by `true` is told to be larger with a probability of `power`.

    By the normal approximation, from the variances of the two groups.
    """
    variance = sum(np.var(values, ddof=1) for values in (first, second))
    quantiles = stats.norm.ppf(0.5 + confidence / 2) + stats.norm.ppf(power)
    return math.ceil(variance * (quantiles / true) ** 2)


def bootstrap(
    values: Sequence[float] | np.ndarray,
    statistic: Callable[[np.ndarray], float] = np.mean,
    confidence: float = CONFIDENCE,
    *,
    seed: int,
    resamples: int = 2000,
) -> Interval:
    """A statistic of independent rows with its bias-corrected and accelerated bootstrap interval.

    Parameters
    ----------
    values : shape (n, ...), resampled along the first axis.
    statistic : from such an array to a number.
    confidence : of the interval.
    seed : decides the resamples; two calls with one seed agree.
    resamples : their number.

    Returns
    -------
    The interval; its ends are NaN under `BOOTSTRAP_MINIMUM` rows.
    """
    array = np.asarray(values, dtype=float)
    estimate, n = float(statistic(array)), (len(array),)
    if len(array) < BOOTSTRAP_MINIMUM:
        return Interval(estimate, math.nan, math.nan, n, "bootstrap")
    rows = np.arange(len(array))
    found = stats.bootstrap(
        (rows,),
        lambda chosen: statistic(array[chosen]),
        vectorized=False,
        n_resamples=resamples,
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(estimate, float(found.low), float(found.high), n, "bootstrap")


def smallest_detectable_difference(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE, power: float = 0.8
) -> float:
    """The true difference of means that Welch's interval would tell from zero in a share `power` of repetitions.

    It takes the spread of the two groups as the true one and solves the non-central t distribution. NaN under two
    values a group.
    """
    if math.isnan(difference(first, second, confidence).low):
        return math.nan
    error, freedom = _welch(first, second)
    if not error:
        return 0.0
    critical = _quantile(confidence, freedom)
    return error * optimize.brentq(lambda mean: stats.nct.sf(critical, freedom, mean) - power, 0, 50 * critical)


def _quantile(confidence: float, freedom: float) -> float:
    return float(stats.t.ppf(0.5 + confidence / 2, freedom))


def _around(estimate: float, half: float, n: tuple[int, ...], kind: str) -> Interval:
    return Interval(float(estimate), float(estimate - half), float(estimate + half), n, kind)
