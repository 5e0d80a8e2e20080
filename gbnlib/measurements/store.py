"""Results that are not runs: a frame that a function makes of its parameters, computed once and then read from disk.

A measurement is found by its content: the id is a hash of its name, its parameters and its version. The store looks in
`results/measurements`, then in `results/reference/measurements`.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gbnlib import files, paper
from gbnlib.experiments import done, provenance, store

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
    measurement_id = identify(name, parameters, version)
    if not force and damage(measurement_id) is None and (found := find(measurement_id)) is not None:
        return found.frame()
    with store.lock_in(root(), measurement_id):
        _clear(measurement_id)
        if not force and (found := find(measurement_id)) is not None:  # another process made it while this one waited
            return found.frame()
        started = time.monotonic()
        frame = function(**parameters)
        config = {"id": measurement_id, "name": name, "version": version, "parameters": dict(parameters)}
        _write(files.inside(root(), measurement_id), config, frame, round(time.monotonic() - started, 2))
    made = find(measurement_id)
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


def find(measurement_id: str) -> Measurement | None:
    """The finished measurement with an id, checked against its checksums, or None.

    A damaged one is said, counts as missing, and is left as it is: who asks changes nothing.
    """
    places = {"local": root(), "reference": files.reference_root() / "measurements"}
    for origin, place in places.items():
        where = files.inside(place, measurement_id)
        content, wrong = _read(where)
        if content is not None:
            return Measurement(measurement_id, where, origin, content["seconds"])
        if wrong is not None:
            store.say_damaged(where, f"damaged measurement ({wrong})", origin)
    return None


def damage(measurement_id: str) -> str | None:
    """What is wrong with a measurement made here that is said to be finished, or None."""
    return _read(root() / measurement_id)[1]


def _read(folder: Path) -> tuple[dict | None, str | None]:
    """The `done.json` of the measurement that a folder is named after, and what is wrong with it."""
    content, wrong = done.read(folder / "done.json", TEXT_FILES)
    if content is None:
        return None, wrong
    config = files.read_json(folder / "config.json")
    if identify(config["name"], config["parameters"], config["version"]) != folder.name:
        return None, "config.json is of another measurement"
    return content, None


def _clear(measurement_id: str) -> None:
    """Set aside what is damaged of a measurement made here; only for who holds its lock."""
    folder = root() / measurement_id
    if os.path.lexists(folder) and not folder.is_dir():
        files.set_aside(folder, "not a folder")
    if (wrong := damage(measurement_id)) is not None:
        files.set_aside(folder, f"damaged measurement ({wrong})")


def promote(measurement_id: str) -> Path | None:
    """Copy a finished local measurement to the reference ones; None if it is there or not finished."""
    found = find(measurement_id)
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
    done.write(folder, {"id": config["id"], "seconds": seconds}, TEXT_FILES)
    files.remove_folder(target)
    folder.rename(target)
