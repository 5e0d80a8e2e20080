"""Ghost batch normalization for PyTorch, and the networks of the paper. Needs nothing but torch."""

from gbnlib.nn.convert import convert_ghost_batchnorm, revert_ghost_batchnorm
from gbnlib.nn.functional import ghost_batch_norm, ghost_sizes
from gbnlib.nn.layers import GhostBatchNorm1d, GhostBatchNorm2d, GhostBatchNorm3d, force_num_ghosts
from gbnlib.nn.networks import NETWORKS, build_network, multiply_adds

__all__ = [
    "NETWORKS",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "GhostBatchNorm3d",
    "build_network",
    "convert_ghost_batchnorm",
    "force_num_ghosts",
    "ghost_batch_norm",
    "ghost_sizes",
    "multiply_adds",
    "revert_ghost_batchnorm",
]
