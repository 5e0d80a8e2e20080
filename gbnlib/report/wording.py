"""How a notebook words its results: a tally, a table's cell, what a figure averages, a verdict."""

from collections.abc import Sequence

import pandas as pd

from gbnlib import claims, experiments, measurements, paper


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


def averaged(runs: pd.DataFrame) -> str:
    """What a figure of some runs or measurements draws of their seeds, as a sentence of its caption."""
    if runs.empty:
        return "Nothing is finished at this scale."
    keys = [key for key in ("network", "method", "batch_size") if key in runs]
    counts = runs.groupby(keys).seed.nunique() if keys else pd.Series([runs.seed.nunique()])
    low, high = int(counts.min()), int(counts.max())
    if high < paper.minimum_seeds():
        return f"Every run is drawn ({high} seed{'s' * (high > 1)})."
    seeds = f"{low}" if low == high else f"{low} to {high}"
    few = "" if low >= paper.minimum_seeds() else f"; every run where there are under {paper.minimum_seeds()}"
    return f"Means over {seeds} seeds with {100 * paper.confidence():.0f} % t intervals{few}."


def verdict_card(verdict: claims.Verdict) -> str:
    """A verdict as a card in Markdown."""
    where = f"{verdict.network_label} on {verdict.dataset_label}, scale {verdict.scale}"
    lines = [
        f"> **{verdict.claim}: {verdict.verdict}** ({where})",
        f"> {verdict.statement}{verdict.caveat}.",
        f"> *Evidence.* {verdict.evidence}.",
        f"> *Criterion.* {verdict.criterion}",
        f"> *In the paper* [{verdict.tag}]: {verdict.published}.",
    ]
    return "  \n".join(lines)
