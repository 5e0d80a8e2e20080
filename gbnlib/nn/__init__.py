"""Ghost batch normalization for PyTorch, and the networks of the paper. Needs nothing but torch.

Notes
-----
**Running statistics after training.** By default every ghost moves the running statistics by the momentum η, as in
the official code. A forward over K ghosts thus keeps the share (1 - η)^K of what was there: with η = 0.1 and K = 32,
a batch of 4096 in ghosts of 128, it forgets 1 - 0.9^32 = 96.6 %. However large the batch, evaluation rests on about
(2 - η) / η = 19 ghosts, nearly all of them from the last batch. That matters when ghosts are small, so that 19 of them
estimate badly, and when the last batch is not like the others. Then recompute the statistics after training, with one
pass over the training data:

>>> import torch
>>> from torch.optim.swa_utils import update_bn
>>> images = torch.randn(100, 3, 8, 8)
>>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
>>> model = convert_ghost_batchnorm(model, ghost_size=8)
>>> loader = torch.utils.data.DataLoader(images, batch_size=32, shuffle=True, drop_last=True)
>>> update_bn(loader, model)

``update_bn`` sets the momentum to None for that pass. A ghost layer then takes the mean over forwards of the mean over
ghosts, weighted by their sizes; with batches of one size (``drop_last=True``) this is the weighted mean over all
ghosts of the pass, of their means and of their unbiased variances. A plain layer takes the same for whole batches. On
the same input the two agree in the mean. The variance differs: that of a whole batch also holds the spread of the
ghosts' means, while that of a ghost layer is (in its unbiased form) what it divided by in training.

To average over more ghosts in training itself, use ``running="mean"``, one step per forward as in plain batch
normalization, or the momentum 1 - (1 - η)^(1 / K).

**Activation checkpointing** repeats forwards: see `frozen_statistics`. **Several processes** with
``DistributedDataParallel``, each with a multiple of the ghost size, normalise and train as one process would; for the
running statistics see `compose_running_statistics`.
"""

from gbnlib.nn.convert import convert_ghost_batchnorm, revert_ghost_batchnorm
from gbnlib.nn.functional import ghost_batch_norm, ghost_sizes
from gbnlib.nn.layers import GhostBatchNorm1d, GhostBatchNorm2d, GhostBatchNorm3d, force_num_ghosts
from gbnlib.nn.networks import NETWORKS, build_network
from gbnlib.nn.running_statistics import compose_running_statistics, frozen_statistics

__all__ = [
    "NETWORKS",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "GhostBatchNorm3d",
    "build_network",
    "compose_running_statistics",
    "convert_ghost_batchnorm",
    "force_num_ghosts",
    "frozen_statistics",
    "ghost_batch_norm",
    "ghost_sizes",
    "revert_ghost_batchnorm",
]
