"""What runs came to: final and best accuracy, one row a run, and the same beside the paper's."""

import pandas as pd

from gbnlib import data, paper
from gbnlib.analysis import stats

_KEYS = ["run", "network", "dataset", "method", "batch_size", "seed", "status"]


def outcomes(history: pd.DataFrame) -> pd.DataFrame:
    """One row a run: `final_error` at the last look and `best_error` over all looks, in %.

    A diverged run has the error of guessing, so that a method that fails cannot gain by it.
    """
    if history.empty:
        return pd.DataFrame(columns=[*_KEYS, "final_error", "best_error"])
    runs = history.groupby(_KEYS, sort=False)["validation_error"]
    table = runs.agg(final_error=lambda errors: errors.iloc[-1], best_error="min").reset_index()
    diverged = table.status == "diverged"
    guessed = table.dataset[diverged].map(lambda dataset: 100 - 100 / data.card(dataset).classes)
    for column in ("final_error", "best_error"):
        table[column] = table[column].mask(diverged, guessed)
    return table


def errors_by_updates(history: pd.DataFrame) -> pd.DataFrame:
    """Final validation error against the number of updates: a row a method and batch size.

    Columns method, batch_size, updates and epochs of the whole training, error (the mean in %), low and high (its t
    interval over seeds, NaN under two) and n.
    """
    columns = ["method", "batch_size", "updates", "epochs", "error", "low", "high", "n"]
    last = history.groupby("run")[["update", "epoch"]].max() if len(history) else history
    rows = []
    for (method, batch_size), runs in outcomes(history).groupby(["method", "batch_size"]):
        found, ends = stats.mean(runs.final_error), last.loc[runs.run].max()
        rows.append([method, batch_size, ends["update"], ends.epoch, found.estimate, found.low, found.high, len(runs)])
    return pd.DataFrame(rows, columns=columns)


def mean_error_curves(history: pd.DataFrame) -> pd.DataFrame:
    """Validation error along training, averaged over the finished seeds: a row a method, batch size and update.

    Columns method, batch_size, update, epoch, error (the mean in %), low and high (its t interval, NaN under two seeds)
    and n. Looks that not all of these seeds have are left out.
    """
    columns = ["method", "batch_size", "update", "epoch", "error", "low", "high", "n"]
    rows = []
    finished = history[history.status == "finished"] if len(history) else history
    for keys, runs in finished.groupby(["method", "batch_size"]) if len(finished) else ():
        for (update, epoch), look in runs.groupby(["update", "epoch"]):
            found = stats.mean(look.validation_error)
            if found.n[0] == runs.run.nunique():
                rows.append([*keys, update, epoch, found.estimate, found.low, found.high, found.n[0]])
    return pd.DataFrame(rows, columns=columns)


def count_diverged(history: pd.DataFrame, treated: str) -> str:
    """The words on runs that diverged, by method, and on how they are treated; empty where none did."""
    told = [
        f"{count} of {len(states)} runs of {method}"
        for method, states in outcomes(history).groupby("method", sort=False).status
        if (count := (states == "diverged").sum())
    ]
    return f"diverged, and {treated}: {', '.join(told)}" if told else ""


def accuracies(history: pd.DataFrame, method: str) -> list[float]:
    """Final accuracies in % of a method's runs, in the order of their seeds; see `outcomes` for diverged ones."""
    return _final_accuracies(outcomes(history).query("method == @method"))


def arm_accuracies(history: pd.DataFrame, arm: str = "") -> list[float]:
    """Final accuracies in % of the runs of a study, or of one of its arms, in the order of their seeds."""
    own = history[history.arm == arm] if arm and len(history) else history
    return _final_accuracies(outcomes(own))


def _final_accuracies(table: pd.DataFrame) -> list[float]:
    """Final accuracies of some rows of `outcomes`, in the order of their seeds."""
    return (100 - table.sort_values("seed").final_error).tolist()


def compare_arms(history: pd.DataFrame) -> pd.DataFrame:
    """What each arm of a study came to: a row an arm, in the order of the runs.

    Columns arm, accuracy (the mean in %), low and high (its t interval), n, updates, and cost: the training samples
    seen, in times those of SB.
    """
    if history.empty:
        return pd.DataFrame()
    made = history.groupby("arm", sort=False)[["update", "epoch"]].max()
    rows = []
    for arm, (updates, epochs) in made.iterrows():
        found = stats.mean(arm_accuracies(history, arm))
        cost = epochs / made.epoch.get("SB", epochs)
        rows.append({"arm": arm, **found.named("accuracy"), "updates": updates, "cost": cost})
    return pd.DataFrame(rows)


