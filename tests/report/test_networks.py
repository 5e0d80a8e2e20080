"""The table of the networks."""

from gbnlib.nn import NETWORKS
from gbnlib.report.networks import network_table


def test_every_network_has_a_row_with_its_size_and_its_sources() -> None:
    table = network_table().set_index("network")
    assert len(table) == len(NETWORKS)
    # Counted by hand in tests/nn/test_networks.py.
    assert table.loc["ResNet44", ["parameters", "forward"]].tolist() == [661_338, 97_436_288]
    assert table.loc["F1", "data"] == "MNIST" and table.loc["F1", "training"] == 3_963_904
    assert all("layers [" in sources and "initial weights [" in sources for sources in table.sources)
