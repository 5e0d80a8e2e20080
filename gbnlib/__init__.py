"""Ghost batch normalization, regime adaptation, and a reproduction of "Train longer, generalize better".

The names below are imported when they are first used, so `import gbnlib` costs nothing and
`gbnlib.nn` and `gbnlib.regimes` need torch alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gbnlib.experiments import RunConfig, load_runs, plan, run
    from gbnlib.nn import (
        GhostBatchNorm1d,
        GhostBatchNorm2d,
        GhostBatchNorm3d,
        build_network,
        convert_ghost_batchnorm,
        ghost_batch_norm,
        revert_ghost_batchnorm,
    )
    from gbnlib.regimes import Phase, Regime

__version__ = "0.1.0"

__all__ = [
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "GhostBatchNorm3d",
    "ghost_batch_norm",
    "convert_ghost_batchnorm",
    "revert_ghost_batchnorm",
    "build_network",
    "Phase",
    "Regime",
    "RunConfig",
    "plan",
    "run",
    "load_runs",
]

_HOMES = {
    **dict.fromkeys(__all__, "gbnlib.nn"),
    **dict.fromkeys(("Phase", "Regime"), "gbnlib.regimes"),
    **dict.fromkeys(("RunConfig", "plan", "run", "load_runs"), "gbnlib.experiments"),
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    """List the lazy names too, so that completion finds them."""
    return sorted({*globals(), *__all__})
