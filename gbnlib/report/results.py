"""What a notebook gets: finished runs and measurements, and those that it may make."""

from dataclasses import dataclass, field

import pandas as pd

from gbnlib import analysis, data, experiments, measurements, paper
from gbnlib.experiments import RunConfig, duration
from gbnlib.report.live import how_to_train, watched
from gbnlib.report.parameters import Parameters, patience


@dataclass
class Results:
    """Runs, runs of ablations and measurements (None: not made) of one executing notebook."""

    parameters: Parameters
    configs: list[RunConfig]
    runs: list[experiments.Run] = field(default_factory=list)
    ablation_configs: list[RunConfig] = field(default_factory=list)
    ablation_runs: list[experiments.Run] = field(default_factory=list)
    measured: dict[str, measurements.Measurement | None] = field(default_factory=dict)

    def compute(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Train what is missing and allowed; the tidy frames (history, distance) of all finished runs.

        Missing runs that would take longer than `patience()` are trained only when `train` is true.
        """
        self.runs = self._finished(self.configs)
        return experiments.load_runs(self.configs)

    def ablations(self, history: pd.DataFrame) -> pd.DataFrame:
        """What one changed choice of the protocol does to the runs of `history`; trains under the rule of `compute`.

        The table of `analysis.ablation_effects`; empty where the scale has no ablations or none is finished.
        """
        self.ablation_configs = experiments.plan("ablations", self.parameters.scale, self.parameters.seeds)
        self.ablation_runs = self._finished(self.ablation_configs)
        return analysis.ablation_effects(self.first(history), *self._ablation_runs())

    def compare_defaults(self, history: pd.DataFrame) -> pd.DataFrame:
        """The table of `analysis.compare_defaults` for F1, from the runs of `history` and the finished ablations."""
        return analysis.compare_defaults(self.first(history), *self._ablation_runs(), "f1")

    def first(self, history: pd.DataFrame) -> pd.DataFrame:
        """The runs of F1, which all ablations are of."""
        return history[history.network == "f1"] if len(history) else history

    def _ablation_runs(self) -> tuple[pd.DataFrame, dict[tuple[str, str, str], list[str]]]:
        """The history of the finished ablations, and the ids of all of them by what they are of."""
        groups = experiments.ablations(self.parameters.scale, self.parameters.seeds)
        ids = {key: [config.id for config in runs] for key, runs in groups.items()}
        return experiments.load_history([config for runs in groups.values() for config in runs]), ids

    def _finished(self, configs: list[RunConfig]) -> list[experiments.Run]:
        """Train what is missing and allowed of some runs; those that are finished."""
        wait = experiments.remaining_seconds(configs, self.parameters.scale)
        forced = self.parameters.force and configs
        if forced or (wait and (self.parameters.train or wait <= patience())):
            self._train(configs)
        found = [run for config in configs if (run := experiments.find(config)) is not None]
        if len(found) < len(configs):
            left = duration(experiments.remaining_seconds(configs, self.parameters.scale))
            print(f"Missing runs would take about {left}: to train them, {how_to_train()}.")
        return found

    def _train(self, configs: list[RunConfig]) -> None:
        """Train what is missing, or all if that is forced, in view of who executes the notebook."""
        force, device = self.parameters.force, self.parameters.device
        trained = [config for config in dict.fromkeys(configs) if force or not experiments.is_done(config)]
        with watched(trained) as observer:
            experiments.run_all(configs, self.parameters.scale, observer=observer, force=force, device=device)

    def measure(self, name: str, **changes: object) -> pd.DataFrame:
        """The frame of a measurement: from disk, or made now; empty where it is missing and may not be made.

        One that takes longer than `patience()`, or whose data are not there, is made only when the parameter `train` is
        true.

        Parameters
        ----------
        name : a name of `paper.measurements()`.
        **changes : parameters that replace the scale's; an empty or zero value leaves it.
        """
        plan = paper.measurement(name, self.parameters.scale)
        changed = {key: value for key, value in changes.items() if value}
        plan = plan.model_copy(update={"parameters": plan.parameters | changed})
        measurement_id = measurements.planned_id(plan)
        found = measurements.find(measurement_id)
        if self.parameters.force or (found is None and self._may_make(plan)):
            measurements.make(plan, device=self.parameters.device, force=self.parameters.force)
            found = measurements.find(measurement_id)
        self.measured[measurement_id] = found
        return pd.DataFrame() if found is None else found.frame()

    def _may_make(self, plan: paper.MeasurementPlan) -> bool:
        """Whether a missing measurement is made now; if not, say what it takes."""
        if self.parameters.train:
            return True
        state = data.check(plan.parameters["dataset"]) if "dataset" in plan.parameters else "ready"
        if plan.seconds <= patience() and state == "ready":
            return True
        lacking = "" if state == "ready" else f" Its data are {state}."
        wait = duration(plan.seconds)
        print(f"{plan.name} is not measured yet, which takes about {wait}: {how_to_train()}.{lacking}")
        return False

    def _training_seconds(self) -> float:
        """What all finished runs have taken to train."""
        return sum(run.done["summary"]["seconds"] for run in [*self.runs, *self.ablation_runs])
