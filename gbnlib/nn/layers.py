"""Ghost batch normalization as layers: drop-in replacements for ``nn.BatchNorm1d/2d/3d``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.modules.batchnorm import _BatchNorm

from gbnlib.errors import check_choice, check_integer
from gbnlib.nn.functional import Remainder, Running, ghost_batch_norm


def ghost_options(ghost_size: int, remainder: Remainder = "own", running: Running = "sequential") -> dict[str, object]:
    """Check the options that a ghost layer has and a plain one has not, and return them by attribute name."""
    return {
        "ghost_size": check_integer("ghost_size", ghost_size, 1),
        "remainder": check_choice("remainder", remainder, get_args(Remainder)),
        "running": check_choice("running", running, get_args(Running)),
        "num_ghosts": 0,  # changed by force_num_ghosts only
    }


class GhostBatchNorm(_BatchNorm):
    """What the three ghost layers share; use `GhostBatchNorm1d`, `GhostBatchNorm2d` or `GhostBatchNorm3d`."""

    def __init__(
        self,
        num_features: int,
        ghost_size: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        remainder: Remainder = "own",
        running: Running = "sequential",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        vars(self).update(ghost_options(ghost_size, remainder, running))

    def __setstate__(self, state: dict[str, object]) -> None:
        """Take the state of a pickled layer; one from an older version lacks the options that came later."""
        super().__setstate__({**ghost_options(state["ghost_size"]), **state})

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `input`, of shape (N, C, ...): by ghosts in training, as plain batch normalization otherwise."""
        if not torch.jit.is_scripting():
            return self._forward(input)
        # TorchScript compiles only what follows: it knows neither ghosts nor super().
        if self.training:
            raise RuntimeError("TorchScript has no ghosts: call eval(), or train the model that was scripted")
        self._check_input_dim(input)
        mean = self.running_mean
        return F.batch_norm(input, mean, self.running_var, self.weight, self.bias, mean is None, 0.0, self.eps)

    def _forward(self, input: Tensor | Proxy) -> Tensor | Proxy:
        if isinstance(input, Proxy) and (path := input.tracer.path_of_module(self)):
            # torch.fx keeps the layer whole, as it does with all layers of PyTorch.
            return input.tracer.create_proxy("call_module", path, (input,), {})
        if not self.training and self.num_features:
            return super().forward(input)
        self._check_input_dim(input)
        tracked = self.track_running_stats
        output = ghost_batch_norm(
            input,
            self.ghost_size,
            self.running_mean if tracked else None,
            self.running_var if tracked else None,
            self.weight,
            self.bias,
            self.training,
            momentum=self._cumulative_momentum() if self.momentum is None else self.momentum,
            eps=self.eps,
            remainder=self.remainder,
            running="mean" if self.momentum is None else self.running,
            num_ghosts=self.num_ghosts,
        )
        if self.training and tracked and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return output

    def _cumulative_momentum(self) -> float | Tensor:
        """Return 1/n for the n-th forward, as a tensor: reading its value would stall a GPU and break compilation."""
        if not self.track_running_stats or self.num_batches_tracked is None:
            return 0.0
        dtype = torch.promote_types(self.running_mean.dtype, torch.float32)
        return (self.num_batches_tracked + 1).to(dtype).reciprocal()

    def extra_repr(self) -> str:
        """Describe the layer: what ``nn.BatchNorm*`` shows, the ghost size, and options that are not the default."""
        defaults = ghost_options(self.ghost_size)
        changed = [f"{name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value]
        return ", ".join([super().extra_repr(), f"ghost_size={self.ghost_size}", *changed])


_PARAMETERS = """

    In training, ghosts of `ghost_size` consecutive samples are each normalised with their own mean and variance
    (Hoffer, Hubara & Soudry 2017, Algorithm 1; the formulas are in `ghost_batch_norm`). In evaluation this *is* the
    plain layer, at any batch size. The state dict is that of the plain layer, key for key.

    Do not use it with batches of at most `ghost_size` samples: it then only repeats the plain layer. A forward
    repeated by activation checkpointing updates the running statistics twice, as in the plain layer, unless
    `frozen_statistics` is used.

    Do not call ``nn.SyncBatchNorm.convert_sync_batchnorm`` on it: that replaces the layer by one that normalises over
    all devices together, without a word. For tools that know only the plain layer, see `convert_ghost_batchnorm`.

    Parameters
    ----------
    num_features : int
        Channels, C.
    ghost_size : int
        Samples normalised together, at least 1.
    eps : float, default 1e-5
        Added to the variance, inside the root.
    momentum : float or None, default 0.1
        Share of the new value in a running statistic, per ghost ("sequential") or per forward ("mean"). None: the
        cumulative mean over forwards of the mean over ghosts, weighted by their sizes, whatever `running` says.
    affine : bool, default True
        Learn a scale and a shift per channel.
    track_running_stats : bool, default True
        Keep running statistics; `num_batches_tracked` counts forwards, not ghosts. Without them, evaluation
        normalises with the statistics of the whole batch.
    remainder : {"own", "error"}, default "own"
        What happens to the samples that do not fill a ghost: a smaller last ghost (one that would hold a single value
        per channel joins the ghost before it), or a ValueError.
    running : {"sequential", "mean"}, default "sequential"
        One step of the running statistics per ghost, or one per forward with the mean over ghosts.
    device, dtype
        As in the plain layer.

    Raises
    ------
    TypeError, ValueError
        For options that are not allowed. A forward that raises leaves the running statistics as they were.

    See Also
    --------
    convert_ghost_batchnorm : Put ghost layers into an existing model.
    force_num_ghosts : Cut one batch into a given number of ghosts.
    frozen_statistics : Leave the running statistics as they are for a while.
    """


class GhostBatchNorm1d(GhostBatchNorm, nn.BatchNorm1d):
    __doc__ = "Ghost batch normalization of input of shape (N, C) or (N, C, L)." + _PARAMETERS


class GhostBatchNorm2d(GhostBatchNorm, nn.BatchNorm2d):
    __doc__ = "Ghost batch normalization of input of shape (N, C, H, W)." + _PARAMETERS


class GhostBatchNorm3d(GhostBatchNorm, nn.BatchNorm3d):
    __doc__ = "Ghost batch normalization of input of shape (N, C, D, H, W)." + _PARAMETERS


@contextmanager
def force_num_ghosts(module: nn.Module, num_ghosts: int) -> Iterator[nn.Module]:
    """Cut batches into a given number of ghosts, in every ghost layer of `module`, inside a ``with`` block.

    The official code keeps the number of ghosts when the last batch of an epoch is smaller, so that its ghosts
    shrink; this reproduces it (848 samples into 16 ghosts of 53).

    Parameters
    ----------
    module : nn.Module
        A ghost layer or a model with any number of them, also none.
    num_ghosts : int
        Number of ghosts of each training forward inside the block, as ``torch.chunk`` understands it; see
        `ghost_sizes`. 0: as the layers' own options say.

    Yields
    ------
    nn.Module
        `module`. Afterwards, and after an exception, its layers cut batches as before.

    Examples
    --------
    >>> layer = GhostBatchNorm1d(512, ghost_size=128)
    >>> with force_num_ghosts(layer, 16):
    ...     output = layer(torch.randn(848, 512))
    """
    num_ghosts = check_integer("num_ghosts", num_ghosts, 0)
    before = {layer: layer.num_ghosts for layer in module.modules() if isinstance(layer, GhostBatchNorm)}
    try:
        for layer in before:
            layer.num_ghosts = num_ghosts
        yield module
    finally:
        for layer, number in before.items():
            layer.num_ghosts = number
