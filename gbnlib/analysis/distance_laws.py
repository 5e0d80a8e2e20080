"""Laws of the distance from the start against the update, fitted without its beginning, where every law fails."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize

#: Share of the phase that a fit leaves out at its beginning, and points that a fit needs.
SKIPPED_SHARE = 0.1
FEWEST_POINTS = 4


@dataclass(frozen=True)
class Law:
    """A law a + b f(t; shape), with an offset a that takes up what happens before the fitted range.

    `term` gives f for updates (n,) and a shape; `bounds` say where to seek the shape, for a range of updates.
    """

    formula: str
    term: Callable[[np.ndarray, float], np.ndarray]
    bounds: Callable[[np.ndarray], tuple[float, float]] | None = None


def _box_cox(t: np.ndarray, exponent: float) -> np.ndarray:
    """(t^λ − 1) / λ, which goes to log t for λ → 0."""
    return np.log(t) if abs(exponent) < 1e-6 else np.expm1(exponent * np.log(t)) / exponent


LAWS = {
    "logarithm": Law("a + b log t", lambda t, _: np.log(t)),
    "quarter power": Law("a + b t^¼", lambda t, _: t**0.25),
    "saturation": Law(  # its shape is log c, for c is sought over some orders of magnitude
        "a + b (1 − exp(−c t))",
        lambda t, log_c: -np.expm1(-np.exp(log_c) * t),
        lambda t: (np.log(0.01 / t.max()), np.log(10 / t.min())),
    ),
}
#: The family that holds the logarithm, λ = 0, and all powers.
BOX_COX = Law("a + b (t^λ − 1) / λ", _box_cox, lambda t: (-2.0, 2.0))


@dataclass(frozen=True)
class Fit:
    """A fitted law a + b f(t; shape), and the share of the variance that it explains."""

    law: Law
    a: float
    b: float
    shape: float
    r2: float

    def __call__(self, updates: np.ndarray) -> np.ndarray:
        """The law at some updates, (n,)."""
        return self.a + self.b * self.law.term(np.asarray(updates, dtype=float), self.shape)


def fit(law: Law, inside: pd.DataFrame, which: str) -> Fit:
    """Fit a law to some rows of a curve by least squares."""
    t, d = inside["update"].to_numpy(dtype=float), inside[which].to_numpy(dtype=float)
    shape = 0.0
    if law.bounds is not None:
        found = optimize.minimize_scalar(lambda x: _solve(law, t, d, x)[1], bounds=law.bounds(t), method="bounded")
        shape = float(found.x)
    (a, b), rss = _solve(law, t, d, shape)
    return Fit(law, float(a), float(b), shape, float(1 - rss / ((d - d.mean()) ** 2).sum()))


def _solve(law: Law, t: np.ndarray, d: np.ndarray, shape: float) -> tuple[np.ndarray, float]:
    """Best offset and factor for a shape, and their sum of squared residuals."""
    columns = np.stack([np.ones_like(t), law.term(t, shape)], axis=1)
    linear = np.linalg.lstsq(columns, d, rcond=None)[0]
    return linear, float(((d - columns @ linear) ** 2).sum())


def fit_laws(curve: pd.DataFrame, which: str, last: int = 0) -> dict[str, Fit]:
    """All laws fitted to one curve, from `SKIPPED_SHARE` of the range to its end; empty for too few points.

    The range is the whole phase, or ends at the update `last`.
    """
    if not long_enough(curve, last):
        return {}
    inside = fitted_range(curve, last)
    return {name: fit(law, inside, which) for name, law in LAWS.items()}


def fitted_range(curve: pd.DataFrame, last: int = 0, skipped: float = SKIPPED_SHARE) -> pd.DataFrame:
    """The rows of a curve that are fitted."""
    end = last or curve.end.max()
    return curve[(curve["update"] >= skipped * end) & (curve["update"] <= end)]


def long_enough(curve: pd.DataFrame, last: int = 0) -> bool:
    """Whether a curve has the points that a fit needs, in each half of its range."""
    return min(len(half) for half in _halves(fitted_range(curve, last))) >= FEWEST_POINTS


def _halves(inside: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first and the later half of some rows on the logarithmic axis of updates."""
    updates = inside["update"]
    middle = np.sqrt(updates.min() * updates.max()) if len(inside) else 0
    return inside[updates <= middle], inside[updates > middle]


def exponent(curve: pd.DataFrame, which: str, skipped: float = SKIPPED_SHARE) -> float:
    """λ of a + b (t^λ − 1) / λ, without a share of the phase at its beginning: 0 is the logarithm, NaN few points."""
    inside = fitted_range(curve, skipped=skipped)
    if len(inside) < FEWEST_POINTS:
        return float("nan")
    return fit(BOX_COX, inside, which).shape


def prediction_error(curve: pd.DataFrame, which: str, law: str) -> float:
    """Root mean square error of a law over the later half of the range, fitted to the first; NaN for few points."""
    if not long_enough(curve):
        return float("nan")
    first, later = _halves(fitted_range(curve))
    fitted = fit(LAWS[law], first, which)
    return float(np.sqrt(np.mean((later[which] - fitted(later["update"].to_numpy())) ** 2)))


def rivals_error(curve: pd.DataFrame, which: str) -> float:
    """The better rival's prediction error over that of the logarithm: above 1 where the logarithm predicts best."""
    rivals = min(prediction_error(curve, which, law) for law in LAWS if law != "logarithm")
    return rivals / prediction_error(curve, which, "logarithm")
