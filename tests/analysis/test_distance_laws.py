"""Laws fitted to curves that were made by them."""

import math

import numpy as np
import pandas as pd
import pytest

from gbnlib.analysis import distance_laws

T = np.unique(np.round(np.logspace(0, 3, 40)))
TRUE = {
    "logarithm": (2 + 0.5 * np.log(T), (2.0, 0.5, 0.0)),
    "quarter power": (1 + 1.5 * T**0.25, (1.0, 1.5, 0.0)),
    "saturation": (3 + 7 * (1 - np.exp(-0.01 * T)), (3.0, 7.0, math.log(0.01))),
}


def rows(distance: np.ndarray) -> pd.DataFrame:
    """A curve with these distances at the updates `T`."""
    return pd.DataFrame({"update": T, "weights": distance})


@pytest.mark.parametrize("law", distance_laws.LAWS)
def test_a_fit_finds_the_parameters_that_made_the_curve(law: str) -> None:
    distance, parameters = TRUE[law]
    found = distance_laws.fit(distance_laws.LAWS[law], rows(distance), "weights")
    assert (found.a, found.b, found.shape) == pytest.approx(parameters, rel=1e-3, abs=1e-3)
    assert found.r2 == pytest.approx(1) and found(T) == pytest.approx(distance, rel=1e-3)


@pytest.mark.parametrize("rate", [1e-6, 1e-4])
def test_a_saturation_is_found_however_slow(rate: float) -> None:
    """Over long phases its rate lies far under the absolute tolerance that scipy has for a minimum."""
    updates = np.unique(np.round(np.logspace(3, 6, 40)))
    curve = pd.DataFrame({"update": updates, "weights": 3 - 7 * np.expm1(-rate * updates)})
    found = distance_laws.fit(distance_laws.LAWS["saturation"], curve, "weights")
    assert (found.b, np.exp(found.shape)) == pytest.approx((7, rate), rel=1e-3)


@pytest.mark.parametrize("power", [-0.5, 0.0, 0.25, 1.0])
def test_the_exponent_is_that_of_the_power_and_0_for_the_logarithm(power: float) -> None:
    distance = 5 + 2 * (np.log(T) if power == 0 else T**power / power)
    curve = rows(distance).assign(end=T[-1])
    assert distance_laws.exponent(curve, "weights") == pytest.approx(power, abs=1e-3)


@pytest.mark.parametrize("law", distance_laws.LAWS)
def test_the_law_that_made_a_noisy_curve_predicts_its_later_half_best(law: str) -> None:
    curve = rows(TRUE[law][0] + np.random.default_rng(0).normal(0, 0.003, len(T))).assign(end=T[-1])
    errors = {name: distance_laws.prediction_error(curve, "weights", name) for name in distance_laws.LAWS}
    assert min(errors, key=errors.__getitem__) == law
    assert (distance_laws.rivals_error(curve, "weights") > 1) == (law == "logarithm")


def test_the_prediction_error_is_that_of_the_later_half() -> None:
    """From 100 to 1,000 the half in log t is at 316: fitted to log t before, a + b log t is off by 2 behind."""
    t = np.array([1.0, 100, 150, 200, 300, 400, 500, 700, 1000])
    curve = pd.DataFrame({"update": t, "weights": np.where(t <= 316, np.log(t), np.log(t) + 2), "end": 1000})
    assert distance_laws.prediction_error(curve, "weights", "logarithm") == pytest.approx(2.0)
