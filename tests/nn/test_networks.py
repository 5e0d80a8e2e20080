"""The networks and the registry, against counts done by hand."""

from collections import Counter

import pytest
import torch
import torchvision
from torch import nn

from gbnlib.nn import NETWORKS, GhostBatchNorm1d, build_network
from gbnlib.nn.networks.resnet import BasicBlock, ResNet
from gbnlib.nn.networks.wide_resnet import WideResNet
from gbnlib.training.draws import Draws

# Classes, channels and side of the images of the paper.
SHAPES = {
    "f1": (10, 1, 28),
    "c1": (10, 3, 32),
    "resnet44": (10, 3, 32),
    "vgg": (10, 3, 32),
    "c3": (100, 3, 32),
    "wresnet16-4": (100, 3, 32),
    "alexnet": (1000, 3, 224),
}
SMALL = {name: 64 if name == "alexnet" else 32 for name in SHAPES}  # images that every network can take, and quickly

F1_FORWARD = 784 * 512 + 4 * 512 * 512 + 512 * 10  # 1,455,104


def norms(network):
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d)]


def test_f1_has_the_layers_and_parameters_of_the_paper():
    network = build_network("f1", num_classes=10, in_channels=1, image_size=28)
    weights = [tuple(layer.weight.shape) for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert weights == [(512, 784), (512, 512), (512, 512), (512, 512), (512, 512), (10, 512)]
    assert [type(layer) for layer in norms(network)] == [nn.BatchNorm1d] * 5
    # weights, biases of the linear layers, scale and shift of the five norms
    assert sum(parameter.numel() for parameter in network.parameters()) == F1_FORWARD + 5 * 512 + 10 + 5 * 1024
    assert network(torch.randn(3, 1, 28, 28)).shape == (3, 10)


# Parameters by hand: weights of convolutions, of linear layers with their biases, scale and shift of the norms.
PARAMETERS = {
    "c1": 4_800 + 102_400 + 3_136 * 384 + 384 * 192 + 193 * 10 + 2 * (64 + 64 + 384 + 192),
    "c3": 4_800 + 102_400 + 3_136 * 384 + 384 * 192 + 193 * 100 + 2 * (64 + 64 + 384 + 192),
    # 3 × 3 convolutions 16 → 16: 2,304; 32 → 32: 9,216; 64 → 64: 36,864; a stage has 14, the first of them half a one
    # where the width doubles, and then a 1 × 1 shortcut. A stage has 15 norms, the one before it or of its shortcut in.
    "resnet44": 432
    + 14 * 2_304
    + (4_608 + 13 * 9_216 + 512)
    + (18_432 + 13 * 36_864 + 2_048)
    + 2 * 15 * (16 + 32 + 64)
    + 65 * 10,
    "wresnet16-4": 1_728
    + 4 * 36_864
    + (73_728 + 3 * 147_456 + 8_192)
    + (294_912 + 3 * 589_824 + 32_768)
    + 2 * 5 * (64 + 128 + 256)
    + 257 * 100,
    "vgg": 1_728
    + 36_864
    + (73_728 + 147_456)
    + (294_912 + 2 * 589_824)
    + (1_179_648 + 5 * 2_359_296)
    + 3 * 4_224  # bias, scale and shift of the 4,224 channels in all
    + 513 * 4096
    + 4097 * 4096
    + 4097 * 10,
    "alexnet": 23_232
    + 307_200
    + 663_552
    + 884_736
    + 589_824
    + 9_216 * 4_096
    + 4_096 * 4_096
    + 4_097 * 1_000
    + 2 * (64 + 192 + 384 + 256 + 256 + 4_096 + 4_096),
}
# Expected squared norm of all convolutions: twice the sum of their input channels, for k · k · in · out values of
# variance 2 / (k · k · out).
SQUARED_NORMS = {
    "c1": 2 * (3 + 64),
    "c3": 2 * (3 + 64),
    "resnet44": 2 * (3 + 14 * 16 + (16 + 13 * 32 + 16) + (32 + 13 * 64 + 32)),  # 3,142: a norm of 56
    "wresnet16-4": 2 * (3 + 4 * 64 + (64 + 3 * 128 + 64) + (128 + 3 * 256 + 128)),
    "vgg": 2 * (3 + 64 + 64 + 128 + 128 + 3 * 256 + 5 * 512),
    "alexnet": 2 * (3 + 64 + 192 + 384 + 256),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_counted_by_hand(name):
    with torch.device("meta"):
        network = build_network(name, *SHAPES[name])
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", SQUARED_NORMS)
def test_initial_weights_have_the_norm_of_their_distribution(name):
    torch.manual_seed(0)
    network = build_network(name, 10, 3, SMALL[name])
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    found = sum(layer.weight.square().sum().item() for layer in convolutions)
    # The sum of n squares of N(0, s²) has the variance 2 n s⁴, which is 8 in / (k · k · out) for a layer.
    variances = [8 * conv.in_channels / (conv.kernel_size[0] ** 2 * conv.out_channels) for conv in convolutions]
    assert found == pytest.approx(SQUARED_NORMS[name], abs=4 * sum(variances) ** 0.5)
    scales = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d)]
    assert all((layer.weight == 1).all() and (layer.bias == 0).all() for layer in scales)


