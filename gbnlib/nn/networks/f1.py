"""F1, the fully connected network of Keskar et al. 2017, as Hoffer et al. 2017 train it on MNIST."""

from itertools import pairwise

from torch import nn

WIDTH = 512
DEPTH = 5


class F1(nn.Sequential):
    """Five blocks of linear (512), batch normalization and ReLU, then a linear classifier.

    Takes images of shape (N, `in_channels`, `image_size`, `image_size`), gives logits of shape (N, `num_classes`).
    Linear layers keep PyTorch's default initialisation, as in the official code.

    Parameters
    ----------
    num_classes, in_channels, image_size : int
        Classes, channels and side of the images in pixels (10, 1 and 28 for MNIST).
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int) -> None:
        widths = [in_channels * image_size**2] + [WIDTH] * DEPTH
        blocks = [
            nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU())
            for before, after in pairwise(widths)
        ]
        super().__init__(nn.Flatten(), *blocks, nn.Linear(WIDTH, num_classes))
