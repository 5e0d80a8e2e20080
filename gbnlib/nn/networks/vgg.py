"""VGG-16 (Simonyan & Zisserman 2015) with batch normalization, for images of 32 pixels.

The paper's VGG was not released; this is the form of a later code of its first author.
"""

from torch import nn

from gbnlib.errors import check_integer
from gbnlib.nn.dropout import BatchDropout
from gbnlib.nn.networks.initialisation import initialise

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
SMALLEST_IMAGE = 2 ** len(STAGES)


class VGG(nn.Sequential):
    """Thirteen 3 × 3 convolutions with normalisation and ReLU in five pooled stages, then three linear layers.

    The linear layers (4096, 4096, classes) have dropout and no normalisation. Takes images of shape
    (N, `in_channels`, `image_size`, `image_size`), gives logits of shape (N, `num_classes`).

    Parameters
    ----------
    num_classes, in_channels, image_size : int
        Classes, channels and side of the images in pixels, at least 32 (10, 3 and 32 for CIFAR-10).
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int) -> None:
        side = check_integer("image_size of VGG", image_size, SMALLEST_IMAGE) // SMALLEST_IMAGE
        layers, before = [], in_channels
        for stage in STAGES:
            for after in stage:
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
                before = after
            layers.append(nn.MaxPool2d(2))
        super().__init__(
            *layers,
            nn.Flatten(),
            *_linear(before * side**2, 4096),
            *_linear(4096, 4096),
            nn.Linear(4096, num_classes),
        )
        initialise(self)


def _linear(before: int, after: int) -> list[nn.Module]:
    """Linear layer, ReLU, dropout."""
    return [nn.Linear(before, after), nn.ReLU(inplace=True), BatchDropout(0.5)]
