"""What an image costs in a network: the kept counts, and those that are made when asked for."""

from pathlib import Path

from gbnlib import data, nn
from gbnlib.experiments import costs


def test_the_kept_counts_are_those_of_the_networks() -> None:
    kept = Path(costs.__file__).with_name("costs.toml").read_text(encoding="utf-8")
    assert costs.kept_text() == kept, "run `gbnlib.experiments.costs.write_kept()`"


def test_a_network_on_images_that_no_scale_gives_it_is_counted() -> None:
    card = data.card("cifar100")
    network = nn.build_network("f1", card.classes, card.channels, card.image_size)
    assert costs.multiply_adds("f1", "cifar100") == nn.multiply_adds(network, card.channels, card.image_size)
    assert costs.multiply_adds("f1", "mnist") == (1_455_104, 3_963_904)
