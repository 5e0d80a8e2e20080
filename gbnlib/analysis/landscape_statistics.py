"""What the loss around the initial weights says: exponents with intervals, the paper's points, the verdict on C5."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gbnlib import data, paper
from gbnlib.analysis import stats
from gbnlib.analysis.judges import INCONCLUSIVE, NOT, NOT_TESTED, REPRODUCED
from gbnlib.analysis.stats import Interval
from gbnlib.analysis.verdicts import Verdict

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
    return stats.mean([slope for slope in slopes if np.isfinite(slope)], paper.confidence())


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
    return stats.mean(slopes, paper.confidence())


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
            "α from E[(L(w) − L(w₀))²]": (2.0, _times(exponent(landscape, "rms"), 2)),
            "1000 × slope (here through the origin)": (1000 * published_slope(), _times(per_unit(landscape), 1000)),
            "1000 × ‖∇L(w₀)‖ / √n": (np.nan, stats.mean(1000 * start.slope.dropna(), paper.confidence())),
            "‖w₀‖, all parameters": (np.nan, stats.mean(start.norm, paper.confidence())),
        }
        for quantity, (published, found) in quantities.items():
            ends = {"here": found.estimate, "low": found.low, "high": found.high, "n": found.n[0]}
            row = {"network": LABELS[network], "quantity": quantity, "paper": published, **ends}
            rows.append(row | {"difference": found.estimate - published})
    return pd.DataFrame(rows)


def _times(interval: Interval, factor: float) -> Interval:
    """An interval of a positive multiple."""
    return Interval(
        factor * interval.estimate, factor * interval.low, factor * interval.high, interval.n, interval.kind
    )


def compare_paths(landscapes: Mapping[str, pd.DataFrame], trajectories: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """α along random directions and along the trajectory of training, over the paper's distances; a row a network.

    Places whose difference lies below the noise are left out here.
    """
    rows = []
    for network, label in LABELS.items():
        for path, frames in (("random directions", landscapes), ("trajectory", trajectories)):
            frame = frames.get(network, pd.DataFrame())
            if len(frame):
                found = _times(exponent(frame.dropna(subset="rms"), "rms"), 2)  # a square goes like d^α
                ends = {"α": found.estimate, "low": found.low, "high": found.high, "n": found.n[0]}
                rows.append({"network": label, "path": path, **ends})
    return pd.DataFrame(rows)


def passed_within(trajectory: pd.DataFrame) -> float:
    """Mean over seeds of the first recorded update that is farther away than the paper's figure reaches."""
    beyond = trajectory[trajectory.distance > paper.published("figure4")["distance"][-1]]
    return float(beyond.groupby("seed")["update"].min().mean())


def _beside(trajectory: pd.DataFrame, null: pd.DataFrame) -> str:
    """What the exponent stands beside: how soon training is past these distances, and a task without a pattern."""
    told = ""
    if len(trajectory) and np.isfinite(update := passed_within(trajectory)):
        told += f"; training is past these distances after {update:.0f} updates"
    if len(null):
        told += f"; with shuffled labels the exponent is {exponent(null).text()}"
    return told


def judge_spread(
    landscape: pd.DataFrame,
    network: str,
    dataset: str,
    scale: str,
    *,
    trajectory: pd.DataFrame | None = None,
    null: pd.DataFrame | None = None,
) -> Verdict:
    """The verdict on C5 for one network, from its landscape along random directions.

    `trajectory`, that of its training, and `null`, a landscape with shuffled labels, are told beside it.
    """
    fact = paper.claims()["C5"]
    decision, evidence, n = NOT_TESTED, "nothing was measured", 0
    if len(landscape):
        found, slope = exponent(landscape), per_unit(landscape)
        decision, n = _decide(found, fact.margin), found.n[0]
        gradient = stats.mean(1000 * landscape.drop_duplicates("seed").slope.dropna(), paper.confidence())
        evidence = (
            f"exponent {found.text()}, where 1 ± {fact.margin} counts as linear; a thousand times the slope per unit "
            f"distance {_times(slope, 1000).text()}, and {gradient.text()} by the gradient at the initial point alone"
        )
        evidence += _beside(*(pd.DataFrame() if frame is None else frame for frame in (trajectory, null)))
        lost = landscape.seed.nunique() - n
        if lost:
            evidence += f"; of {lost} seed{'s' * (lost > 1)} an estimate lies below the noise"
        if n < paper.minimum_seeds():
            evidence += f"; a verdict takes at least {paper.minimum_seeds()} seeds"
    return Verdict(
        claim="C5",
        statement=fact.statement,
        verdict=decision,
        scale=scale,
        item="figure4",
        network=network,
        network_label=LABELS[network],
        dataset=dataset,
        dataset_label=data.card(dataset).label,
        criterion=fact.criterion,
        evidence=evidence,
        n=n,
        published=fact.published,
        tag=fact.tag,
    )


def _decide(found: Interval, margin: float) -> str:
    """Whether the exponent is one within a margin, by its interval."""
    if found.n[0] < paper.minimum_seeds():
        return INCONCLUSIVE
    if found.above(1 - margin) and found.below(1 + margin):
        return REPRODUCED
    return NOT if found.above(1 + margin) or found.below(1 - margin) else INCONCLUSIVE
