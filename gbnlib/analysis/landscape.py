"""What the loss around the initial weights says: exponents with intervals, and the paper's points."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gbnlib import paper
from gbnlib.analysis import stats
from gbnlib.analysis.stats import Interval

#: Labels of the networks that Figure 4 is measured on.
LABELS = {"f1": "F1", "resnet8": "ResNet8", "resnet44": "ResNet44"}


def exponent(landscape: pd.DataFrame, column: str = "sd") -> Interval:
    """The power of the distance that a column grows with, over the distances of the paper's figure.

    The mean over seeds of each seed's slope in logarithms, with its t interval. A seed with an estimate below the noise
    in that range has none.
    """
    distances = paper.published("figure4")["distance"]
    used = landscape[landscape.distance.between(distances[1], distances[-1])]
    slopes = [_slope(part.distance, part[column]) for _, part in used.groupby("seed")]
    return stats.mean([slope for slope in slopes if np.isfinite(slope)])


def last_exponent(landscape: pd.DataFrame) -> Interval:
    """The power of the distance that the standard deviation grows with between the two largest of those distances."""
    reach = paper.published("figure4")["distance"][-1]
    last = landscape.distance[landscape.distance <= reach].drop_duplicates().nlargest(2)
    return exponent(landscape[landscape.distance.isin(last)])


def _slope(distance: pd.Series, values: pd.Series) -> float:
    """Slope in logarithms; NaN where a value is missing or there are fewer than two."""
    if len(values) < 2 or not (values > 0).all():
        return np.nan
    return float(np.polyfit(np.log(distance), np.log(values), 1)[0])


def per_unit(landscape: pd.DataFrame) -> Interval:
    """Slope of the standard deviation against the distance through the origin, over the paper's distances."""
    distances = paper.published("figure4")["distance"]
    used = landscape[landscape.distance.between(distances[1], distances[-1])].dropna(subset="sd")
    slopes = [(part.sd * part.distance).sum() / (part.distance**2).sum() for _, part in used.groupby("seed")]
    return stats.mean(slopes)


def published_slope() -> float:
    """Slope of the least-squares line through the paper's digitised points."""
    points = paper.published("figure4")
    return float(np.polyfit(points["distance"], points["sd"], 1)[0])


def compare_with_figure4(landscapes: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Paper and reproduction, a row a quantity and network: what `landscapes` say, by name of the network."""
    rows = []
    for network, landscape in landscapes.items():
        if landscape.empty:
            continue
        start = landscape.drop_duplicates("seed")
        quantities = {
            "exponent of the standard deviation": (1.0, exponent(landscape)),
            "α from E[(L(w) − L(w₀))²]": (2.0, exponent(landscape, "rms").times(2)),
            "1000 × slope (here through the origin)": (1000 * published_slope(), per_unit(landscape).times(1000)),
            "1000 × ‖∇L(w₀)‖ / √n": (np.nan, stats.mean(1000 * start.slope.dropna())),
            "‖w₀‖, all parameters": (np.nan, stats.mean(start.norm)),
        }
        for quantity, (published, found) in quantities.items():
            row = {"network": LABELS[network], "quantity": quantity, "paper": published, **found.named("here")}
            rows.append(row | {"difference": found.estimate - published})
    return pd.DataFrame(rows)


def compare_paths(
    landscapes: Mapping[str, pd.DataFrame],
    trajectories: Mapping[str, pd.DataFrame],
    structures: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """α along random directions and along the training, over the paper's distances, and between places of the training.

    A row a network and path. Places whose difference lies below the noise are left out of the first two.
    """
    rows = []
    for network, label in LABELS.items():
        for path, frames in (("random directions", landscapes), ("trajectory", trajectories)):
            frame = frames.get(network, pd.DataFrame())
            if len(frame):
                found = exponent(frame.dropna(subset="rms"), "rms").times(2)  # a square goes like d^α
                rows.append({"network": label, "path": path, **found.named("α")})
        if len(structure := structures.get(network, pd.DataFrame())):
            found = structure_exponent(structure)
            rows.append({"network": label, "path": "between places of the training", **found.named("α")})
    return pd.DataFrame(rows)


#: Lags are used up to this share of the longest, where many pairs are left.
SHORT_LAGS = 0.25


def structure_exponent(structure: pd.DataFrame) -> Interval:
    """α of the structure function along a training, variance of the loss's difference ∝ distance^α, over short lags.

    The mean over seeds with its t interval; a seed with an estimate below the noise there has none.
    """
    used = structure[structure.lag <= SHORT_LAGS * structure.lag.max()]
    slopes = [_slope(part.distance, part.square) for _, part in used.groupby("seed")]
    return stats.mean([slope for slope in slopes if np.isfinite(slope)])


def passed_within(trajectory: pd.DataFrame) -> float:
    """Mean over seeds of the first recorded update that is farther away than the paper's figure reaches."""
    beyond = trajectory[trajectory.distance > paper.published("figure4")["distance"][-1]]
    return float(beyond.groupby("seed")["update"].min().mean())