@pytest.mark.parametrize(("before", "after", "stride"), [(16, 16, 1), (16, 32, 2)])
def test_a_residual_block_is_that_of_torchvision(before, after, stride):
    theirs = torchvision.models.resnet.BasicBlock(
        before,
        after,
        stride,
        nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)) if stride > 1 else None,
    )
    mine = BasicBlock(before, after, stride)
    mine.load_state_dict(dict(zip(mine.state_dict(), theirs.state_dict().values(), strict=True)))
    images = torch.randn(4, before, 8, 8)
    torch.testing.assert_close(mine(images), theirs(images))


def test_the_convolutions_of_vgg_are_those_of_torchvision():
    theirs = torchvision.models.vgg16_bn(num_classes=10).features
    mine = nn.Sequential(*list(build_network("vgg", 10, 3, 32))[: len(theirs)])
    mine.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(mine(images), theirs(images))


def test_the_convolutions_of_alexnet_have_the_one_weird_trick_shapes():
    with torch.device("meta"):
        networks = build_network("alexnet", 10, 3, 224), torchvision.models.alexnet(num_classes=10)
    mine, theirs = (
        [
            (layer.weight.shape, layer.stride, layer.padding)
            for layer in network.modules()
            if hasattr(layer, "stride") and hasattr(layer, "weight")
        ]
        for network in networks
    )
    assert mine == theirs


@pytest.mark.parametrize(("depth", "blocks"), [(8, 1), (16, 2), (20, 3), (44, 7)])
def test_depth_is_six_blocks_and_two(depth, blocks):
    with torch.device("meta"):
        network = ResNet(10, 3, 32, depth=depth)
    assert sum(isinstance(layer, BasicBlock) for layer in network.modules()) == 3 * blocks


def test_the_wide_network_is_the_narrow_one_with_more_channels():
    with torch.device("meta"):
        wide, narrow = WideResNet(10, 3, 32, depth=16, width=1), ResNet(10, 3, 32, depth=16)
    assert [tensor.shape for tensor in wide.parameters()] == [tensor.shape for tensor in narrow.parameters()]


@pytest.mark.parametrize("name", ["f1", "c1", "c3", "resnet44", "wresnet16-4"])
@pytest.mark.parametrize("image_size", [8, 28])
def test_small_images_are_taken_where_the_network_can(name, image_size):
    network = build_network(name, 10, 1, image_size)
    assert network(torch.randn(4, 1, image_size, image_size)).shape == (4, 10)


