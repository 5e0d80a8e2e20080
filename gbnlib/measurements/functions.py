"""Which function makes a measurement of `paper/measurements.toml`."""

from collections.abc import Callable
from functools import partial

import pandas as pd

from gbnlib import paper
from gbnlib.measurements import covariance, ghosts, landscape, noise_scale, random_field, random_walk
from gbnlib.measurements.store import measure
from gbnlib.training.devices import arithmetic

FUNCTIONS: dict[str, Callable[..., pd.DataFrame]] = {
    "passages": random_walk.measure_passages,
    "walks": random_walk.measure_walks,
    "valleys": random_walk.measure_valleys,
    "field_walks": random_field.measure_field_walks,
    "ghost_noise": ghosts.measure_noise,
    "running_statistics": ghosts.measure_running,
    "accumulation": ghosts.measure_accumulation,
    "covariance_identity": covariance.measure_identity,
    "covariance_scaling": covariance.measure_scaling,
    "covariance_approximations": covariance.measure_approximations,
    "landscape_f1": landscape.measure_directions,
    "landscape_null": landscape.measure_directions,
    "landscape_resnet": landscape.measure_directions,
    "trajectory_f1": landscape.measure_trajectory,
    "structure_f1": landscape.measure_structure,
    "trajectory_resnet": landscape.measure_trajectory,
    "noise_scale": noise_scale.measure_noise_scale,
}
#: Those that work on the device of a network.
ON_DEVICE = {
    landscape.measure_directions,
    landscape.measure_trajectory,
    landscape.measure_structure,
    noise_scale.measure_noise_scale,
}


def make(plan: paper.MeasurementPlan, *, device: str = "auto", force: bool = False) -> pd.DataFrame:
    """The frame of a planned measurement: found on disk, or computed now.

    Parameters
    ----------
    plan : what is measured, as `paper.measurement` has it.
    device : "auto", "cpu" or "cuda", for a function that trains or evaluates a network.
    force : compute again what is there.
    """
    function = FUNCTIONS[plan.name]
    if function in ON_DEVICE:
        function = partial(function, device=device)
    with arithmetic("fp32"):
        return measure(plan.name, function, plan.parameters, version=plan.version, force=force)
