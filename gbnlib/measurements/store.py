"""Results that are not runs: a frame that a function makes of its parameters, computed once and then read from disk."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import FiniteFloat

from gbnlib import files, paper
from gbnlib.experiments import provenance
from gbnlib.store import Done, Found, Store

if TYPE_CHECKING:
    import pandas as pd

TEXT_FILES = ("config.json", "result.csv", "provenance.json")


class _Done(Done):
    seconds: FiniteFloat


@dataclass(frozen=True)
class Measurement(Found):
    """A finished measurement on disk; `origin` is "local" or "reference"."""

    id: str

    @property
    def seconds(self) -> float:
        """What it took to make."""
        return self.done["seconds"]

    def frame(self) -> "pd.DataFrame":
        """The result."""
        import pandas as pd

        return pd.read_csv(self.folder / "result.csv")


def identify(name: str, parameters: Mapping[str, Any], version: int = 1) -> str:
    """The id of a measurement: its name, then 12 hex digits over name, version and parameters."""
    content = {"name": name, "version": version, "parameters": dict(parameters)}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{files.check_name('measurement', name)}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"


MEASUREMENTS = Store(
    "measurement", TEXT_FILES, _Done, Measurement, lambda of: identify(of["name"], of["parameters"], of["version"]), str
)
root, find, damage, promote = MEASUREMENTS.root, MEASUREMENTS.find, MEASUREMENTS.damage, MEASUREMENTS.promote


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
    if force or damage(measurement_id) is not None or find(measurement_id) is None:
        with files.locked(root(), measurement_id):
            MEASUREMENTS.clear(measurement_id)
            if force or find(measurement_id) is None:  # else another process made it while this one waited
                started = time.monotonic()
                frame = function(**parameters)
                config = {"id": measurement_id, "name": name, "version": version, "parameters": dict(parameters)}
                _write(config, frame, round(time.monotonic() - started, 2))
    made = find(measurement_id)
    assert made is not None
    return made.frame()


def _write(config: dict, frame: "pd.DataFrame", seconds: float) -> None:
    """Write a measurement beside its place, then let it take the place of an older one."""
    with files.atomic_folder(MEASUREMENTS.folder(config["id"])) as folder:
        files.write_json(folder / "config.json", config)
        files.write_text(folder / "result.csv", frame.to_csv(index=False))
        facts = {**provenance.software(), **provenance.hardware(), "seconds": seconds, "finished": provenance.now()}
        files.write_json(folder / "provenance.json", facts)
        MEASUREMENTS.finish(folder, {"id": config["id"], "seconds": seconds})


def plan(scale: str, item: str = "") -> dict[str, paper.MeasurementPlan]:
    """What is measured at a scale, for one item or for all, by id."""
    planned = [paper.measurement(name, scale) for name in paper.measurements()]
    return {planned_id(entry): entry for entry in planned if item in ("", entry.item)}


def planned_id(entry: paper.MeasurementPlan) -> str:
    """The id of a planned measurement."""
    return identify(entry.name, entry.parameters, entry.version)
