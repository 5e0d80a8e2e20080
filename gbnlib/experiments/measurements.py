"""Results that are not runs: a frame that a function makes of its parameters, computed once and then read from disk.

A measurement is found by its content: the id is a hash of its name, its parameters and its version. The store looks in
`results/measurements`, then in `results/reference/measurements`.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from gbnlib import files, paper
from gbnlib.errors import UsageError
from gbnlib.experiments import provenance, store

if TYPE_CHECKING:
    import pandas as pd

TEXT_FILES = ("config.json", "result.csv", "provenance.json")


@dataclass(frozen=True)
class Measurement:
    """A finished measurement on disk; `origin` is "local" or "reference"."""

    id: str
    folder: Path
    origin: str
    seconds: float

    def frame(self) -> "pd.DataFrame":
        """The result."""
        import pandas as pd

        return pd.read_csv(self.folder / "result.csv")


def measure(
    name: str,
    function: Callable[..., "pd.DataFrame"],
    parameters: Mapping[str, Any],
    *,
    version: int = 1,
    force: bool = False,
) -> "pd.DataFrame":
    """The frame `function(**parameters)`: found on disk, or computed now and written there.

    Parameters
    ----------
    name : what is measured, part of the id.
    function : makes the frame of the parameters. What decides nothing about the result, such as a device, is bound to
        it beforehand (`functools.partial`) and is no part of the id.
    parameters : plain values, as JSON has them; seeds among them.
    version : raised when the same parameters would now give another frame.
    force : compute again what is there, which is kept until then.

    Returns
    -------
    The frame as it is on disk, so that the first call and all later ones give the same.
    """
    wanted = identify(name, parameters, version)
    if not force and (found := find(wanted)) is not None:
        return found.frame()
    with FileLock(files.make_folder(root() / ".locks") / f"{wanted}.lock"):
        if not force and (found := find(wanted)) is not None:  # another process made it while this one waited
            return found.frame()
        started = time.monotonic()
        frame = function(**parameters)
        config = {"id": wanted, "name": name, "version": version, "parameters": dict(parameters)}
        _write(files.inside(root(), wanted), config, frame, round(time.monotonic() - started, 2))
    made = find(wanted)
    assert made is not None
    return made.frame()


def identify(name: str, parameters: Mapping[str, Any], version: int = 1) -> str:
    """The id of a measurement: its name, then 12 hex digits over name, version and parameters."""
    content = {"name": name, "version": version, "parameters": dict(parameters)}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{files.check_name('measurement', name)}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"


def plan(scale: str, item: str = "") -> dict[str, paper.MeasurementPlan]:
    """What is measured at a scale, for one item or for all, by id."""
    planned = [paper.measurement(name, scale) for name in paper.measurements()]
    return {planned_id(entry): entry for entry in planned if item in ("", entry.item)}


def planned_id(entry: paper.MeasurementPlan) -> str:
    """The id of a planned measurement."""
    return identify(entry.name, entry.parameters, entry.version)


def root() -> Path:
    """Folder of the measurements made here."""
    return files.results_root() / "measurements"


def find(wanted: str) -> Measurement | None:
    """The finished measurement with an id, checked against its checksums, or None.

    A damaged local one is set aside as `*.corrupt`, said, and counts as missing.
    """
    places = {"local": root(), "reference": files.reference_root() / "measurements"}
    for origin, place in places.items():
        done = files.inside(place, wanted) / "done.json"
        if not done.is_file():
            continue
        problem = store.problem(done, TEXT_FILES)
        if problem is None:
            return Measurement(wanted, done.parent, origin, files.read_json(done)["seconds"])
        if origin == "reference":
            raise UsageError(f"reference measurement {wanted}: {problem}. Restore it with git.")
        files.set_aside(done.parent, f"damaged measurement ({problem})")
    return None


def promote(wanted: str) -> Path | None:
    """Copy a finished local measurement to the reference ones; None if it is there or not finished."""
    found = find(wanted)
    if found is None or found.origin != "local":
        return None
    return store.publish(found.folder, files.reference_root() / "measurements", TEXT_FILES)


def _write(target: Path, config: dict, frame: "pd.DataFrame", seconds: float) -> None:
    """Write a measurement beside its place, then let it take the place of an older one."""
    folder = target.with_name(f".{target.name}")
    files.remove_folder(folder)
    files.write_json(folder / "config.json", config)
    files.write_text(folder / "result.csv", frame.to_csv(index=False))
    facts = {**provenance.software(), **provenance.hardware(), "seconds": seconds, "finished": provenance.now()}
    files.write_json(folder / "provenance.json", facts)
    sums = {name: files.sha256(folder / name) for name in TEXT_FILES}
    files.write_json(folder / "done.json", {"id": config["id"], "seconds": seconds, "files": sums})
    files.remove_folder(target)
    folder.rename(target)
