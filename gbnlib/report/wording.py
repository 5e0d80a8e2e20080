"""How a notebook words its results: a tally, a table's cell, a verdict."""

from collections.abc import Sequence

import pandas as pd

from gbnlib import analysis, experiments
from gbnlib.experiments import measurements


def tally(made: Sequence[experiments.Run | measurements.Measurement], planned: int) -> str:
    """How many of the planned ones are made, and where they come from."""
    origins = pd.Series([each.origin for each in made]).value_counts()
    told = ", ".join(f"{count} {origin}" for origin, count in origins.items())
    return f"{len(made)} of {planned} ({told or 'none'})"


def cell(value: object, digits: int) -> str:
    """A value as a table shows it: a missing number is a dash."""
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.{digits}f}"
    return str(value)


def verdict_card(verdict: analysis.Verdict) -> str:
    """A verdict as a card in Markdown."""
    where = f"{verdict.network_label} on {verdict.dataset_label}, scale {verdict.scale}"
    lines = [
        f"> **{verdict.claim}: {verdict.verdict}** ({where})",
        f"> {verdict.statement}.",
        f"> *Evidence.* {verdict.evidence}.",
        f"> *Criterion.* {verdict.criterion}",
        f"> *In the paper* [{verdict.tag}]: {verdict.published}.",
    ]
    return "  \n".join(lines)