def compare_ghost_sizes(history: pd.DataFrame) -> pd.DataFrame:
    """Final accuracies with t intervals, a row a batch size and augmentation, a column a ghost size (0: none)."""
    if history.empty:
        return pd.DataFrame()
    cells = [
        {
            "batch size": batch_size,
            "augmentation": augment,
            "ghost": f"ghosts of {ghost}" if ghost else "whole batch",
            "accuracy": stats.mean(arm_accuracies(runs)).text(),
        }
        for (batch_size, augment, ghost), runs in history.groupby(["batch_size", "augment", "ghost_size"], sort=False)
    ]
    table = pd.DataFrame(cells)
    wide = table.pivot(index=["batch size", "augmentation"], columns="ghost", values="accuracy")
    return wide[table.ghost.unique()].reset_index().rename_axis(columns=None)


def published_accuracies(network: str) -> dict[str, float]:
    """Accuracy in % by method in a network's first row of the paper's Table 1; empty where it has none."""
    rows = [row for row in paper.published("table1")["rows"] if row["network"] == network]
    return dict(zip(paper.METHODS, rows[0]["accuracy"], strict=True)) if rows else {}


def compare_with_paper(history: pd.DataFrame, table: str = "table1") -> pd.DataFrame:
    """Table 1 or 2 as the paper prints it and as it came out here, one row a row of the table and method.

    Rows without runs hold NaN, and `data` says "no finished runs"; `low` and `high` end the t interval.
    """
    rows = []
    for published in paper.published(table)["rows"]:
        own = row_runs(history, published)
        for method, accuracy in zip(paper.METHODS, published["accuracy"], strict=True):
            rows.append(_compared(own, published, method, accuracy))
    return pd.DataFrame(rows)


def row_runs(history: pd.DataFrame, published: dict) -> pd.DataFrame:
    """The runs of one row of a table: of its network and, where the row names them, of its batch sizes by method."""
    if history.empty:
        return history
    runs = history[history.network == published["network"]]
    if "batch_sizes" not in published:
        return runs
    return runs[runs.batch_size == runs.method.map(dict(zip(paper.METHODS, published["batch_sizes"], strict=True)))]


def _compared(history: pd.DataFrame, published: dict, method: str, accuracy: float) -> dict:
    """One row of `compare_with_paper`."""
    runs = outcomes(history)
    runs = runs[runs.method == method]
    final = stats.mean(100 - runs.final_error)
    return {
        "network": published["label"],
        "method": method,
        "paper_data": published["dataset_label"],
        "paper": accuracy,
        "data": data.card(runs.dataset.iloc[0]).label if len(runs) else "no finished runs",
        **final.named("ours"),
        "best": stats.mean(100 - runs.best_error).estimate,
        "difference": final.estimate - accuracy,
        "diverged": int((runs.status == "diverged").sum()),
    }


def table1_layout(comparison: pd.DataFrame) -> pd.DataFrame:
    """`compare_with_paper` laid out as the paper prints it: a column a method, ours under each row."""
    rows = []
    for network, part in comparison.groupby("network", sort=False):
        cells = part.set_index("method")
        columns = [method if method in ("SB", "LB") else f"+{method.rsplit('+')[-1]}" for method in cells.index]
        fixed = [(f"paper, {cells.paper_data.iloc[0]}", [f"{value:.2f}" for value in cells.paper])]
        if cells.n.any():
            counts = " to ".join(f"{count}" for count in sorted({cells.n.min(), cells.n.max()}))
            final = [
                _two_digits(row.ours) + ("" if pd.isna(row.low) else f" [{row.low:.2f}, {row.high:.2f}]")
                for row in cells.itertuples()
            ]
            fixed.append((f"here, {cells.data.iloc[0]}, n = {counts}", final))
            fixed.append(("here, best epoch", [_two_digits(value) for value in cells.best]))
        else:
            fixed.append((f"here: {cells.data.iloc[0]}", ["–"] * len(cells)))
        for name, shown in fixed:
            rows.append({"network": network, "result": name, **dict(zip(columns, shown, strict=True))})
    return pd.DataFrame(rows)


