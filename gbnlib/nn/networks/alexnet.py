"""AlexNet in the one-weird-trick form (Krizhevsky 2014) with batch normalization, from the authors' network code."""

from torch import nn

from gbnlib.errors import check_integer
from gbnlib.nn.networks.initialisation import initialise
from gbnlib.nn.networks.shallow import normalised_linear

SMALLEST_IMAGE = 63  # 63 → 15 → 7 → 3 → 1


class AlexNet(nn.Sequential):
    """Five convolutions and three linear layers, normalised, with ReLU before or after as in the authors' code.

    Takes images of shape (N, `in_channels`, `image_size`, `image_size`), gives logits of shape (N, `num_classes`).

    Parameters
    ----------
    num_classes, in_channels, image_size : int
        Classes, channels and side of the images in pixels, at least 63 (1000, 3 and 224 for ImageNet).
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int) -> None:
        side = (check_integer("image_size of AlexNet", image_size, SMALLEST_IMAGE) - 7) // 4 + 1
        for _ in range(3):
            side = (side - 3) // 2 + 1
        super().__init__(
            nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2, bias=False),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 192, kernel_size=5, padding=2, bias=False),
            nn.MaxPool2d(kernel_size=3, stride=2),
            *_activation(192),
            nn.Conv2d(192, 384, kernel_size=3, padding=1, bias=False),
            *_activation(384),
            nn.Conv2d(384, 256, kernel_size=3, padding=1, bias=False),
            *_activation(256),
            nn.Conv2d(256, 256, kernel_size=3, padding=1, bias=False),
            nn.MaxPool2d(kernel_size=3, stride=2),
            *_activation(256),
            nn.Flatten(),
            *normalised_linear(256 * side**2, 4096),
            *normalised_linear(4096, 4096),
            nn.Linear(4096, num_classes),
        )
        initialise(self)


def _activation(channels: int) -> list[nn.Module]:
    """ReLU, then normalisation."""
    return [nn.ReLU(inplace=True), nn.BatchNorm2d(channels)]
