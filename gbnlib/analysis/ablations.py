"""What changing one choice of the protocol does to the accuracy of a method."""

from collections.abc import Mapping, Sequence

import pandas as pd

from gbnlib import paper
from gbnlib.analysis import stats
from gbnlib.analysis.outcomes import accuracies, published_accuracies

#: What a method is compared with, as C6 and C7 do.
_BASES = {"LB+LR": ("LB",), "LB+LR+GBN": ("LB", "LB+LR")}
#: Ids of runs by network, name of the ablation and method.
Runs = Mapping[tuple[str, str, str], Sequence[str]]

#: The labels of the declared protocol and of the ablation of all its forgotten defaults.
_THEN, _TODAY = "the code of 2017", "as one would write it today"


def ablation_effects(declared: pd.DataFrame, changed: pd.DataFrame, runs: Runs) -> pd.DataFrame:
    """What each ablation changes, in points of final validation accuracy: a row a comparison.

    Parameters
    ----------
    declared, changed : tidy history frames of the declared protocol's runs and of the ablations'.
    runs : ids of the runs by (network, name of the ablation, method).

    Returns
    -------
    Columns method, changed, on (the protocol that is changed), `over` ("before": the same method without the change; or
    another method, with the choice changed for both where `runs` has it, else without), estimate, low, high (the Welch
    interval), n, `text`, and `decided`: whether the difference from zero survives Holm's correction for all comparisons
    of the same kind, "before" or others. Ablations without finished runs are left out.
    """
    rows = []
    for (network, name, method), ids in runs.items():
        ablation = next(each for each in paper.ablations(network) if each.name == name)
        found = _accuracies_of(changed, ids, method)
        for base in ("before", *_BASES.get(method, ())) if found else ():
            other = method if base == "before" else base
            same = name if (network, name, base) in runs else ablation.on
            ids_of_same = runs.get((network, same, other), ())
            against = _accuracies_of(changed, ids_of_same, other) if same else accuracies(declared, other)
            if against:
                rows.append(_effect(ablation, method, base, found, against))
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    level = 1 - paper.confidence()
    decided = table.p.groupby(table.over == "before").transform(lambda values: stats.holm(values.tolist(), level))
    return table.assign(decided=decided.astype(bool))


def declared_effects(declared: pd.DataFrame) -> pd.DataFrame:
    """The rows of `ablation_effects` for the declared protocol itself: what its methods have over those before them."""
    unchanged = paper.Ablation(name="declared", label=_THEN, why="", methods=(), changes={})
    found = {method: accuracies(declared, method) for method in ("LB", *_BASES)}
    rows = [
        _effect(unchanged, method, base, found[method], found[base])
        for method, bases in _BASES.items()
        for base in bases
        if found[method] and found[base]
    ]
    return pd.DataFrame(rows).assign(decided=lambda table: table.p < 1 - paper.confidence()) if rows else pd.DataFrame()


def compare_defaults(declared: pd.DataFrame, changed: pd.DataFrame, runs: Runs, network: str) -> pd.DataFrame:
    """Final accuracy in % by what is as in 2017 and what as today, beside the paper's: a row a combination.

    "√ base" is the batch that the rate of LB+LR refers to; a method that a combination was not run with is a dash.
    """
    theirs = published_accuracies(network)
    rows = [
        {"protocol": "the paper", **{method: f"{theirs[method]:.2f}" for method in _COMPARED}},
        {"protocol": _THEN, **{method: _told(accuracies(declared, method)) for method in _COMPARED}},
    ]
    for ablation in paper.ablations(network):
        if not ablation.on:
            label = ablation.label if ablation.name == "today" else f"2017, but {ablation.label}"
            ids = {method: runs.get((network, ablation.name, method), ()) for method in _COMPARED}
            own = {method: _told(_accuracies_of(changed, ids[method], method)) for method in _COMPARED}
            rows.append({"protocol": label, **own})
    return pd.DataFrame(rows)


_COMPARED = ("SB", "LB", "LB+LR", "LB+LR+GBN")


def _told(values: list[float]) -> str:
    """A mean with its interval, or a dash."""
    return stats.mean(values).text() if values else "–"


