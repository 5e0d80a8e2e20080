"""Ghost batch normalization, regime adaptation, and a reproduction of "Train longer, generalize better".

The names below are imported when they are first used, so `import gbnlib` costs nothing and
`gbnlib.nn` and `gbnlib.regimes` need torch alone.
"""

from typing import TYPE_CHECKING

from gbnlib.lazy import names_of

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

__getattr__, __dir__ = names_of(
    __name__,
    {
        **dict.fromkeys(__all__, "gbnlib.nn"),
        **dict.fromkeys(("Phase", "Regime"), "gbnlib.regimes"),
        **dict.fromkeys(("RunConfig", "plan", "run", "load_runs"), "gbnlib.experiments"),
    },
)
