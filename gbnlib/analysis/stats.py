"""Intervals over seeds. They say how far seeds scatter, not how well the test images stand for all images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

#: Values under which a bootstrap interval covers far less than it says, so that none is given.
BOOTSTRAP_MINIMUM = 10


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; the ends are NaN where too few values allow none.

    `n` counts the values the estimate rests on, one number a group.
    """

    estimate: float
    low: float
    high: float
    n: tuple[int, ...]
    kind: str

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

    def text(self, unit: str = "", *, digits: int = 2, sign: bool = False) -> str:
        """The estimate with its unit, its interval and the numbers of values, in words."""
        if math.isnan(self.estimate):
            return f"no estimate, no interval (n = {self._counts()})"
        form = f"{'+' if sign else ''}.{digits}f"
        shown = f"{self.estimate:{form}} {unit}".rstrip()
        ends = ", no interval" if math.isnan(self.low) else f" [{self.low:{form}}, {self.high:{form}}]"
        return f"{shown}{ends} (n = {self._counts()})".replace("-", "−")

    def _counts(self) -> str:
        return " and ".join(str(count) for count in self.n)


def mean(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean with Student's t interval, shape (n,); no interval under two values."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return Interval(float(array.mean()) if len(array) else math.nan, math.nan, math.nan, (len(array),), "t")
    half = _quantile(confidence, len(array) - 1) * array.std(ddof=1) / math.sqrt(len(array))
    return _around(array.mean(), half, (len(array),), "t")


def difference(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of `first` minus mean of `second` with Welch's interval (unequal variances, Satterthwaite's degrees)."""
    groups = [np.asarray(values, dtype=float) for values in (first, second)]
    counts = tuple(len(group) for group in groups)
    if min(counts) == 0:
        return Interval(math.nan, math.nan, math.nan, counts, "Welch")
    estimate = groups[0].mean() - groups[1].mean()
    if min(counts) < 2:
        return Interval(float(estimate), math.nan, math.nan, counts, "Welch")
    parts = [group.var(ddof=1) / len(group) for group in groups]
    variance = sum(parts)
    if variance == 0:
        return _around(estimate, 0.0, counts, "Welch")
    freedom = variance**2 / sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
    return _around(estimate, _quantile(confidence, freedom) * math.sqrt(variance), counts, "Welch")


def slope(x: Sequence[float], y: Sequence[float], confidence: float = 0.95) -> Interval:
    """Slope of the least-squares line of `y` on `x`, both (n,), with its t interval on n − 2 degrees of freedom."""
    if len(x) < 3 or len(set(x)) < 2:
        return Interval(math.nan, math.nan, math.nan, (len(x),), "slope")
    fit = stats.linregress(x, y)
    return _around(fit.slope, _quantile(confidence, len(x) - 2) * fit.stderr, (len(x),), "slope")


def bootstrap(
    values: Sequence[float] | np.ndarray,
    statistic: Callable[[np.ndarray], float] = np.mean,
    confidence: float = 0.95,
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


def trend(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Kendall's τ of `x` and `y`, both (n,), and its two-sided p: whether one rises with the other, in any shape."""
    found = stats.kendalltau(x, y)
    return float(found.statistic), float(found.pvalue)


def equivalence(first: Sequence[float], second: Sequence[float], margin: float) -> float:
    """p of two one-sided Welch tests (TOST) that the means differ by `margin` or more, against less.

    A p under 0.05 says "equivalent within the margin", the same as a 90 % interval inside ±`margin`. NaN under two
    values a group.
    """
    if margin <= 0:
        raise ValueError(f"margin is {margin}; it must be positive")
    groups = [np.asarray(values, dtype=float) for values in (first, second)]
    if min(map(len, groups)) < 2:
        return math.nan
    above = stats.ttest_ind(groups[0] + margin, groups[1], equal_var=False, alternative="greater").pvalue
    below = stats.ttest_ind(groups[0] - margin, groups[1], equal_var=False, alternative="less").pvalue
    return float(max(above, below))


def smallest_detectable_effect(n: int, confidence: float = 0.95, power: float = 0.8) -> float:
    """The difference of two means, in standard deviations, that `n` values a group find in a share `power` of cases.

    For planning: the two-sample t test with equal spreads, 2n − 2 degrees of freedom. NaN under two values.
    """
    if n < 2:
        return math.nan
    return _noncentrality(2 * n - 2, confidence, power) * math.sqrt(2 / n)


def smallest_detectable_difference(
    first: Sequence[float], second: Sequence[float], confidence: float = 0.95, power: float = 0.8
) -> float:
    """The true difference of means that Welch's interval would tell from zero in a share `power` of repetitions.

    It takes the spread of the two groups as the true one and solves the non-central t distribution. NaN under two
    values a group.
    """
    interval = difference(first, second, confidence)
    if math.isnan(interval.low):
        return math.nan
    if interval.half_width == 0:
        return 0.0
    groups = [np.asarray(values, dtype=float) for values in (first, second)]
    parts = [group.var(ddof=1) / len(group) for group in groups]
    freedom = sum(parts) ** 2 / sum(p**2 / (len(g) - 1) for p, g in zip(parts, groups, strict=True))
    return _noncentrality(freedom, confidence, power) * math.sqrt(sum(parts))


def _noncentrality(freedom: float, confidence: float, power: float) -> float:
    """The true mean, in standard errors, at which t exceeds its critical value with probability `power`."""
    critical = _quantile(confidence, freedom)
    return float(optimize.brentq(lambda mean: stats.nct.sf(critical, freedom, mean) - power, 0, 50 * critical))


def _quantile(confidence: float, freedom: float) -> float:
    """Two-sided quantile of Student's t."""
    return float(stats.t.ppf(0.5 + confidence / 2, freedom))


def _around(estimate: float, half: float, n: tuple[int, ...], kind: str) -> Interval:
    """The symmetric interval around an estimate."""
    return Interval(float(estimate), float(estimate - half), float(estimate + half), n, kind)
