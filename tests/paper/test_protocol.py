"""The protocols of the paper and what the scales make of them, against the paper's facts written out by hand."""

import operator
from math import ceil

import pytest

from gbnlib import experiments, paper
from gbnlib.nn import NETWORKS

# Data, small and large batch, epochs, weight decay, momentum, rate by epoch.
PAPER = {
    "f1": ("mnist", 128, 4096, 50, 1e-4, 0.9, {0: 0.1, 10: 0.01, 20: 1e-3, 30: 1e-4}),
    "c1": ("cifar10", 128, 4096, 200, 5e-4, 0.0, {0: 1e-3, 60: 1e-2, 120: 1e-3, 180: 1e-4}),
    "resnet44": ("cifar10", 128, 4096, 100, 1e-4, 0.9, {0: 0.1, 81: 0.01, 122: 1e-3, 164: 1e-4}),
    "vgg": ("cifar10", 128, 4096, 200, 5e-4, 0.9, {0: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008}),
    "c3": ("cifar100", 128, 4096, 200, 5e-4, 0.0, {0: 1e-3, 60: 1e-2, 120: 1e-3, 180: 1e-4}),
    "wresnet16-4": ("cifar100", 256, 4096, 100, 1e-4, 0.9, {0: 0.1, 60: 0.02, 120: 0.004, 140: 1e-4}),
    "alexnet": ("imagenet", 128, 4096, 30, 5e-4, 0.9, {0: 0.01, 10: 0.005, 15: 1e-3, 20: 5e-4, 25: 1e-4}),
}


@pytest.mark.parametrize("network", PAPER)
def test_the_protocol_of_each_network_is_the_papers(network: str) -> None:
    dataset, small, large, epochs, weight_decay, momentum, rates = PAPER[network]
    row = paper.protocol(network)
    assert (row.dataset, row.small_batch, row.large_batch, row.epochs) == (dataset, small, large, epochs)
    assert (row.ghost_size, row.clip_norm, row.augment, row.train_size) == (128, 5.0, "official", 0)
    assert (row.phases[0]["momentum"], row.phases[0]["weight_decay"]) == (momentum, weight_decay)
    assert {phase["epoch"]: phase["lr"] for phase in row.phases} == rates


def test_the_networks_are_those_that_can_be_built_and_each_value_has_its_tag() -> None:
    assert paper.networks() == list(NETWORKS)
    values = {"small_batch", "large_batch", "ghost_size", "epochs", "clip_norm", "augment", "phases"}
    values |= {"initialisation", "momentum_buffer", "base_batch"}
    for network in paper.networks():
        row = paper.protocol(network)
        assert set(row.tags) == values | ({"batches"} if row.batches else set())
        for source in paper.network_sources(network).values():
            assert set(source) == {"tag", "source"} and source["tag"] in {"P", "C", "R"}


def test_weight_decay_of_alexnet_ends_at_epoch_15() -> None:
    assert [phase.get("weight_decay") for phase in paper.protocol("alexnet").phases] == [5e-4, None, 0.0, None, None]


def test_table2_has_a_cell_for_each_number_that_was_run() -> None:
    cells = [(config.method, config.batch_size) for config in experiments.plan("table2", "paper", seeds=1)]
    expected = [("SB", 128), ("LB", 2048), ("LB+LR", 2048)]
    expected += [(method, size) for method in ("LB+LR+GBN", "LB+LR+GBN+RA") for size in (4096, 8192)]
    assert cells == expected


def test_table1_has_every_row_and_method_at_paper_scale() -> None:
    configs = experiments.plan("table1", "paper", seeds=1)
    assert [(config.network, config.method) for config in configs] == [
        (row["network"], method) for row in paper.published("table1")["rows"] for method in paper.METHODS
    ]


def test_figure2_has_both_panels_and_shares_the_small_batch() -> None:
    configs = experiments.plan("figure2", "paper", seeds=1)
    assert [config.batch_size for config in configs if not config.ghost_size] == [64, 128, 256, 512, 1024, 2048]
    panel_b = {config.batch_size: config for config in configs if config.ghost_size}
    assert list(panel_b) == [64, 256, 512, 1024, 2048]
    assert panel_b[2048].schedule().phases[0].lr == pytest.approx(0.1 * 4)  # √(2048 / 128)
    assert set(experiments.plan("figure1", "paper", seeds=1)) <= set(configs)


