"""The runs that are worth most, in the order in which they are trained while there is time."""

import time
from collections.abc import Callable, Sequence

from card.trainings import Setting
from gbnlib import data, experiments
from gbnlib.experiments import RunConfig

#: Data that stand in for others that are not there, which a run's card then says.
STAND_INS = {"cifar10": "cifar10-jpeg"}


class TimeIsUp(BaseException):
    """No time is left; it is no `Exception`, so that nothing takes it for a failure of a run."""


def groups(setting: Setting) -> dict[str, list[RunConfig]]:
    """Runs by name, most valuable first: what a row of Table 1 says with one seed, then figures, then more seeds."""
    if setting.tiny:
        runs = [run.model_copy(update={"dataset": "synthetic"}) for run in experiments.plan("table1", "smoke")]
        return {"f1, Table 1": runs[:2]}
    table = experiments.plan("table1", "paper")
    figures = [run for item in ("figure1", "figure2") for run in experiments.plan(item, "paper", seeds=1)]
    first = {(run.network, run.adapt): [] for run in table}
    for run in table:
        if run.seed == 0:
            first[run.network, run.adapt].append(run)
    found = {
        "ResNet44, Table 1, one seed, but for regime adaptation": first["resnet44", False],
        "C1, Table 1, one seed": first["c1", False] + first["c1", True],
        "ResNet44, Figures 1 and 2, one seed": figures,
        "F1, Table 1": [run for run in table if run.network == "f1"],
        "ResNet44, regime adaptation, one seed": first["resnet44", True],
        "C1, Table 1, all seeds": [run for run in table if run.network == "c1"],
        "ResNet44, Table 1, all seeds": [run for run in table if run.network == "resnet44"],
    }
    return {name: [with_data(run) for run in runs if run.network in setting.networks] for name, runs in found.items()}


def with_data(run: RunConfig) -> RunConfig:
    """The run, on data that stand in for its own where these are not there."""
    other = STAND_INS.get(run.dataset)
    if other and data.check(run.dataset) != data.check(other) == "ready":
        return run.model_copy(update={"dataset": other})
    return run


def replayed(configs: Sequence[RunConfig], known: dict) -> bool:
    """Whether replays of all networks were found to be equal to computed updates, and faster at the small batch."""
    found = [known.get(f"graphs {network}", []) for network in {run.network for run in configs}]
    return all(
        rows and all(row["equal"] for row in rows) and rows[0]["replayed_ms"] < rows[0]["computed_ms"] for rows in found
    )


def train(setting: Setting, configs: Sequence[RunConfig], until: float, graph: bool) -> dict:
    """Train runs side by side until a time; those that are not finished have a checkpoint."""

    def stop_in_time(progress: Callable[[], str]) -> None:
        if time.monotonic() > until:
            raise TimeIsUp

    scale = "smoke" if setting.tiny else "paper"
    observer = experiments.Observer(lambda line: print(line, flush=True), stop_in_time)
    experiments.run_all(configs, scale, device=setting.device, graph=graph, observer=observer)
    return {
        "replayed": graph,
        "runs": [experiments.describe(run) for run in map(experiments.find, configs) if run is not None],
    }
