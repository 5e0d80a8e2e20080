"""Initial weights of the convolutional networks, as in the official code of Hoffer et al. 2017."""

from torch import nn


def initialise(network: nn.Module) -> None:
    """Draw every convolution's weight from N(0, 2 / (k · k · out)), in place; leave the rest to PyTorch's defaults.

    The expected squared norm of such a weight is 2 · in: k · k · in · out values of that variance. Normalisation
    weights are 1 and biases 0 by default.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels
            nn.init.normal_(layer.weight, std=(2.0 / fan_out) ** 0.5)