def defaults_sentence(effects: pd.DataFrame) -> str:
    """What the choices of 2017 do to C6 and to LB+LR itself, in two sentences; empty where runs are missing."""
    own = effects[(effects.method == "LB+LR") & (effects.on == "declared")] if len(effects) else effects
    over_lb, moved = (
        {row.changed: row.text for row in own.itertuples() if row.over == over} for over in ("LB", "before")
    )
    if not {_TODAY, _THEN} <= over_lb.keys():
        return ""
    told = f"LB+LR − LB, in points: {over_lb[_TODAY]} {_TODAY}, {over_lb[_THEN]} by {_THEN}"
    if alone := _one_at_a_time(over_lb):
        told += f"; of the latter with one thing as today: {alone}"
    if _TODAY in moved and (alone := _one_at_a_time(moved)):
        told += f". LB+LR itself changes by {alone}, and by {moved[_TODAY]} {_TODAY}"
    return f"{told}."


def _one_at_a_time(texts: Mapping[str, str]) -> str:
    """The things of 2017 that are as today in some runs alone, each with its text."""
    return ", ".join(f"{text} with {label}" for label, text in texts.items() if label not in (_THEN, _TODAY))


def momentum_gain(updates: int, momentum: float = 0.9) -> float:
    """Mean over an epoch of what a momentum buffer that starts empty adds up to, in gradients: at most 1 / (1 − m).

    At the i-th update the buffer holds the weights 1 + m + … + m^(i − 1) = (1 − m^i) / (1 − m) of equal gradients.
    """
    whole = 1 / (1 - momentum)
    return whole * (1 - momentum * whole * (1 - momentum**updates) / updates)


def _accuracies_of(history: pd.DataFrame, ids: Sequence[str], method: str) -> list[float]:
    """Final accuracies of some runs of a method."""
    return accuracies(history[history.run.isin(ids)], method) if len(history) else []


def _effect(ablation: paper.Ablation, method: str, over: str, found: list[float], against: list[float]) -> dict:
    """One comparison as a row of `ablation_effects`."""
    more = stats.difference(found, against)
    return {
        "method": method,
        "changed": ablation.label,
        "on": ablation.on or "declared",
        "over": over,
        "here": stats.mean(found).estimate,
        "before": stats.mean(against).estimate if over == "before" else float("nan"),
        **more.named("estimate"),
        "text": more.text(sign=True),
        "p": stats.welch_p(found, against),
    }


def compare_ablations(effects: pd.DataFrame) -> pd.DataFrame:
    """`ablation_effects` laid out for reading, a row an ablation and method; an arrow marks what is decided."""
    rows = []
    for (on, label, method), part in effects.groupby(["on", "changed", "method"], sort=False) if len(effects) else ():
        told = {
            row.over: row.text + (" ↑" if row.estimate > 0 else " ↓") * bool(row.decided) for row in part.itertuples()
        }
        row = {"method": method, "protocol": on, "changed": label, "before": part.before.max()}
        row |= {"here": part.here.iloc[0], "gain": told.get("before", "–")}
        rows.append(row | {f"over {base}": told.get(base, "–") for base in ("LB", "LB+LR")})
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    return table.sort_values("method", key=lambda methods: methods.map(paper.METHODS.index), kind="stable")


def ablation_findings(effects: pd.DataFrame) -> list[str]:
    """What the ablations say of C6 and C7: by which changes a method is above another one, in words."""
    lines = []
    for method, base, claim in (("LB+LR", "LB", "C6"), ("LB+LR+GBN", "LB+LR", "C7"), ("LB+LR+GBN", "LB", "both")):
        rows = effects[(effects.method == method) & (effects.over == base)] if len(effects) else effects
        if rows.empty:
            continue
        kinds = {
            "above": rows[rows.decided & (rows.estimate > 0)],
            "below": rows[rows.decided & (rows.estimate < 0)],
            "not decided": rows[~rows.decided],
        }
        told = [f"{words} with {', '.join(_named(part))}" for words, part in kinds.items() if len(part)]
        lines.append(f"{method} over {base} ({claim}): {'; '.join(told)}.")
    return lines


def _named(rows: pd.DataFrame) -> list[str]:
    """The changes of some rows, with the protocol that they are changes of."""
    return [row.changed if row.on == "declared" else f"{row.changed} (today's protocol)" for row in rows.itertuples()]