@pytest.mark.parametrize(("name", "smallest"), [("c1", 7), ("c3", 7), ("vgg", 32), ("alexnet", 63)])
def test_images_too_small_for_a_network_are_refused_with_the_smallest(name, smallest):
    network = build_network(name, 10, 3, smallest)
    assert network(torch.randn(2, 3, smallest, smallest)).shape == (2, 10)
    with pytest.raises(ValueError, match=f"image_size of .* must be at least {smallest}, got {smallest - 1}"):
        build_network(name, 10, 3, smallest - 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_ghost_size_changes_the_norms_and_nothing_else(name):
    torch.manual_seed(0)
    plain = build_network(name, 7, 3, SMALL[name])
    torch.manual_seed(0)
    ghost = build_network(name, 7, 3, SMALL[name], ghost_size=4)
    assert all(torch.equal(ghost.state_dict()[key], value) for key, value in plain.state_dict().items())
    images = torch.randn(8, 3, SMALL[name], SMALL[name])
    assert torch.equal(plain.eval()(images), ghost.eval()(images))
    assert plain(images).shape == (8, 7)


def test_ghost_size_reaches_every_norm():
    network = build_network("f1", 10, 1, 28, ghost_size=16)
    assert [(type(layer), layer.ghost_size) for layer in norms(network)] == [(GhostBatchNorm1d, 16)] * 5


def test_ghosts_on_the_whole_batch_equal_accumulated_gradients_of_plain_chunks():
    # Claim C13; exact, but for the order of sums.
    torch.manual_seed(0)
    ghost = build_network("f1", 10, 1, 8, ghost_size=4).double()
    plain = build_network("f1", 10, 1, 8).double()
    plain.load_state_dict(ghost.state_dict())
    images, labels = torch.randn(10, 1, 8, 8, dtype=torch.float64), torch.arange(10)
    loss = nn.CrossEntropyLoss(reduction="sum")
    (loss(ghost(images), labels) / 10).backward()
    for chunk, target in zip(images.split(4), labels.split(4), strict=True):
        (loss(plain(chunk), target) / 10).backward()
    for mine, theirs in zip(ghost.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    for mine, theirs in zip(norms(ghost), norms(plain), strict=True):
        torch.testing.assert_close(mine.running_mean, theirs.running_mean)
        torch.testing.assert_close(mine.running_var, theirs.running_var)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (("F-1", 10, 1, 28), {}, ValueError, ["'F-1'", "did you mean 'f1'?", "Allowed: f1, c1"]),
        (("zzz", 10, 1, 28), {}, ValueError, ["'zzz'. Allowed: f1, c1"]),
        (("f1", 0, 1, 28), {}, ValueError, ["num_classes", "0"]),
        (("f1", 10, 1, 28.0), {}, TypeError, ["image_size", "28.0"]),
        (("f1", 10, 1, 28), {"ghost_size": -1}, ValueError, ["ghost_size", "-1"]),
    ],
)
def test_bad_requests_are_refused_with_the_allowed_values(arguments, options, error, words):
    with pytest.raises(error) as raised:
        build_network(*arguments, **options)
    assert all(word in str(raised.value) for word in words)


@pytest.mark.parametrize("name", SHAPES)
def test_a_compiled_network_is_compiled_once_for_all_updates_and_parts(name):
    torch.compiler.reset()
    graphs = Counter()

    def noted(module, inputs):
        graphs[name] += 1
        return module

    network = build_network(name, 10, 3, SMALL[name], ghost_size=2)
    draws, compiled = Draws(network, 0), torch.compile(network, backend=noted, fullgraph=True)
    images = torch.randn(12, 3, SMALL[name], SMALL[name])
    for update in range(3):
        draws.begin(update, len(images))
        for first in (0, 4, 8):
            draws.go_to(first)
            assert compiled(images[first : first + 4]).shape == (4, 10)
    assert graphs[name] == 1
