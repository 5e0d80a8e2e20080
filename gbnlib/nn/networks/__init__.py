"""The networks of the paper, by name.

To add one: write it in a file of its own, with a builder that takes ``(num_classes, in_channels, image_size)`` and
uses plain ``nn.BatchNorm*``, and name it in `NETWORKS`.
"""

from collections.abc import Callable

from torch import nn

from gbnlib.errors import check_integer, unknown
from gbnlib.nn.convert import convert_ghost_batchnorm
from gbnlib.nn.networks.alexnet import AlexNet
from gbnlib.nn.networks.f1 import F1
from gbnlib.nn.networks.initialisation import initialise_as_in_2017
from gbnlib.nn.networks.resnet import ResNet
from gbnlib.nn.networks.shallow import Shallow
from gbnlib.nn.networks.vgg import VGG
from gbnlib.nn.networks.wide_resnet import WideResNet

NETWORKS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "f1": F1,
    "c1": Shallow,
    "resnet44": ResNet,
    "vgg": VGG,
    "c3": Shallow,
    "wresnet16-4": WideResNet,
    "alexnet": AlexNet,
}

#: The networks whose official code sets no initial weights; the residual ones set theirs, VGG was not released.
LEFT_TO_DEFAULTS = ("f1", "c1", "c3", "alexnet")
INITIALISATIONS = ("today", "2017")


def build_network(
    name: str, num_classes: int, in_channels: int, image_size: int, ghost_size: int = 0, initialisation: str = "today"
) -> nn.Module:
    """Build a network of the paper.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`.
    num_classes, in_channels, image_size : int
        Classes, channels, and side of the square images in pixels.
    ghost_size : int, default 0
        Samples normalised together in training; 0 means plain batch normalization. For the other options of the
        ghost layers call `convert_ghost_batchnorm` on the result.
    initialisation : {"today", "2017"}
        "today": normalisation weights 1, convolutions as in the official residual networks. "2017": as the official
        code drew them with PyTorch 0.1, see `initialise_as_in_2017`; the residual networks and VGG are the same in
        both.

    Returns
    -------
    nn.Module
        Takes (N, `in_channels`, `image_size`, `image_size`), gives logits (N, `num_classes`). The initial weights
        follow the global random state, and do not depend on `ghost_size`.

    Raises
    ------
    ValueError
        For an unknown name or initialisation, with the nearest one; for sizes out of range, images too small for the
        network included.
    TypeError
        For a size that is not an integer, such as 28.0.
    """
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    if initialisation not in INITIALISATIONS:
        raise unknown("initialisation", initialisation, INITIALISATIONS)
    sizes = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    for size, value in sizes.items():
        check_integer(size, value, 1)
    network = NETWORKS[name](num_classes, in_channels, image_size)
    if initialisation == "2017" and name in LEFT_TO_DEFAULTS:
        initialise_as_in_2017(network)
    return convert_ghost_batchnorm(network, ghost_size) if check_integer("ghost_size", ghost_size, 0) else network
