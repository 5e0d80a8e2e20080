"""The store of runs: it alone decides what is finished. First `results/runs`, then `results/reference/runs`."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from gbnlib import files
from gbnlib.errors import UsageError
from gbnlib.experiments.config import ENGINE, RunConfig
from gbnlib.experiments.planning import updates

if TYPE_CHECKING:
    import pandas as pd

TEXT_FILES = ("config.json", "history.csv", "distance.csv", "provenance.json")


@dataclass(frozen=True)
class Run:
    """A finished run on disk. `origin` is "local", "reference" or "older engine" (reference, by an older engine)."""

    config: RunConfig
    folder: Path
    origin: str
    done: dict

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
        labels = {
            "run": self.folder.name,
            "network": self.config.network,
            "dataset": self.config.dataset,
            "method": self.config.method,
            "batch_size": self.config.batch_size,
            "seed": self.config.seed,
            "initialisation": self.config.initialisation,
            "status": self.status,
        }
        for position, (column, value) in enumerate(labels.items()):
            frame.insert(position, column, value)
        return frame


def runs_root() -> Path:
    """Folder of the runs made here."""
    return files.results_root() / "runs"


def folder(config: RunConfig) -> Path:
    """Folder of a run made here."""
    return files.inside(runs_root(), config.id)


def lock(config: RunConfig) -> FileLock:
    """The lock that a process holds while it trains a run."""
    return _lock(config.id)


def _lock(name: str) -> FileLock:
    return FileLock(files.make_folder(runs_root() / ".locks") / f"{name}.lock")


def done_path(config: RunConfig) -> Path | None:
    """`done.json` of a finished run, wherever it is, or None."""
    local = folder(config) / "done.json"
    if local.is_file():
        return local
    exact = files.inside(files.reference_root() / "runs", config.id) / "done.json"
    if exact.is_file():
        return exact
    return _older_reference(config)


def is_done(config: RunConfig) -> bool:
    """Whether a run is finished; its files are not opened."""
    return done_path(config) is not None


def find(config: RunConfig) -> Run | None:
    """The finished run of a config, checked against its checksums, or None.

    A local run with a damaged file is set aside as `*.corrupt`, said, and counts as missing.
    """
    path = done_path(config)
    if path is None:
        return None
    local = path.parent == folder(config)
    origin = "local" if local else "reference" if path.parent.name == config.id else "older engine"
    damage = problem(path, TEXT_FILES)
    if damage is None:
        return Run(config, path.parent, origin, files.read_json(path))
    if not local:
        raise UsageError(f"reference run {path.parent.name}: {damage}. Restore it with git.")
    files.set_aside(path.parent, f"damaged run ({damage})")
    return find(config)


def problem(done: Path, names: Iterable[str]) -> str | None:
    """What is wrong with the files beside a `done.json` that holds their checksums, or None.

    A file that is there and cannot be opened now, for lack of rights or of file handles, is no damage but an `OSError`.
    """
    try:
        sums = files.read_json(done)["files"]
        broken = [name for name in names if files.sha256(done.parent / name) != sums[name]]
    except (UsageError, KeyError, TypeError, FileNotFoundError) as error:
        return f"{type(error).__name__}: {error}"
    return f"{', '.join(broken)} changed since it was finished" if broken else None


def _older_reference(config: RunConfig) -> Path | None:
    """A reference run of the same config made by an older engine: its id differs, its config does not."""
    root = files.reference_root() / "runs"
    changed = root.stat().st_mtime_ns if root.is_dir() else 0
    for name in _reference_families(root, changed).get(config.family, ()):
        done = root / name / "done.json"
        if done.is_file() and _config_in(done.with_name("config.json")) == config:
            return done
    return None


@cache
def _reference_families(root: Path, changed: int) -> dict[str, list[str]]:
    """The folders of reference runs by the readable part of their ids; `changed` is when there last came one."""
    families: dict[str, list[str]] = {}
    for path in sorted(root.glob("*-*")):
        families.setdefault(path.name.rpartition("-")[0], []).append(path.name)
    return families


def local_seconds(config: RunConfig) -> float:
    """Seconds that a finished run made here took, or 0."""
    path = folder(config) / "done.json"
    return files.read_json(path)["summary"]["seconds"] if path.is_file() else 0.0


def progress(config: RunConfig) -> tuple[str, float]:
    """State of a run ("finished", "diverged", "running", "stopped", "missing") and its share of updates done."""
    path = done_path(config)
    if path is not None:
        return files.read_json(path)["status"], 1.0
    try:
        rows = (folder(config) / "history.csv").read_text().splitlines()
        share = int(rows[-1].split(",")[0]) / updates(config) if len(rows) > 1 else 0.0
    except FileNotFoundError:
        return "missing", 0.0
    return ("running" if _is_locked(config) else "stopped"), share


def _is_locked(config: RunConfig) -> bool:
    """Whether some process trains this run now."""
    try:
        with lock(config).acquire(timeout=0):
            return False
    except Timeout:
        return True


def write_config(config: RunConfig) -> None:
    """Write `config.json` of a run, first setting aside one that is not of this run."""
    path = folder(config) / "config.json"
    if path.is_file():
        if _config_in(path) == config:
            return
        files.set_aside(path, "not the config of this run")
    files.write_json(path, {"id": config.id, "engine": ENGINE, "config": config.model_dump(mode="json")})


def _config_in(path: Path) -> RunConfig | None:
    """The config that a `config.json` holds, also of a version that had fewer fields; None if it holds none."""
    try:
        return RunConfig(**json.loads(path.read_text())["config"])
    except (ValueError, KeyError, TypeError):
        return None


def write_done(config: RunConfig, status: str, summary: dict, weights: str) -> None:
    """Write `done.json`, which makes a run finished."""
    where = folder(config)
    sums = {name: files.sha256(where / name) for name in TEXT_FILES}
    content = {"id": config.id, "engine": ENGINE, "status": status, "summary": summary}
    files.write_json(where / "done.json", {**content, "files": sums, "weights_sha256": weights})


def load_runs(configs: Iterable[RunConfig]) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """The history and distance frames of those of `configs` that are finished, one row a look, tidy."""
    import pandas as pd

    runs = [run for config in configs if (run := find(config)) is not None]
    frames = [[run.frame(name) for run in runs] for name in ("history", "distance")]
    history, distance = (pd.concat(part, ignore_index=True) if part else pd.DataFrame() for part in frames)
    return history, distance


def promote(config: RunConfig) -> Path | None:
    """Copy a finished local run to the reference runs, without checkpoints; None if it is there or not finished."""
    run = find(config)
    if run is None or run.origin != "local":
        return None
    return publish(run.folder, files.reference_root() / "runs", TEXT_FILES)


def publish(source: Path, target_root: Path, names: Iterable[str]) -> Path | None:
    """Copy the named files and `done.json` of a folder to one of the same name elsewhere, all or nothing.

    None if there is one already.
    """
    target = files.make_folder(target_root) / source.name
    with _lock("reference"):
        if target.exists():
            return None
        partial = target.with_name(f".{target.name}")
        files.remove_folder(partial)
        partial.mkdir()
        for name in (*names, "done.json"):
            shutil.copyfile(source / name, partial / name)
        partial.rename(target)
    return target
