"""How a notebook words its results: a tally, a table's cell, what a figure averages, a verdict."""

from collections.abc import Sequence

import pandas as pd
from scipy import stats

from gbnlib import analysis, claims, experiments, measurements, paper
from gbnlib.claims.decision import NOT, PARTLY, REPRODUCED


def tally(made: Sequence[experiments.Run | measurements.Measurement], planned: int) -> str:
    """How many of the planned ones are made, and where they come from."""
    origins = pd.Series([each.origin for each in made]).value_counts()
    told = ", ".join(f"{count} {origin}" for origin, count in origins.items())
    return f"{len(made)} of {planned} ({told or 'none'})"


def cell(value: object, digits: int) -> str:
    """A value as a table shows it: a missing number is a dash, a negative one has a minus sign."""
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.{digits}f}".replace("-", "−")
    return str(value)


def averaged(runs: pd.DataFrame, *, means: bool = True) -> str:
    """What a figure of some runs or measurements draws of their seeds, as a sentence of its caption."""
    if "seed" not in runs:
        return ""
    keys = [key for key in ("network", "method", "batch_size") if key in runs]
    counts = runs.groupby(keys).seed.nunique() if keys else pd.Series([runs.seed.nunique()])
    low, high = int(counts.min()), int(counts.max())
    if high < paper.minimum_seeds() or not means:
        return f"Every run is drawn ({high} seed{'s' * (high > 1)})."
    seeds = f"{low}" if low == high else f"{low} to {high}"
    few = "" if low >= paper.minimum_seeds() else f"; every run where there are under {paper.minimum_seeds()}"
    return f"Means over {seeds} seeds with {100 * paper.confidence():.0f} % t intervals{few}."


def number(effect: claims.Effect, *, sign: bool = True) -> str:
    """An effect with its unit and its interval, as text."""
    form = f"{'+' if sign else ''}.2f" if abs(effect.estimate) >= 0.005 else ".2g"
    ends = "" if effect.low is None else f" [{effect.low:{form}}, {effect.high:{form}}]"
    return f"{effect.estimate:{form}} {effect.unit}".rstrip().replace("-", "−") + ends.replace("-", "−")


def finding(verdict: claims.Verdict) -> str:
    """A tested verdict as the title of a figure: what was found of the claim, and the number that decides."""
    fact = paper.all_claims()[verdict.claim]
    said = {REPRODUCED: fact.title, PARTLY: f"{fact.title}, in part", NOT: fact.otherwise}
    words = said.get(verdict.verdict, f"Undecided: {fact.title[0].lower()}{fact.title[1:]}?")
    return f"{words} ({verdict.effect.what}: {number(verdict.effect)})" if verdict.effect else words


def rises(history: pd.DataFrame) -> str:
    """From how many batch sizes to the next the mean final error rises, as a title."""
    means = analysis.outcomes(history).groupby("batch_size").final_error.mean()
    up = int((means.diff() > 0).sum())
    sizes = f"from batch {means.index[0]:,} to {means.index[-1]:,}"
    return f"Mean final error rises in {up} of {len(means) - 1} step{'s' * (len(means) > 2)} {sizes}"


def decided(effects: pd.DataFrame, over: str) -> str:
    """In how many protocols a method is above what it is compared with, and below, as a title."""
    told = [
        f"{method} lies above {over} in {(rows.decided & (rows.estimate > 0)).sum()} of {len(rows)} protocols, "
        f"below in {(rows.decided & (rows.estimate < 0)).sum()}"
        for method, rows in effects[effects.over == over].groupby("method", sort=False)
    ]
    return "; ".join(told)


def noise_falls(scatter: pd.DataFrame) -> str:
    """By what factor the noise of ghosts falls from the smallest to the largest, as a title."""
    means = scatter.groupby("ghost_size").sd.mean()
    smallest, largest = means.index.min(), means.index.max()
    factor = means[smallest] / means[largest]
    return f"From ghosts of {smallest} to ghosts of {largest} the noise falls by a factor of {factor:.1f}"


def takes(costs: pd.DataFrame) -> str:
    """What ghost layers and a loop over ghosts take over plain layers, as a title."""
    loop, ghost = stats.gmean(costs.loop), stats.gmean(costs.ghost)
    return f"Ghost layers take {ghost:.2f} times what plain layers do, a loop over ghosts {loop:.2f} times"


def near_theory(table: pd.DataFrame) -> str:
    """How near the exponents of log t are to those of the theory, as a title."""
    powers = table[table.quantity.str.startswith("distance ~ (log t)^p")]
    off = (powers.here / powers.theory - 1).abs().max()
    return f"Distance grows like a power of log t: exponents within {off:.0%} of the theory's"


def better_fits(growth: pd.DataFrame) -> str:
    """Which of a logarithm and a power of time fits each field better, as a title."""
    by_log = growth["R² in log t"] > growth["R² as a power"]
    fits = [f"α = {a}: {'log t' if log else 'a power of t'}" for a, log in zip(growth["α"], by_log, strict=True)]
    return f"What fits the distance better, {'; '.join(fits)}"
