"""Runs: what they are, which runs an item needs, making them, and finding them again."""

from typing import TYPE_CHECKING

from gbnlib.experiments.config import ENGINE, RunConfig
from gbnlib.experiments.parallel import describe, jobs_on, remaining_seconds, resources, run_all
from gbnlib.experiments.planning import (
    ITEMS,
    ablations,
    custom_config,
    estimated_seconds,
    items_at,
    plan,
    plan_scale,
    updates,
)
from gbnlib.experiments.store import Run, find, folder, is_done, load_runs, progress, promote
from gbnlib.lazy import names_of

if TYPE_CHECKING:
    from gbnlib.experiments.initial import initial_norms
    from gbnlib.experiments.runner import run

__all__ = [
    "ENGINE",
    "ITEMS",
    "Run",
    "RunConfig",
    "ablations",
    "describe",
    "estimated_seconds",
    "find",
    "folder",
    "initial_norms",
    "is_done",
    "items_at",
    "jobs_on",
    "load_runs",
    "custom_config",
    "plan",
    "plan_scale",
    "progress",
    "promote",
    "remaining_seconds",
    "resources",
    "run",
    "run_all",
    "updates",
]

__getattr__, __dir__ = names_of(
    __name__, {"initial_norms": "gbnlib.experiments.initial", "run": "gbnlib.experiments.runner"}
)