def _two_digits(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}"


def compare_figure1(history: pd.DataFrame) -> pd.DataFrame:
    """Final validation error in % by batch size: the paper's (another network and data set) and ours."""
    facts = paper.published("figure1")
    theirs = dict(zip(facts["batch_sizes"], facts["validation_error"], strict=True))
    runs = outcomes(history)
    rows = []
    for batch_size in sorted({*theirs, *runs.batch_size}):
        chosen = runs[runs.batch_size == batch_size]
        final = stats.mean(chosen.final_error)
        row = {"batch size": batch_size, f"paper ({facts['label']})": theirs.get(batch_size, float("nan"))}
        rows.append({**row, **final.named("ours"), "best": stats.mean(chosen.best_error).estimate})
    return pd.DataFrame(rows)


def compare_training(history: pd.DataFrame, by: str = "method", *, plateau: bool = False) -> pd.DataFrame:
    """Final training and validation error in %, with t intervals over seeds, and what they have over those of SB.

    A row a method, or a batch size with `by` "batch_size". The training error is that of an epoch's batches,
    augmented and in training mode, before each update: it compares between rows, not with the validation error.
    With `plateau` both are those of the plateau before the first drop of the rate, not of the last epoch. Diverged runs
    are left out.
    """
    if history.empty:
        return pd.DataFrame()
    shown = _on_plateau(history) if plateau else _at_end(history)
    small = shown[shown.method == "SB"]
    groups = dict(list(shown.groupby(by)))
    rows = []
    for name in filter(groups.__contains__, paper.METHODS if by == "method" else sorted(groups)):
        own, row = groups[name], {by.replace("_", " "): name}
        for kind in ("training", "validation"):
            errors = own[f"{kind}_error"].tolist()
            row[f"{kind} error"] = stats.mean(errors).text()
            if len(small) and not own.method.eq("SB").all():
                more = stats.difference(errors, small[f"{kind}_error"].tolist())
                row[f"{kind}: over SB's"] = more.text(sign=True)
        rows.append(row)
    return pd.DataFrame(rows)


def _at_end(history: pd.DataFrame) -> pd.DataFrame:
    """The last look of each finished run."""
    return history[history.status == "finished"].groupby("run").tail(1)


def _on_plateau(history: pd.DataFrame) -> pd.DataFrame:
    """The mean errors in % of each finished run over the last quarter of the epochs before its rate first drops."""
    finished = history[history.status == "finished"]
    drops = finished.groupby("run").lr.transform(lambda rates: (rates.diff() < 0).cumsum())
    before = finished[drops == 0]
    late = before[before.epoch > 0.75 * before.groupby("run").epoch.transform("max")]
    errors = ["training_error", "validation_error"]
    return late.groupby(["run", "method", "batch_size", "seed"], as_index=False)[errors].mean()


def training_gap(history: pd.DataFrame) -> stats.Interval:
    """LB − SB, in points of final training error, as `compare_training` has it; diverged runs are left out."""
    last = _at_end(history) if len(history) else pd.DataFrame(columns=["method", "training_error"])
    large, small = (last[last.method == each].training_error.tolist() for each in ("LB", "SB"))
    return stats.difference(large, small)


def gap_shares(history: pd.DataFrame, network: str) -> pd.DataFrame:
    """Share of the gap SB − LB that each method closes, in %, beside the paper's.

    A share is given only where the gap itself is above zero with confidence; otherwise it is NaN.
    """
    theirs = published_accuracies(network)
    own = history if history.empty else history[history.network == network]
    ours = {method: accuracies(own, method) for method in paper.METHODS}
    gap = stats.difference(ours["SB"], ours["LB"])
    rows = []
    for method in paper.METHODS[2:]:
        gain = stats.difference(ours[method], ours["LB"])
        share = 100 * gain.estimate / gap.estimate if gap.above(0) else float("nan")
        paper_share = 100 * (theirs[method] - theirs["LB"]) / (theirs["SB"] - theirs["LB"])
        rows.append({"method": method, "paper": paper_share, "ours": share, "gain": gain.text(sign=True)})
    return pd.DataFrame(rows)
