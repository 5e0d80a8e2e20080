"""The networks and the registry, against counts done by hand."""

import copy

import pytest
import torch
from torch import nn

from gbnlib.nn import NETWORKS, GhostBatchNorm1d, build_network, multiply_adds

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


@pytest.mark.parametrize("name", NETWORKS)
def test_ghost_size_changes_the_norms_and_nothing_else(name):
    torch.manual_seed(0)
    plain = build_network(name, 7, 3, 32)
    torch.manual_seed(0)
    ghost = build_network(name, 7, 3, 32, ghost_size=4)
    assert all(torch.equal(ghost.state_dict()[key], value) for key, value in plain.state_dict().items())
    images = torch.randn(8, 3, 32, 32)
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
        (("F-1", 10, 1, 28), {}, ValueError, ["'F-1'", "nearest: 'f1'", "allowed: ", "f1"]),
        (("zzz", 10, 1, 28), {}, ValueError, ["'zzz'", "nearest: ", "allowed: "]),
        (("f1", 0, 1, 28), {}, ValueError, ["num_classes", "0"]),
        (("f1", 10, 1, 28.0), {}, TypeError, ["image_size", "28.0"]),
        (("f1", 10, 1, 28), {"ghost_size": -1}, ValueError, ["ghost_size", "-1"]),
    ],
)
def test_bad_requests_are_refused_with_the_allowed_values(arguments, options, error, words):
    with pytest.raises(error) as raised:
        build_network(*arguments, **options)
    assert all(word in str(raised.value) for word in words)


# --- multiply_adds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ghost_size", [0, 16])
def test_multiply_adds_of_f1_on_mnist(ghost_size):
    forward, training = multiply_adds(build_network("f1", 10, 1, 28, ghost_size), in_channels=1, image_size=28)
    assert forward == 1_455_104
    assert training == 3 * 1_455_104 - 401_408  # the first layer needs no gradient of its input
    assert training == 3_963_904


def test_multiply_adds_of_convolutions_by_hand():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),  # 8 * 8 * 4 outputs of 27: 6,912
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),  # 4 * 4 * 6 outputs of 18: 1,728
        nn.Flatten(),
        nn.Linear(96, 5),  # 480
    )
    assert multiply_adds(network, 3, 8) == (6_912 + 1_728 + 480, 2 * 6_912 + 3 * (1_728 + 480))
    network[0].requires_grad_(False)
    # Frozen: no gradient of its weight. The norm behind it still needs one, so the rest stays.
    assert multiply_adds(network, 3, 8) == (6_912 + 1_728 + 480, 6_912 + 3 * (1_728 + 480))


def test_multiply_adds_leave_the_network_alone():
    network = build_network("f1", 10, 1, 8).double()
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        assert multiply_adds(network, 1, 8) == multiply_adds(network.float(), 1, 8)
    assert network.training
    assert not any(layer._forward_hooks for layer in network.modules())
    assert all(torch.equal(value.double(), before[key]) for key, value in network.state_dict().items())
