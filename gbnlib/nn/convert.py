"""Turn the batch normalization of an existing model into ghost batch normalization, and back."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin

from gbnlib.nn.functional import Remainder, Running
from gbnlib.nn.layers import GhostBatchNorm, GhostBatchNorm1d, GhostBatchNorm2d, GhostBatchNorm3d, ghost_options

#: The ghost layer of each plain one.
GHOST_OF = {
    nn.BatchNorm1d: GhostBatchNorm1d,
    nn.BatchNorm2d: GhostBatchNorm2d,
    nn.BatchNorm3d: GhostBatchNorm3d,
}
_PLAIN_OF = {ghost: plain for plain, ghost in GHOST_OF.items()}


def convert_ghost_batchnorm(
    module: nn.Module, ghost_size: int, *, remainder: Remainder = "own", running: Running = "sequential"
) -> nn.Module:
    """Turn every ``nn.BatchNorm1d/2d/3d`` of a model into the ghost layer of the same dimension, in place.

    The layer objects stay the same and only change class. So everything else stays as well: parameters and buffers
    (an optimizer made before still trains them), training mode, dtype, device, hooks, `affine`,
    `track_running_stats`, and layers that are used in several places.

    Parameters
    ----------
    module : nn.Module
        A model, or a batch normalization layer. A model without any is returned as it is.
    ghost_size : int
        Samples normalised together, at least 1.
    remainder : {"own", "error"}, default "own"
        As in `GhostBatchNorm2d`.
    running : {"sequential", "mean"}, default "sequential"
        As in `GhostBatchNorm2d`.

    Returns
    -------
    nn.Module
        `module` itself. Ghost layers that it already had now have the options of this call.

    Raises
    ------
    TypeError
        For a batch normalization layer that is not one of PyTorch's three plain ones (a subclass of them,
        ``SyncBatchNorm``, a lazy layer without shape): its behaviour would be lost. Nothing has been changed then.
    TypeError, ValueError
        For options that are not allowed. Nothing has been changed then.

    Notes
    -----
    - ``nn.SyncBatchNorm.convert_sync_batchnorm`` puts layers that normalise over all devices together in the place of
      ghost layers, without a word and for good: leave that call out.
    - ``torch.fx`` keeps ghost layers whole, in training and in evaluation, and with it torchvision's
      ``create_feature_extractor`` and ``prepare_fx``; ``torch.export`` and ``torch.jit.script`` take them in
      evaluation.
    - What recognises batch normalization by its class, such as the fusion with a convolution in quantization or in
      ``torch.fx.experimental.optimization.fuse``, passes ghost layers by. A model that is done with training is the
      same model without them, so give such tools ``revert_ghost_batchnorm(copy.deepcopy(model)).eval()``.
    """
    options = ghost_options(ghost_size, remainder, running)
    for layer in _ghostable_layers(module):
        layer.__class__ = GHOST_OF.get(type(layer), type(layer))
        vars(layer).update(options)
    return module


def revert_ghost_batchnorm(module: nn.Module) -> nn.Module:
    """Turn every ghost layer of a model back into the plain layer, in place.

    Parameters
    ----------
    module : nn.Module
        A model, or a ghost layer. A model without any is returned as it is.

    Returns
    -------
    nn.Module
        `module` itself; what `convert_ghost_batchnorm` keeps is kept here too.

    Raises
    ------
    TypeError
        For a subclass of the ghost layers: its behaviour would be lost. Nothing has been changed then.
    """
    named = [(path, layer) for path, layer in module.named_modules() if isinstance(layer, GhostBatchNorm)]
    for path, layer in named:
        if type(layer) not in _PLAIN_OF:
            raise TypeError(f"cannot revert {_described(path, layer)}: it is a subclass of a ghost layer")
    for _, layer in named:
        layer.__class__ = _PLAIN_OF[type(layer)]
        for option in ghost_options(layer.ghost_size):
            delattr(layer, option)
    return module


def _ghostable_layers(module: nn.Module) -> list[nn.Module]:
    """List the batch normalization layers of `module`, each once, or refuse those that cannot be converted."""
    named = [(path, layer) for path, layer in module.named_modules() if isinstance(layer, _BatchNorm)]
    for path, layer in named:
        if type(layer) not in GHOST_OF and type(layer) not in _PLAIN_OF:
            raise TypeError(f"cannot convert {_described(path, layer)}: {_refusal(layer)}")
    return [layer for _, layer in named]


def _described(path: str, layer: nn.Module) -> str:
    """Name a layer by its class and by where it is."""
    return f"{type(layer).__module__}.{type(layer).__qualname__} at {path!r}" if path else f"{type(layer).__qualname__}"


def _refusal(layer: nn.Module) -> str:
    """Say why a batch normalization layer cannot become a ghost layer, and what to do."""
    if isinstance(layer, LazyModuleMixin):
        return "a lazy layer has no shape yet; run one batch through the model first, then convert"
    if isinstance(layer, nn.SyncBatchNorm):
        return (
            "it normalises over all devices together, the opposite of ghosts; convert the model before "
            "convert_sync_batchnorm is called on it, and leave that call out"
        )
    return "only nn.BatchNorm1d, 2d and 3d themselves are known; replace this layer by one of them, or by hand"
