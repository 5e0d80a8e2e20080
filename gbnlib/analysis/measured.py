"""Making what `paper/measurements.toml` plans."""

import inspect
import pkgutil
from functools import partial

import pandas as pd

from gbnlib import experiments, paper


def make(plan: paper.MeasurementPlan, *, device: str = "auto", force: bool = False) -> pd.DataFrame:
    """The frame of a planned measurement: found on disk, or computed now.

    Parameters
    ----------
    plan : what is measured, as `paper.measurement` has it.
    device : "auto", "cpu" or "cuda", for a function that takes one.
    force : compute again what is there.
    """
    function = pkgutil.resolve_name(f"gbnlib.analysis.{plan.function}")
    if "device" in inspect.signature(function).parameters:
        function = partial(function, device=device)
    return experiments.measure(plan.name, function, plan.parameters, version=plan.version, force=force)
