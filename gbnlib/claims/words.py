"""What the evidence of a decision says beside the interval that decides."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from gbnlib import data
from gbnlib.analysis import stats
from gbnlib.analysis.outcomes import accuracies, compare_training, published_accuracies
from gbnlib.analysis.stats import Interval
from gbnlib.claims.decision import INCONCLUSIVE


def told_gap(gap: Interval) -> str:
    """The gap in words, and what follows where there is none."""
    shown = "" if gap.above(0) else ", not shown to be above zero, which the criterion asks for first"
    return f"gap SB − LB: {gap.text('points', sign=True)}{shown}"


def detectable(verdict: str, first: Sequence[float], second: Sequence[float]) -> str:
    """The words on the smallest difference that as many seeds could have shown, where nothing was decided."""
    size = stats.smallest_detectable_difference(first, second)
    if verdict != INCONCLUSIVE or math.isnan(size):
        return ""
    return f"; smallest detectable difference: {size:.2f} points"


def too_small(history: pd.DataFrame, better: str, worse: str, margin: float) -> str:
    """The words on a published difference that as many seeds as here cannot tell from `-margin`, the one allowed."""
    true = published_gain(history, better, worse)
    found = [accuracies(history, method) for method in (better, worse)]
    if true is None or min(map(len, found)) < 2:
        return ""
    needed = stats.seeds_needed(*found, true + margin) if true + margin > 0 else 0
    if needed <= 4 * len(found[0]):
        return ""
    return f"; not testable on this row: the paper's {true:+.2f} points would take about {needed} seeds a method"


def published_gain(history: pd.DataFrame, better: str, worse: str) -> float | None:
    """What the paper's Table 1 has for one method over another, in points; None for a network that is not in it."""
    published = published_accuracies(history.network.iloc[0])
    return published[better] - published[worse] if published else None


def told_training(history: pd.DataFrame, batch_size: int) -> str:
    """The words on the training error of a batch size over SB's; empty where one of them has no finished run."""
    rows = compare_training(history, "batch_size").to_dict("records")
    told = {row["batch size"]: row.get("training: over SB's") for row in rows}.get(batch_size)
    return f"; training error at {batch_size} minus SB's: {told}" if isinstance(told, str) else ""


def told_precisions(history: pd.DataFrame, *methods: str) -> str:
    """The words on which of some methods were computed in another precision than float32; empty where none was."""
    other = history[history.method.isin(methods) & (history.precision != "fp32")]
    return "".join(f"; {method} computed in {name}" for (method, name), _ in other.groupby(["method", "precision"]))


def test_images(history: pd.DataFrame, accuracy: Sequence[float]) -> str:
    """The standard error that the choice of test images alone gives an accuracy in %, in words."""
    share, images = np.mean(accuracy) / 100, data.card(history.dataset.iloc[0]).validation
    return f"standard error of {images:,} test images: {100 * math.sqrt(share * (1 - share) / images):.2f} points"
