"""Initial weights: those of the official residual networks for all, and what PyTorch drew by default in 2017."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def initialise(network: nn.Module) -> None:
    """Draw every convolution's weight from N(0, 2 / (k · k · out)), in place; leave the rest to PyTorch's defaults.

    The expected squared norm of such a weight is 2 · in: k · k · in · out values of that variance. Normalisation
    weights are 1 and biases 0 by default.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels
            nn.init.normal_(layer.weight, std=(2.0 / fan_out) ** 0.5)


def initialise_as_in_2017(network: nn.Module) -> None:
    """Draw what the defaults of PyTorch 0.1 drew, in place, for a network whose official code sets no weights.

    Convolutions are uniform within ± 1/√fan-in, as they are by default today. Normalisation weights are uniform in
    [0, 1]; PyTorch has them at 1 since version 1.2 (issue 12259, pull request 12325). Linear layers and biases keep
    what they have, which is drawn as it was then.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
        elif isinstance(layer, _BatchNorm):
            nn.init.uniform_(layer.weight)