def test_figure3_adapts_2048_and_4096_to_the_updates_of_128() -> None:
    configs = experiments.plan("figure3", "paper", seeds=1)
    assert [(config.method, config.batch_size) for config in configs] == [
        ("SB", 128),
        ("LB+LR+GBN+RA", 2048),
        ("LB+LR+GBN+RA", 4096),
        ("SB", 128),
    ]
    # 391 × 100; 25 × 1,600; 13 × 3,200: the drops fall at 81 × 391, 81 × 16 × 25 and 81 × 32 × 13.
    assert [experiments.updates(config) for config in configs[:3]] == [39_100, 40_000, 41_600]


def test_figure3_leaves_the_high_rate_early_and_keeps_the_rest_of_the_regime() -> None:
    """ResNet44 drops at 81, 122 and 164 and ends at 100; leaving at 40 takes 41 epochs off all of them."""
    *_, early = experiments.plan("figure3", "paper", seeds=1)
    assert [phase.epoch for phase in early.regime] == [0, 40, 81, 123] and early.epochs == 59
    assert [phase.lr for phase in early.regime] == [phase["lr"] for phase in paper.protocol("resnet44").phases]


def test_desk_fits_its_budget() -> None:
    """No run over four hours, and forty-five hours of two cores for the paper; two runs of one thread share them."""
    beyond = {config for name in paper.studies() for config in experiments.plan(name, "desk")}
    configs = [config for config in experiments.plan_scale("desk") if config not in beyond]
    seconds = [experiments.estimated_seconds(config, "desk") for config in configs]
    shares = [paper.protocol(config.network, "desk").threads / 2 for config in configs]
    assert max(seconds) < 4 * 3600 and sum(map(operator.mul, seconds, shares)) < 45 * 3600


@pytest.mark.parametrize("network", ["c1", "resnet44", "c3"])
def test_desk_keeps_the_shape_of_the_regime_and_three_seeds(network: str) -> None:
    row, full = paper.protocol(network, "desk"), paper.protocol(network)
    small, *_ = configs = [c for c in experiments.plan("table1", "desk") if c.network == network]
    assert min(sum(c.method == method for c in configs) for method in paper.METHODS) == 3
    assert row.large_batch / row.small_batch == 8
    assert row.base_batch["LB+LR"] == 2 * row.small_batch and row.base_batch["LB+LR+GBN"] == row.ghost_size
    for mine, theirs in zip(small.regime, full.phases, strict=True):
        assert mine.lr == theirs["lr"]
        assert mine.epoch == pytest.approx(theirs["epoch"] * row.epochs / full.epochs, abs=0.5)


@pytest.mark.parametrize("network", ["c1", "resnet44", "c3"])
def test_a_row_at_desk_is_a_small_copy_of_the_paper(network: str) -> None:
    """A sixteenth: 50,000 / 4,096 is 13 updates an epoch, and so is 3,200 / 256."""
    row, full = paper.protocol(network, "desk"), paper.protocol(network)
    assert full.large_batch / row.large_batch == 16 and 50_000 / row.train_size == pytest.approx(16, rel=0.025)
    assert ceil(row.train_size / row.large_batch) == ceil(50_000 / full.large_batch) == 13


@pytest.mark.parametrize("scale", ["smoke", "quick", "desk", "paper"])
def test_every_scale_runs_the_code_of_2017(scale: str) -> None:
    """+LR divides by 256, twice the small batch of 128, in main_normal.py; +GBN and +RA by the ghost size."""
    for config in experiments.plan("table1", scale):
        assert (config.initialisation, config.momentum_buffer) == ("2017", "reset")
        row = paper.protocol(config.network, scale)
        if config.ghost_size:
            assert config.base_batch == config.ghost_size
        elif config.lr_rule == "sqrt" and config.network != "wresnet16-4":
            assert config.base_batch == 2 * row.small_batch


def test_convergence_is_the_small_batch_with_twice_the_epochs_and_twice_the_milestones() -> None:
    f1, *others = experiments.plan("convergence", "desk")
    assert (f1.method, f1.epochs, f1.seed) == ("SB", 100, 0)
    assert [run.seed for run in others[:2]] == [1, 2] and len(others) == 11
    assert [phase.epoch for phase in f1.regime] == [0, 20, 40, 60]
    assert experiments.plan("convergence", "smoke") == []


def test_a_scale_runs_stand_ins_under_their_own_names() -> None:
    names = {config.dataset for config in experiments.plan_scale("desk")}
    assert names == {"mnist", "cifar10-jpeg", "tiny-imagenet-32-100"}
    assert all(config.dataset in config.id for config in experiments.plan_scale("desk"))


@pytest.mark.parametrize("item", ["figure1", "figure2", "figure3", "table1", "table2"])
def test_every_figure_and_table_has_its_deviations(item: str) -> None:
    assert any("seed" in entry["paper"] for entry in paper.deviations(item))
