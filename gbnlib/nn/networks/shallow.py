"""C1 and C3, the shallow convolutional networks of Keskar et al. 2017, as Hoffer et al. 2017 train them on CIFAR."""

from torch import nn

from gbnlib.errors import check_integer
from gbnlib.nn.dropout import BatchDropout
from gbnlib.nn.networks.initialisation import initialise

SMALLEST_IMAGE = 7  # 7 → 3 → 1: what two 3 × 3 pools with stride 2 leave


class Shallow(nn.Sequential):
    """Two 5 × 5 convolutions (64), each pooled 3 / 2, then linear layers of 384 and 192 with dropout, and a classifier.

    Every layer but the last is followed by batch normalization and ReLU and has no bias. Takes images of shape
    (N, `in_channels`, `image_size`, `image_size`), gives logits of shape (N, `num_classes`). C1 and C3 differ in the
    data they are trained on alone.

    Parameters
    ----------
    num_classes, in_channels, image_size : int
        Classes, channels and side of the images in pixels, at least 7 (10, 3 and 32 for CIFAR-10).
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int) -> None:
        side = check_integer("image_size of C1 and C3", image_size, SMALLEST_IMAGE)
        for _ in range(2):
            side = (side - 3) // 2 + 1
        super().__init__(
            *_convolution(in_channels, 64),
            *_convolution(64, 64),
            nn.Flatten(),
            *normalised_linear(64 * side**2, 384),
            *normalised_linear(384, 192),
            nn.Linear(192, num_classes),
        )
        initialise(self)


def _convolution(before: int, after: int) -> list[nn.Module]:
    """Convolution, pool, normalisation, ReLU."""
    convolution = nn.Conv2d(before, after, kernel_size=5, padding=2, bias=False)
    return [convolution, nn.MaxPool2d(kernel_size=3, stride=2), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def normalised_linear(before: int, after: int) -> list[nn.Module]:
    """Linear layer, normalisation, ReLU, dropout."""
    return [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True), BatchDropout(0.5)]
