"""The chart with a switch, epochs or updates: its data and its place in a page. `static/chart.js` draws it."""

import json
import math

import pandas as pd
from markupsafe import Markup

from gbnlib import analysis
from gbnlib.report.answer import REMEDIES

#: What is drawn before the reader chooses: these methods, and the largest batch.
_SHOWN = ("SB", "LB+LR+GBN+RA")


def curves(history: pd.DataFrame) -> list[dict]:
    """The mean curves of a history, each with its label, whether it is shown at first, and its columns as lists."""
    table = analysis.mean_error_curves(history)
    largest = table.batch_size.max() if len(table) else 0
    groups = table.groupby(["method", "batch_size"], sort=False)
    found = []
    for (method, batch_size), curve in groups:
        columns = {name: [_rounded(value) for value in curve[name]] for name in ("error", "low", "high")}
        columns |= {"epochs": curve.epoch.astype(int).tolist(), "updates": curve["update"].astype(int).tolist()}
        label = f"batch {batch_size:,} {REMEDIES.get(method, '')}".rstrip()
        shown = bool(len(groups) == 1 or method in _SHOWN or (method == "LB" and batch_size == largest))
        kind = {"batch": int(batch_size), "method": method, "label": label, "n": int(curve.n.iloc[0]), "shown": shown}
        found.append(kind | columns)
    return sorted(found, key=lambda curve: (curve["batch"], curve["method"]))


def _rounded(value: float) -> float | None:
    """Two digits are what a reader can see; JSON has no NaN."""
    return None if math.isnan(value) else round(value, 2)


def chart(history: pd.DataFrame, otherwise: Markup) -> Markup:
    """The figure of a page: the data, and what a reader without JavaScript gets; empty without runs."""
    found = curves(history)
    if not found:
        return Markup("")
    data = json.dumps(found, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    form = Markup('<figure class="chart"><script type="application/json">{}</script><noscript>{}</noscript></figure>')
    return form.format(Markup(data), otherwise)
