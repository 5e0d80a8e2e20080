"""Runs in the store: what a finished one is, how far another one is, and their frames."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, FiniteFloat, NonNegativeInt

from gbnlib import files
from gbnlib.experiments.config import ENGINE, RunConfig
from gbnlib.experiments.planning import study, updates
from gbnlib.store import Done, Found, Store, say_damaged

if TYPE_CHECKING:
    import pandas as pd

TEXT_FILES = ("config.json", "history.csv", "distance.csv", "provenance.json")


class _Summary(BaseModel, extra="forbid", strict=True):
    seconds: FiniteFloat
    updates: NonNegativeInt = 0
    final_validation_error: FiniteFloat | None = None
    best_validation_error: FiniteFloat | None = None
    test_error: FiniteFloat | None = None


class _Run(Done):
    engine: NonNegativeInt
    status: Literal["finished", "diverged"]
    summary: _Summary
    weights_sha256: str


@dataclass(frozen=True)
class Run(Found):
    """A finished run on disk. `origin` is "local", "reference" or "older engine" (reference, by an older engine)."""

    config: RunConfig

    @property
    def status(self) -> str:
        """Either "finished" or "diverged"."""
        return self.done["status"]

    def provenance(self) -> dict:
        """How and on what the run was made."""
        return files.read_json(self.folder / "provenance.json")

    def frame(self, name: str) -> "pd.DataFrame":
        """`history` or `distance` as a frame, with the columns that say which run a row is of."""
        import pandas as pd

        frame = pd.read_csv(self.folder / f"{name}.csv")
        names = ("network", "dataset", "method", "batch_size", "seed", "initialisation", "precision")
        labels = {name: getattr(self.config, name) for name in names}
        if self.config.held_out:
            labels["test_error"] = self.done["summary"]["test_error"]
        return pd.DataFrame({"run": self.folder.name, **labels, "status": self.status, **frame})


RUNS = Store("run", TEXT_FILES, _Run, Run, lambda content: RunConfig(**content["config"]), attrgetter("id"))
folder, find, is_done, damage, promote = RUNS.folder, RUNS.find, RUNS.is_done, RUNS.damage, RUNS.promote


def clear(config: RunConfig) -> None:
    """Set aside what is damaged of a run made here and sweep up after killed writers; only for who holds its lock."""
    RUNS.clear(config)
    where = folder(config)
    for name in TEXT_FILES:
        if (where / name).exists() and not (where / name).is_file():
            files.set_aside(where / name, "not a file")
    if (wrong := _updates_in(config)[1]) is not None:
        files.set_aside(where / "history.csv", wrong)
    files.sweep(where)


def progress(config: RunConfig) -> tuple[str, float]:
    """State of a run ("finished", "diverged", "running", "stopped", "missing") and its share of updates done."""
    if (run := find(config, again=False)) is not None:
        return run.status, 1.0
    path = folder(config) / "history.csv"
    if (path.parent / "done.json").exists() or not path.exists():  # a damaged run, or none
        return "missing", 0.0
    made, strange = _updates_in(config)
    if strange is not None:
        say_damaged(path, strange)
    return ("running" if files.is_locked(RUNS.root(), config.id) else "stopped"), made / updates(config)


def _updates_in(config: RunConfig) -> tuple[int, str | None]:
    """The last update in the history of a run made here, and what is wrong with that file."""
    path = folder(config) / "history.csv"
    if not path.exists():
        return 0, None
    try:
        made = [0, *(int(row.split(",")[0]) for row in path.read_text(encoding="utf-8").splitlines()[1:])]
        if made != sorted(set(made)) or made[-1] > updates(config):
            raise ValueError("its updates are not those of this run")
    except (ValueError, IsADirectoryError) as error:
        return 0, f"damaged history ({str(error)[:80]})"
    return made[-1], None


def errors_so_far(config: RunConfig) -> list[tuple[int, float]]:
    """The update and the validation error, in %, of each evaluation that a run has had, finished or not."""
    found = find(config, again=False)
    path = (found.folder if found else folder(config)) / "history.csv"
    try:
        rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
        return [(int(row[0]), float(row[-1])) for row in rows]
    except (OSError, ValueError):  # not begun, or damaged, which `progress` says
        return []


def write_config(config: RunConfig) -> None:
    """Write `config.json` of a run, first setting aside one that is not of this run."""
    path = folder(config) / "config.json"
    if path.exists() and not RUNS.is_of(path.parent, config):
        files.set_aside(path, "not the config of this run")
    if not path.exists():
        files.write_json(path, {"id": config.id, "engine": ENGINE, "config": config.model_dump(mode="json")})


def write_done(config: RunConfig, status: str, summary: dict, weights: str) -> None:
    """Write `done.json`, which makes a run finished."""
    content = {"id": config.id, "engine": ENGINE, "status": status, "summary": summary, "weights_sha256": weights}
    RUNS.finish(folder(config), content)


def load_runs(configs: Iterable[RunConfig]) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """The history and distance frames of those of `configs` that are finished, one row a look, tidy."""
    runs = _finished(configs)
    return _frames(runs, "history"), _frames(runs, "distance")


def load_history(configs: Iterable[RunConfig]) -> "pd.DataFrame":
    """The history alone, where distances, of which there are more, are not asked for."""
    return _frames(_finished(configs), "history")


def _finished(configs: Iterable[RunConfig]) -> list[Run]:
    return [run for config in configs if (run := find(config)) is not None]


def _frames(runs: list[Run], name: str) -> "pd.DataFrame":
    import pandas as pd

    return pd.concat([run.frame(name) for run in runs], ignore_index=True) if runs else pd.DataFrame()


def load_study(name: str, scale: str, seeds: int = 0) -> "pd.DataFrame":
    """The history of the finished runs of a study, with each one's arm and what varies; `lr` is the column `rate`."""
    import pandas as pd

    planned = study(name, scale, seeds)
    history = load_history([config for _, config in planned])
    arms = pd.DataFrame([{"run": config.id, **labels} for labels, config in planned]).rename(columns={"lr": "rate"})
    new = ["run", *(column for column in arms if column not in history)]
    return history.merge(arms[new], on="run") if len(history) else history
