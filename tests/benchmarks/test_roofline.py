"""The model of a card: what it counts, what the scales state from it, and what no card can do."""

from pathlib import Path

import pytest

from gbnlib import experiments, paper
from gbnlib.experiments import planning
from gbnlib.report.networks import network_row

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PEAK = 67e12  # of an H100 in IEEE float32


@pytest.fixture(scope="module")
def roofline():
    """The module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import roofline

        yield roofline


@pytest.mark.parametrize("network", paper.networks())
def test_the_paper_scale_states_what_the_model_says(roofline, network):
    row = paper.protocol(network, "paper")
    rate, besides = roofline.stated(network)
    assert row.images_per_second == {"fp32": pytest.approx(rate, rel=0.01)}
    assert row.update_ms == pytest.approx(besides, abs=0.01)


@pytest.mark.parametrize("network", ["f1", "c1", "wresnet16-4"])
def test_its_operations_are_those_that_pytorch_counts(roofline, network):
    """PyTorch's counter stands behind the table of the networks; it knows nothing of bytes and launches."""
    made = roofline.operations(network, 8)
    assert sum(each.flop for each in made) == pytest.approx(8 * 2 * network_row(network)["training"], rel=1e-3)


def test_a_batch_takes_no_less_than_its_roofline_and_ghosts_little_more_than_plain_layers(roofline):
    plain, ghosts = roofline.operations("c1", 512), roofline.operations("c1", 512, 128)
    for card in roofline.H100.values():
        times = [(roofline.seconds(made, card), roofline.roofline(made, card)) for made in (plain, ghosts)]
        assert all(model >= limit > 0 for model, limit in times)
        assert times[0][0] <= times[1][0] <= 1.15 * times[0][0]


def test_bytes_of_an_operation_are_those_of_its_tensors(roofline):
    """A convolution of 8 images (3, 32, 32) reads them and its weights, and writes (64, 32, 32) for each."""
    first = next(each for each in roofline.operations("c1", 8) if each.name == "convolution")
    assert first.bytes == 4 * (8 * 3 * 32 * 32 + 64 * 3 * 5 * 5 + 8 * 64 * 32 * 32)
    assert first.flop == 2 * 8 * 64 * 32 * 32 * 3 * 5 * 5 and first.share == pytest.approx((3 / 64) ** 0.5)


def test_two_batch_sizes_give_a_rate_and_what_an_update_takes_besides(roofline):
    rate, besides = roofline.line((100, 0.3), (1000, 1.2))  # 1 ms an image and 0.2 s
    assert (rate, besides) == (pytest.approx(1000), pytest.approx(0.2))
    assert roofline.line((100, 0.1), (1000, 1.9))[1] == 0


def test_arithmetic_in_ieee_float32_forbids_the_paper_within_seventy_hours():
    """What docs/speed.md says: 31 hours for all but Table 2, 67 for one seed of it, at the peak of an H100."""

    def hours(runs):
        flop = {name: 2 * network_row(name)["training"] for name in {run.network for run in runs}}
        return sum(planning.seconds_at(run, PEAK / flop[run.network], 0) for run in runs) / 3600

    others = [run for run in experiments.plan_scale("paper") if run.network != "alexnet"]
    assert hours(others) == pytest.approx(31, abs=0.5)
    assert hours(experiments.plan("table2", "paper", seeds=1)) == pytest.approx(67, abs=0.5)
