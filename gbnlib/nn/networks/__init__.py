"""The networks of the paper, by name, and what a sample costs in each of them.

To add one: write it in a file of its own, with a builder that takes ``(num_classes, in_channels, image_size)`` and
uses plain ``nn.BatchNorm*``, and name it in `NETWORKS`.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

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


def multiply_adds(network: nn.Module, in_channels: int, image_size: int) -> tuple[int, int]:
    """Count the multiply-adds of convolutions and linear layers, per sample.

    A layer costs its forward count once forward, once for the gradient of its weight and once for the gradient of
    its input, where these are needed: the first layer needs no gradient of its input, a frozen one none of its
    weight. Biases, normalization and activations are left out, and so are layers that are not modules. Nothing is
    computed: a copy of the network runs on the meta device.

    Parameters
    ----------
    network : nn.Module
        Takes images of shape (1, `in_channels`, `image_size`, `image_size`).
    in_channels, image_size : int
        Channels, and side of the square images in pixels.

    Returns
    -------
    forward, training : int
        Multiply-adds of a forward pass, and of forward and backward pass together. One multiply-add is two FLOP.
    """
    counts = []

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        forward = output.numel() * layer.weight[0].numel()  # weight[0]: what makes one output value
        counts.append((forward, forward * (1 + layer.weight.requires_grad + inputs[0].requires_grad)))

    network = copy.deepcopy(network).to("meta", torch.float32).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            layer.register_forward_hook(count)
    with torch.enable_grad():
        network(torch.empty(1, in_channels, image_size, image_size, device="meta"))
    return sum(forward for forward, _ in counts), sum(training for _, training in counts)
