"""The store of runs: it alone decides what is finished. First `results/runs`, then `results/reference/runs`."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from gbnlib import files
from gbnlib.experiments import done
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


class Lock(FileLock):
    """A file lock whose place, where it cannot be written, is named with what helps."""

    def acquire(self, *arguments: Any, **options: Any) -> Any:
        """Take the lock; see `FileLock`."""
        try:
            return super().acquire(*arguments, **options)
        except Timeout:
            raise
        except OSError as error:
            raise files.cannot_write(Path(self.lock_file), error) from error


def lock(config: RunConfig) -> Lock:
    """The lock that a process holds while it trains a run."""
    return lock_in(runs_root(), config.id)


def lock_in(root: Path, name: str) -> Lock:
    """The lock of a name below a folder; a group that may write there may take it too."""
    place = files.make_folder(root / ".locks")
    return Lock(place / f"{name}.lock", mode=0o600 | place.stat().st_mode & 0o666)


def done_path(config: RunConfig) -> Path | None:
    """`done.json` of a finished run, wherever it is, or None."""
    run = _find(config)
    return run and run.folder / "done.json"


def is_done(config: RunConfig) -> bool:
    """Whether a run is finished; files that were checked before and have not changed are not opened again."""
    return _find(config) is not None


def find(config: RunConfig) -> Run | None:
    """The finished run of a config, checked against its checksums, or None.

    A damaged one is said, counts as missing, and is left as it is: who asks changes nothing. See `clear`.
    """
    return _find(config, again=True)


def _find(config: RunConfig, again: bool = False) -> Run | None:
    """The same; unless `again`, files that were checked before and have not changed are not opened again."""
    for origin, where in _places(config):
        content, wrong = _read(where, config, again)
        if content is not None:
            return Run(config, where, origin, content)
        if wrong is not None:
            say_damaged(where, f"damaged run ({wrong})", origin)
    return None


def _places(config: RunConfig) -> Iterator[tuple[str, Path]]:
    """Where a run may be, and the origin that it then has."""
    yield "local", folder(config)
    yield "reference", files.inside(files.reference_root() / "runs", config.id)
    yield from (("older engine", where) for where in _older_references(config))


def _read(where: Path, config: RunConfig, again: bool) -> tuple[dict | None, str | None]:
    """The `done.json` of a run in a folder, and what is wrong with it; both None where it is not finished."""
    content, wrong = done.read(where / "done.json", TEXT_FILES, again=again)
    if content is not None and _config_in(where / "config.json") != config:
        return None, "config.json is of another run"
    return content, wrong


def damage(config: RunConfig) -> str | None:
    """What is wrong with a run made here that is said to be finished, or None."""
    return _read(folder(config), config, again=True)[1]


@cache
def say_damaged(path: Path, what: str, origin: str = "local") -> None:
    """Say on stderr that a file or folder is damaged and what becomes of it, once in a process."""
    remedy = "counts as missing" if origin == "local" else "counts as missing until it is restored with git"
    print(f"{path}: {what}; {remedy}", file=sys.stderr)


def clear(config: RunConfig) -> None:
    """Set aside what is damaged of a run made here and sweep up after killed writers; only for who holds its lock."""
    where = folder(config)
    if os.path.lexists(where) and not where.is_dir():
        files.set_aside(where, "not a folder")
    if (wrong := damage(config)) is not None:
        begun = (where / "checkpoint.pt").is_file()  # then there is more to save than what is damaged
        files.set_aside(where / "done.json" if begun else where, f"damaged run ({wrong})")
    for name in TEXT_FILES:
        if (where / name).exists() and not (where / name).is_file():
            files.set_aside(where / name, "not a file")
    if (wrong := _updates_in(config)[1]) is not None:
        files.set_aside(where / "history.csv", wrong)
    files.sweep(where)


def _older_references(config: RunConfig) -> Iterator[Path]:
    """Reference runs of the same config made by an older engine: their ids differ, their configs do not."""
    root = files.reference_root() / "runs"
    changed = root.stat().st_mtime_ns if root.is_dir() else 0
    for name in _reference_families(root, changed).get(config.family, ()):
        if name != config.id and _config_in(root / name / "config.json") == config:
            yield root / name


@cache
def _reference_families(root: Path, changed: int) -> dict[str, list[str]]:
    """The folders of reference runs by the readable part of their ids; `changed` is when there last came one."""
    families: dict[str, list[str]] = {}
    for path in sorted(root.glob("*-*")):
        families.setdefault(path.name.rpartition("-")[0], []).append(path.name)
    return families


def local_seconds(config: RunConfig) -> float:
    """Seconds that a finished run made here took, or 0."""
    run = _find(config)
    return run.done["summary"]["seconds"] if run is not None and run.origin == "local" else 0.0


def progress(config: RunConfig) -> tuple[str, float]:
    """State of a run ("finished", "diverged", "running", "stopped", "missing") and its share of updates done."""
    run = _find(config)
    if run is not None:
        return run.status, 1.0
    path = folder(config) / "history.csv"
    if (path.parent / "done.json").exists() or not path.exists():  # a damaged run, or none
        return "missing", 0.0
    made, strange = _updates_in(config)
    if strange is not None:
        say_damaged(path, strange)
    return ("running" if _is_locked(config) else "stopped"), made / updates(config)


def _updates_in(config: RunConfig) -> tuple[int, str | None]:
    """The last update in the history of a run made here, and what is wrong with that file."""
    path = folder(config) / "history.csv"
    if not path.exists():
        return 0, None
    try:
        made = [int(row.split(",")[0]) for row in path.read_text(encoding="utf-8").splitlines()[1:]]
        if made != sorted(set(made)) or not all(0 < update <= updates(config) for update in made):
            raise ValueError("its updates are not those of this run")
    except (ValueError, IsADirectoryError) as error:
        return 0, f"damaged history ({str(error)[:80]})"
    return made[-1] if made else 0, None


def _is_locked(config: RunConfig) -> bool:
    """Whether some process trains this run now; nothing is written, so that everybody may ask."""
    try:
        with (runs_root() / ".locks" / f"{config.id}.lock").open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or it may not be read
        return False
    return False


def write_config(config: RunConfig) -> None:
    """Write `config.json` of a run, first setting aside one that is not of this run."""
    path = folder(config) / "config.json"
    if path.exists():
        if _config_in(path) == config:
            return
        files.set_aside(path, "not the config of this run")
    files.write_json(path, {"id": config.id, "engine": ENGINE, "config": config.model_dump(mode="json")})


def _config_in(path: Path) -> RunConfig | None:
    """The config that a `config.json` holds, also of a version that had fewer fields; None if it holds none."""
    return _parsed_config(path, done.stamp(path))


@cache
def _parsed_config(path: Path, stamp: tuple | None) -> RunConfig | None:
    """The same, as long as `stamp` does not change."""
    try:
        return RunConfig(**files.read_json(path)["config"]) if path.is_file() else None
    except (ValueError, KeyError, TypeError):
        return None


def write_done(config: RunConfig, status: str, summary: dict, weights: str) -> None:
    """Write `done.json`, which makes a run finished."""
    content = {"id": config.id, "engine": ENGINE, "status": status, "summary": summary, "weights_sha256": weights}
    done.write(folder(config), content, TEXT_FILES)


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
    with lock_in(runs_root(), "reference"):
        if target.exists():
            return None
        partial = target.with_name(f".{target.name}")
        files.remove_folder(partial)
        partial.mkdir()
        for name in (*names, "done.json"):
            shutil.copyfile(source / name, partial / name)
        partial.rename(target)
    return target
