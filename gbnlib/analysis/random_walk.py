"""What walks on random potentials say: exponents and the law of Sinai's walk, with intervals, beside the theory."""

import numpy as np
import pandas as pd

from gbnlib.analysis import stats
from gbnlib.analysis.stats import Interval
from gbnlib.measurements.random_walk import SINAI_MEAN_SQUARE

#: Exponents are fitted over the last octaves of distance, where theory, which is about long times, has a chance.
OCTAVES = 8
#: Sinai's walk is fitted from this number of steps on.
FIRST_STEPS = 1024


def compare_with_theory(passages: pd.DataFrame, walks: pd.DataFrame, valleys: pd.DataFrame) -> pd.DataFrame:
    """What theory says and what came out, one row a quantity, with its 95 % interval and what it rests on.

    A frame that is empty, since it is not measured yet, has no rows.
    """
    rows = _growth_rows(passages) if len(passages) else []
    if len(walks):
        growth = sinai_growth(walks)
        rows.append(_row("Sinai's walk: growth of (E[x²])^(1/4) with log t", SINAI_MEAN_SQUARE**0.25, growth))
    for depth, part in valleys.groupby("depth") if len(valleys) else ():
        interval = stats.bootstrap((part.x / depth**2) ** 2, seed=0)
        rows.append(_row(f"Sinai's valleys: E[(x / L²)²] at L = log t = {depth:g}", SINAI_MEAN_SQUARE, interval))
    return pd.DataFrame(rows)


def _growth_rows(passages: pd.DataFrame) -> list[dict]:
    """Exponents of distance against log t, and of barriers against distance."""
    rows = []
    for (alpha, roughness), part in passages.groupby(["alpha", "roughness"]):
        named = f"α = {alpha:g}, roughness {roughness:g}"
        time = exponent(part, "log_time")
        inverse = Interval(1 / time.estimate, 1 / time.high, 1 / time.low, time.n, time.kind)
        rows.append(_row(f"distance ~ (log t)^p: p, {named}", 2 / alpha, inverse))
    for alpha, part in passages[passages.roughness == passages.roughness.min()].groupby("alpha"):
        rows.append(_row(f"barriers ~ distance^q: q, α = {alpha:g}", alpha / 2, exponent(part, "climb")))
    return rows


def exponent(part: pd.DataFrame, column: str) -> Interval:
    """The power of the distance that a column grows with: the mean over environments of each one's slope."""
    last = part[part.distance >= part.distance.max() / 2**OCTAVES]
    wide = last.pivot(index="environment", columns="distance", values=column)
    slopes = np.polyfit(np.log(wide.columns.to_numpy(dtype=float)), np.log(wide.to_numpy()).T, 1)[0]
    return stats.mean(slopes)


def sinai_growth(walks: pd.DataFrame) -> Interval:
    """Slope of √r (E[x²])^(1/4) against log t for α = 1 and roughness r, bootstrapped over environments.

    The law says that r² x / (log t)² has a limit distribution; the slope forgives the time that it takes to set in.
    """
    sinai = walks[(walks.alpha == 1) & (walks.steps >= FIRST_STEPS)]
    wide = sinai.pivot(index="environment", columns="steps", values="mean_square")
    time, roughness = np.log(wide.columns.to_numpy(dtype=float)), sinai.roughness.iloc[0]

    def slope(rows: np.ndarray) -> float:
        return np.polyfit(time, (roughness**2 * rows.mean(axis=0)) ** 0.25, 1)[0]

    return stats.bootstrap(wide.to_numpy(), slope, seed=0)


def _row(quantity: str, theory: float, interval: Interval) -> dict:
    within = "yes" if interval.low <= theory <= interval.high else "no"
    here = {**interval.named("here"), "interval": interval.kind}
    return {"quantity": quantity, "theory": theory, **here, "theory inside": within}


def field_growth(walks: pd.DataFrame) -> pd.DataFrame:
    """How distance grows on the random field over the second half of log t, one row an alpha.

    `per e-fold` is the slope of the distance against log t, `power` that of its logarithm, each with its 95 % t
    interval over walkers; `R²` says how straight the mean distance is in either picture.
    """
    rows = []
    for alpha, part in walks.groupby("alpha") if len(walks) else ():
        late = part[part.steps >= part.steps.max() ** 0.5]
        wide = late.pivot(index="walker", columns="steps", values="distance")
        time, mean = np.log(wide.columns.to_numpy(dtype=float)), wide.mean().to_numpy()
        slopes = np.polyfit(time, wide.to_numpy().T, 1)[0]
        powers = np.polyfit(time, np.log(wide.to_numpy()).T, 1)[0]
        straight = {"R² in log t": _straightness(time, mean), "R² as a power": _straightness(time, np.log(mean))}
        told = {name: stats.mean(values).text(digits=3) for name, values in (("per e-fold", slopes), ("power", powers))}
        rows.append({"α": alpha, "distance from": mean[0], "to": mean[-1], **told, **straight})
    return pd.DataFrame(rows)


def _straightness(x: np.ndarray, y: np.ndarray) -> float:
    """Squared correlation."""
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def ballistic_speed(roughness: float) -> float:
    """Root mean square speed on V(x) = ξ x, ξ ~ N(0, roughness²): a walker drifts downhill at tanh(|ξ| / 2).

    This line is all that the condition with α = 2 leaves in one dimension: it has no barriers.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    return float(np.sqrt((weights * np.tanh(roughness * nodes / 2) ** 2).sum() / weights.sum()))
