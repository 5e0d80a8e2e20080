"""Runs: what they are, which runs an item needs, making them, and finding them again."""

from typing import TYPE_CHECKING

from gbnlib.experiments.config import ENGINE, RunConfig
from gbnlib.experiments.observer import Observer
from gbnlib.experiments.parallel import (
    describe,
    duration,
    jobs_on,
    progress_text,
    remaining_seconds,
    resources,
    run_all,
)
from gbnlib.experiments.planning import (
    ITEMS,
    ablations,
    custom_config,
    estimated_seconds,
    items_at,
    plan,
    plan_scale,
    study,
    updates,
)
from gbnlib.experiments.store import (
    Run,
    errors_so_far,
    find,
    folder,
    is_done,
    load_history,
    load_runs,
    load_study,
    progress,
    promote,
)
from gbnlib.lazy import names_of

if TYPE_CHECKING:
    from gbnlib.experiments.initial import initial_norms
    from gbnlib.experiments.runner import run

__all__ = [
    "ENGINE",
    "ITEMS",
    "Observer",
    "Run",
    "RunConfig",
    "ablations",
    "describe",
    "duration",
    "errors_so_far",
    "estimated_seconds",
    "find",
    "folder",
    "initial_norms",
    "is_done",
    "items_at",
    "jobs_on",
    "load_history",
    "load_runs",
    "load_study",
    "custom_config",
    "plan",
    "plan_scale",
    "progress",
    "progress_text",
    "promote",
    "remaining_seconds",
    "resources",
    "run",
    "run_all",
    "study",
    "updates",
]

__getattr__, __dir__ = names_of(
    __name__, {"initial_norms": "gbnlib.experiments.initial", "run": "gbnlib.experiments.runner"}
)
