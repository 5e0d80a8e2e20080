"""WResnet16-4: the residual network of `resnet`, four times as wide, as in the official code of Hoffer et al. 2017."""

from gbnlib.nn.networks.resnet import ResNet


class WideResNet(ResNet):
    """`ResNet` with two blocks a stage and 64, 128 and 256 channels.

    Unlike the network of Zagoruyko & Komodakis 2016, whose name it bears: ReLU follows the sum, there is no dropout,
    and the first convolution is widened too.

    Parameters
    ----------
    num_classes, in_channels, image_size : int
        Classes, channels and side of the images in pixels (100, 3 and 32 for CIFAR-100).
    depth, width : int, default 16 and 4
        As in `ResNet`; a depth of 16, rounded down, is two blocks a stage.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, *, depth: int = 16, width: int = 4) -> None:
        super().__init__(num_classes, in_channels, image_size, depth=depth, width=width)
