"""Intervals against scipy, and their coverage by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from gbnlib.analysis import (
    bootstrap,
    difference,
    mean,
    smallest_detectable_difference,
)

values = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=8, unique=True)


@given(values)
def test_the_mean_has_students_interval(sample) -> None:
    interval = mean(sample)
    expected = scipy_stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))
    assert interval.estimate == pytest.approx(np.mean(sample)) and interval.n == (len(sample),)


@given(values, values)
def test_the_difference_has_welchs_interval(first, second) -> None:
    interval = difference(first, second)
    expected = scipy_stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), rel=1e-6, abs=1e-9)
    assert interval.n == (len(first), len(second))


@pytest.mark.parametrize(
    ("interval", "n"),
    [(mean([]), (0,)), (mean([1.0]), (1,)), (difference([1.0], [2.0, 3.0]), (1, 2))],
)
def test_too_few_values_give_no_interval(interval, n) -> None:
    assert math.isnan(interval.low) and interval.n == n
    assert not interval.above(0) and not interval.below(0)
    assert ("no estimate" if math.isnan(interval.estimate) else "no interval") in interval.text()


def test_equal_values_give_an_interval_of_no_length() -> None:
    assert (difference([1, 1], [0, 0]).low, difference([1, 1], [0, 0]).high) == (1, 1)


def test_an_interval_reads_as_a_sentence_part() -> None:
    assert mean([1.0, 2.0, 3.0]).text("points", sign=True) == "+2.00 points [−0.48, +4.48] (n = 3)"


@pytest.mark.parametrize("n", [3, 5])
def test_intervals_cover_the_truth_as_often_as_they_say(n: int) -> None:
    """2,000 samples: the share covered lies within 2 points of 95 % (its standard error is 0.5)."""
    chance = np.random.default_rng(0)
    samples = chance.normal(1.0, 2.0, size=(2000, 2, n))
    means = [mean(pair[0]) for pair in samples]
    differences = [difference(pair[0], 3 * pair[1]) for pair in samples]
    assert abs(np.mean([each.low <= 1 <= each.high for each in means]) - 0.95) < 0.02
    assert abs(np.mean([each.low <= -2 <= each.high for each in differences]) - 0.95) < 0.025


@pytest.mark.parametrize(("n", "effect"), [(26, 0.8), (64, 0.5)])
def test_the_smallest_detectable_difference_is_cohens(n: int, effect: float) -> None:
    """Textbook values of the two-sample t test at 5 %, power 0.8: 0.8 sd takes 26 a group, 0.5 sd takes 64."""
    group = np.resize([-1.0, 1.0], n)
    assert smallest_detectable_difference(group, group) / group.std(ddof=1) == pytest.approx(effect, abs=0.01)


def test_the_smallest_detectable_difference_is_detected_in_four_of_five() -> None:
    """With equal spreads the estimate of the power is exact up to the pooled degrees of freedom."""
    base = np.array([-1.0, 0.0, 1.0, -0.5, 0.5])
    shift = smallest_detectable_difference(base, base)
    spread, chance = base.std(ddof=1), np.random.default_rng(0)
    first = chance.normal(shift, spread, size=(1500, 5))
    second = chance.normal(0.0, spread, size=(1500, 5))
    found = [difference(a, b).above(0) for a, b in zip(first, second, strict=True)]
    assert abs(np.mean(found) - 0.8) < 0.05


def test_two_calls_agree() -> None:
    assert mean([1.0, 2.5, 3.0]) == mean([1.0, 2.5, 3.0])
    sample = np.random.default_rng(0).normal(size=12)
    assert bootstrap(sample, seed=3) == bootstrap(sample, seed=3) != bootstrap(sample, seed=4)


def test_the_bootstrap_resamples_rows() -> None:
    """A ratio of column means of 40 rows is near 2 with a true spread; a constant ratio has none."""
    chance = np.random.default_rng(1)
    x = chance.uniform(1, 2, size=40)
    exact = bootstrap(np.column_stack([2 * x + chance.normal(0, 1e-9, 40), x]), _ratio, seed=0)
    assert exact.low == pytest.approx(2, abs=1e-6) and exact.high == pytest.approx(2, abs=1e-6)
    noisy = bootstrap(np.column_stack([2 * x + chance.normal(0, 0.5, 40), x]), _ratio, seed=0)
    assert noisy.low < 2 < noisy.high and noisy.n == (40,) and noisy.kind == "bootstrap"


def _ratio(rows: np.ndarray) -> float:
    """Ratio of the means of two columns."""
    return rows[:, 0].mean() / rows[:, 1].mean()


def test_no_bootstrap_under_ten_values() -> None:
    few = bootstrap(np.arange(9.0), seed=0)
    assert few.estimate == 4 and math.isnan(few.low) and "no interval" in few.text()
    assert not math.isnan(bootstrap(np.arange(10.0), seed=0).low)


@pytest.mark.parametrize(("n", "least"), [(10, 0.87), (30, 0.92)])
def test_the_bootstrap_covers_the_truth_nearly_as_often_as_it_says(n: int, least: float) -> None:
    """300 samples, a standard error of 1.3 points: a bootstrap of few values is known to fall short of 95 %."""
    samples = np.random.default_rng(2).normal(1.0, 2.0, size=(300, n))
    found = [bootstrap(sample, seed=0, resamples=300) for sample in samples]
    assert least <= np.mean([each.low <= 1 <= each.high for each in found]) <= 0.98
