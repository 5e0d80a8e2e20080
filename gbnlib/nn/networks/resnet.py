"""ResNet44, the residual network of He et al. 2016 for small images, as in the official code of Hoffer et al. 2017."""

from torch import Tensor, nn

from gbnlib.errors import check_integer
from gbnlib.nn.networks.initialisation import initialise


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions with normalisation, added to a shortcut: (N, before, H, W) → (N, after, H', W').

    Where shape or width change, the shortcut is a 1 × 1 convolution with normalisation; He et al. 2016 pad with zeros.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or before != after:
            convolution = nn.Conv2d(before, after, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(after))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.relu(self.residual(images) + self.shortcut(images))


class ResNet(nn.Sequential):
    """A 3 × 3 convolution, three stages of residual blocks (16, 32, 64 channels), the mean over the map, a classifier.

    Takes images of shape (N, `in_channels`, `image_size`, `image_size`), gives logits of shape (N, `num_classes`).

    Parameters
    ----------
    num_classes, in_channels, image_size : int
        Classes, channels and side of the images in pixels (10, 3 and 32 for CIFAR-10).
    depth : int, default 44
        Layers in He et al.'s count, at least 8: a stage has (`depth` − 2) / 6 blocks, rounded down.
    width : int, default 1
        Factor on the channels of all stages.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, *, depth: int = 44, width: int = 1) -> None:
        blocks = (check_integer("depth", depth, 8) - 2) // 6
        channels = [stage * check_integer("width", width, 1) for stage in (16, 32, 64)]
        side = -(-image_size // 4)  # two strides of 2, each rounded up
        super().__init__(
            nn.Conv2d(in_channels, channels[0], kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(inplace=True),
            _stage(channels[0], channels[0], blocks, stride=1),
            _stage(channels[0], channels[1], blocks, stride=2),
            _stage(channels[1], channels[2], blocks, stride=2),
            nn.AvgPool2d(side),
            nn.Flatten(),
            nn.Linear(channels[2], num_classes),
        )
        initialise(self)


def _stage(before: int, after: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks of one width; the first changes width and resolution."""
    first = BasicBlock(before, after, stride)
    return nn.Sequential(first, *(BasicBlock(after, after, stride=1) for _ in range(blocks - 1)))
