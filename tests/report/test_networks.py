"""The table of the networks."""

import pytest

from gbnlib import paper
from gbnlib.nn import NETWORKS, build_network
from gbnlib.report.networks import network_row, network_table
from tests.nn.test_networks import F1_FORWARD, SHAPES

# Forward multiply-adds by hand: weights of a convolution times the pixels it gives.
FORWARD = {
    "f1": F1_FORWARD,
    "c1": 4_800 * 32**2 + 102_400 * 15**2 + 3_136 * 384 + 384 * 192 + 1_920,
    "resnet44": 432 * 32**2 + 32_256 * 32**2 + 124_928 * 16**2 + 499_712 * 8**2 + 640,
    "wresnet16-4": (1_728 + 147_456) * 32**2 + 524_288 * 16**2 + 2_097_152 * 8**2 + 25_600,
    "vgg": (1_728 + 36_864) * 32**2
    + 221_184 * 16**2
    + 1_474_560 * 8**2
    + (1_179_648 + 2 * 2_359_296) * 4**2
    + 3 * 2_359_296 * 2**2
    + 512 * 4096
    + 4096**2
    + 40_960,
    "alexnet": 23_232 * 55**2
    + 307_200 * 27**2
    + (663_552 + 884_736 + 589_824) * 13**2
    + 9_216 * 4_096
    + 4_096**2
    + 4_096_000,
}


def test_every_network_has_a_row_with_its_size_and_its_sources() -> None:
    table = network_table().set_index("network")
    assert len(table) == len(NETWORKS)
    assert table.loc["ResNet44", ["parameters", "forward"]].tolist() == [661_338, 97_436_288]
    assert table.loc["F1", ["data", "forward", "training"]].tolist() == ["MNIST", 1_455_104, 3_963_904]
    assert all("layers [" in sources and "initial weights [" in sources for sources in table.sources)


@pytest.mark.parametrize("name", FORWARD)
def test_multiply_adds_are_those_counted_by_hand(name: str) -> None:
    row, shape = network_row(name), SHAPES[name]
    assert row["network"] == paper.protocol(name).label and row["forward"] == FORWARD[name]
    first = next(build_network(name, *shape).parameters()).numel()
    places = {"f1": 1, "alexnet": 55**2}.get(name, shape[2] ** 2)
    assert row["training"] == 3 * row["forward"] - first * places  # the first layer needs no gradient of its input
