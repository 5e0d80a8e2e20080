"""The texts of `gbn plan`, `gbn status` and `gbn data check`."""

from collections.abc import Sequence

import pandas as pd

from gbnlib import data, experiments, files, measurements, paper
from gbnlib.experiments import RunConfig, duration
from gbnlib.report.items import planned_name


def configs_of(scale: str, item: str, seeds: int = 0) -> list[RunConfig]:
    """The runs of one item, or of the whole scale when `item` is empty; an item that only measures has none."""
    if not item:
        return experiments.plan_scale(scale, seeds)
    return experiments.plan(item, scale, seeds) if planned_name(item) in experiments.ITEMS else []


def no_runs_text(item: str, scale: str) -> str:
    """Why an item has no runs at a scale."""
    if item in experiments.ITEMS:
        return f"{item} is not run at scale {scale}; see `gbn plan --scale {scale}`."
    if measurements.plan(scale, item):
        return f"{item} has no runs, only measurements; see `gbn measure {item} --scale {scale}`."
    return f"{item} has neither runs nor measurements."


def no_measurements_text(item: str, scale: str) -> str:
    """Why an item has no measurements at a scale."""
    if item in experiments.ITEMS:
        return f"{item} has no measurements, only runs; see `gbn run {item} --scale {scale}`."
    return f"{item} has neither runs nor measurements."


def plan_frame(configs: Sequence[RunConfig]) -> pd.DataFrame:
    """A plan as a table: a row for each method, data set and batch size."""
    rows = [
        {
            "network": config.network,
            "data": config.dataset,
            "method": config.method,
            "batch": config.batch_size,
            "ghost": config.ghost_size or "–",
            "lr": f"{config.schedule().phases[0].lr:.3g}",
            "epochs": config.schedule().epochs,
            "updates": experiments.updates(config),
            "finished": experiments.is_done(config),
        }
        for config in configs
    ]
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    keys = [column for column in frame.columns if column != "finished"]
    return frame.groupby(keys, sort=False)["finished"].agg(runs="size", done="sum").reset_index()


def plan_text(scale: str, item: str = "", seeds: int = 0) -> str:
    """What a scale or an item needs, what is finished, and how long the rest takes."""
    settings = paper.scale(scale)
    lines = [f"Scale {scale}: {settings.summary}", f"Hardware it is made for: {settings.hardware}."]
    for name in [item] if item else experiments.items_at(scale):
        configs = configs_of(scale, name, seeds)
        lines += ["", f"{name}: {summary_text(configs, scale)}" if configs else no_runs_text(name, scale)]
        if configs:
            lines.append(plan_frame(configs).to_string(index=False))
    everything = list(dict.fromkeys(configs_of(scale, item, seeds)))
    lines += ["", measuring_text(scale, item)]
    if everything:
        lines.append(f"In all, each run once: {summary_text(everything, scale)}")
    return "\n".join(lines if item else [*lines, *_not_run(scale, everything)])


def measuring_text(scale: str, item: str = "") -> str:
    """How many measurements a scale or an item has, how many of them are made, and the time of the others."""
    planned = measurements.plan(scale, item)
    missing = [plan for measurement_id, plan in planned.items() if measurements.find(measurement_id) is None]
    left = f"about {duration(sum(plan.seconds for plan in missing))} to go" if missing else "nothing to measure"
    return f"{len(planned)} measurements, {len(planned) - len(missing)} made, {left}"


def _not_run(scale: str, configs: Sequence[RunConfig]) -> list[str]:
    """A line that names the networks and items of the paper that a scale leaves out; none where it runs all."""
    run = {config.network for config in configs}
    left_out = [paper.protocol(name).label for name in paper.networks() if name not in run]
    left_out += [name for name in experiments.ITEMS if name not in experiments.items_at(scale)]
    return [f"Not run at this scale: {', '.join(left_out)}."] if left_out else []


def summary_text(configs: Sequence[RunConfig], scale: str) -> str:
    """Runs, finished ones, updates and the estimated time of what is left, in one line."""
    if not configs:
        return "not run at this scale"
    finished = sum(map(experiments.is_done, configs))
    left = experiments.remaining_seconds(configs, scale)
    time = f"{left / 3600:,.1f} GPU-hours" if paper.scale(scale).on_gpu else duration(left)
    estimate = f"about {time} to go" if left else "nothing to train"
    updates = sum(map(experiments.updates, configs))
    return f"{len(configs)} runs, {finished} finished, {updates:,} updates, {estimate}"


def status_text(scale: str, item: str = "", seeds: int = 0) -> str:
    """Every run with its state and its share of updates done."""
    rows = []
    for config in dict.fromkeys(configs_of(scale, item, seeds)):
        state, share = experiments.progress(config)
        rows.append({"run": config.id, "method": config.method, "state": state, "done": f"{share:.0%}"})
    if not rows:
        return no_runs_text(item, scale)
    counts = pd.Series([row["state"] for row in rows]).value_counts()
    total = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{pd.DataFrame(rows).to_string(index=False)}\n\nScale {scale}: {total}."


def data_text() -> str:
    """Every data set with its state, where it was looked for, and what each scale needs."""
    states = {name: data.check(name) for name in data.catalog()}
    rows = [
        {"data set": name, "label": card.label, "stand-in": "" if card.exact else "yes", "state": states[name]}
        for name, card in data.catalog().items()
    ]
    needs = []
    for scale in paper.scales():
        names = dict.fromkeys(config.dataset for config in experiments.plan_scale(scale))
        needs.append(f"Scale {scale} needs " + ", ".join(f"{name} ({states[name].split(':')[0]})" for name in names))
    table = pd.DataFrame(rows).to_string(index=False)
    return "\n".join([f"Data root: {files.data_root()} (GBN_DATA names another one)", "", table, "", *needs])
