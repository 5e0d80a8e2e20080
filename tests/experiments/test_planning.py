"""Plans: the runs of an item at a scale."""

import hashlib

import pytest

from gbnlib import experiments, paper
from gbnlib.errors import UsageError
from gbnlib.experiments import planning


def test_table1_at_quick_is_five_methods_with_three_seeds() -> None:
    configs = experiments.plan("table1", "quick")
    assert [config.method for config in configs[::3]] == list(paper.METHODS)
    assert [config.seed for config in configs] == [0, 1, 2] * 5
    small, large, scaled, ghost, adapted = configs[::3]
    assert (small.batch_size, large.batch_size) == (64, 512)
    assert small.schedule().phases[0].lr == large.schedule().phases[0].lr == 0.1
    assert scaled.schedule().phases[0].lr == pytest.approx(0.1 * 4**0.5)  # base 128, twice the small batch
    assert ghost.schedule().phases[0].lr == pytest.approx(0.1 * 8**0.5)  # base 64, the ghost size
    assert (scaled.ghost_size, ghost.ghost_size, adapted.ghost_size) == (0, 64, 64)
    assert [phase.epoch for phase in adapted.schedule().phases] == [0, 32, 64, 96]


def test_the_shortened_regime_keeps_the_shape_of_the_papers() -> None:
    """Drops at 10, 20, 30 of 50 epochs are 4, 8, 12 of 20."""
    small = experiments.plan("table1", "quick")[0]
    assert [(phase.epoch, phase.lr) for phase in small.regime] == [(0, 0.1), (4, 0.01), (8, 1e-3), (12, 1e-4)]


def test_adaptation_makes_as_many_updates_as_the_small_batch() -> None:
    small, *_, adapted = experiments.plan("table1", "desk", seeds=1)[:5]
    # 60,000 / 128 = 468.75 and 60,000 / 4,096 = 14.6, both rounded up: 469 × 50 and 15 × 1,600.
    assert experiments.updates(small) == 23_450
    assert experiments.updates(adapted) == 24_000


def test_items_share_their_runs() -> None:
    figure, table = ({c.id for c in experiments.plan(item, "quick")} for item in ("figure1", "table1"))
    assert len(figure & table) == 6
    assert set(experiments.plan("figure1", "quick")) <= set(experiments.plan("figure2", "quick"))
    everything = [config.id for config in experiments.plan_scale("quick")]
    assert len(everything) == len(set(everything)) and figure | table < set(everything)


@pytest.mark.parametrize(
    ("scale", "digest"), [("smoke", "cff6cf3ea9ec"), ("quick", "f7fa022697e8"), ("paper", "57bea660271f")]
)
def test_a_scale_plans_the_runs_that_it_always_did(scale: str, digest: str) -> None:
    """The SHA-256 over the ids of the paper's items in order: it changes with `ENGINE`, a run and the order."""
    items = [item for item in experiments.ITEMS if item not in paper.studies()]
    ids = "".join(f"{item} {config.id}\n" for item in items for config in experiments.plan(item, scale))
    assert hashlib.sha256(ids.encode()).hexdigest()[:12] == digest


@pytest.mark.parametrize(
    ("item", "f1", "resnet44"),
    [
        ("figure1", {"SB": [128], "LB": [64, 256, 512, 1024, 2048, 4096]}, {"SB": [32], "LB": [64, 128, 256]}),
        ("figure3", {"SB": [128], "LB+LR+GBN+RA": [4096]}, {"SB": [32], "LB+LR+GBN+RA": [256]}),
    ],
)
def test_a_figure_at_desk_shows_two_networks_with_three_seeds(item: str, f1: dict, resnet44: dict) -> None:
    configs = experiments.plan(item, "desk")
    assert list(dict.fromkeys(config.network for config in configs)) == ["f1", "resnet44"]
    assert {config.seed for config in configs} == {0, 1, 2}
    for network, wanted in (("f1", f1), ("resnet44", resnet44)):
        cells = {(config.method, config.batch_size) for config in configs if config.network == network}
        assert cells == {(method, size) for method, sizes in wanted.items() for size in sizes}


def test_f1_at_desk_is_the_papers_protocol_and_shares_the_runs_of_table1() -> None:
    table, figure = experiments.plan("table1", "desk"), experiments.plan("figure3", "desk")
    f1 = [config for config in figure if config.network == "f1" and config.seed == 0]
    small, adapted, longer = f1
    assert {small, adapted} < set(table) and longer not in table
    assert (small.dataset, small.train_size, adapted.schedule().epochs) == ("mnist", 0, 50 * 32)
    assert [phase.epoch for phase in small.regime] == [0, 10, 20, 30] and small.epochs == 50
    assert [phase.epoch for phase in longer.regime] == [0, 20, 30, 40] and longer.epochs == 60


def test_each_network_has_its_own_lengths_of_the_high_rate_phase() -> None:
    """ResNet44 at desk drops at 65 of 80 epochs; leaving at 130 adds 65."""
    small = [c for c in experiments.plan("figure3", "desk", seeds=1) if c.method == "SB" and c.network == "resnet44"]
    assert [(config.regime[1].epoch, config.epochs) for config in small] == [(65, 80), (130, 145)]


def test_an_item_that_a_scale_does_not_run_has_no_runs() -> None:
    assert experiments.plan("table2", "desk") == []


def test_appendix_a_adds_the_large_batch_with_noise_to_runs_of_table1() -> None:
    """σ² = 512 / 64 − 1 = 7, at the rate of the small batch."""
    configs = experiments.plan("appendix_a", "quick", seeds=1)
    assert [config.method for config in configs] == ["SB", "LB", "LB+LR", "LB+noise"]
    assert set(configs[:3]) < set(experiments.plan("table1", "quick", seeds=1))
    noisy = configs[3]
    assert noisy.noise == pytest.approx(7**0.5) and noisy.schedule() == configs[1].schedule()
    assert (noisy.batch_size, noisy.ghost_size) == (512, 0)


def test_seeds_are_a_count() -> None:
    assert len(experiments.plan("table1", "quick", seeds=1)) == 5
    with pytest.raises(UsageError, match="seeds is -1; it is a count"):
        experiments.plan("table1", "quick", seeds=-1)
    with pytest.raises(UsageError, match="unknown item 'table11'; did you mean 'table1'"):
        experiments.plan("table11", "quick")


@pytest.mark.parametrize(
    ("network", "method", "images", "updates"),
    [
        ("f1", "LB", (60_000 + 10_000 / 3) * 50, 15 * 50),
        ("f1", "LB+LR+GBN+RA", (60_000 * 32 + 10_000 / 3) * 50, 15 * 50 * 32),  # evaluated every 32 epochs, in bf16
        ("resnet44", "SB", 3_200 * 80 + 10_000 / 3 * 20, 100 * 80),  # evaluated every four epochs, in bf16
    ],
)
def test_the_time_of_a_run_is_that_of_its_images_and_its_updates(network, method, images, updates) -> None:
    row = paper.protocol(network, "desk")
    config = planning.method_config(row, method, seed=0)
    rate = row.images_per_second["bf16" if method in row.bf16 else "fp32"]
    seconds = experiments.estimated_seconds(config, "desk")
    assert seconds == pytest.approx(images / rate + updates * row.update_ms / 1e3)


@pytest.mark.parametrize("scale", paper.scales())
def test_every_run_of_a_scale_has_a_time(scale: str) -> None:
    assert all(experiments.estimated_seconds(config, scale) > 0 for config in experiments.plan_scale(scale))


def test_a_run_of_ones_own_keeps_the_papers_protocol_and_fits_its_epochs() -> None:
    config = experiments.custom_config("f1", 8, dataset="digits", batch_size=64)
    assert (config.epochs, config.clip_norm, config.method) == (8, 5.0, "batch 64")
    assert [phase.epoch for phase in config.regime] == [0, 2, 3, 5]
    assert (config.initialisation, config.momentum_buffer) == ("2017", "reset")


@pytest.mark.parametrize("name", ["f1", "c1", "resnet44"])
def test_a_run_of_ones_own_with_the_values_of_a_column_is_the_planned_run(name: str) -> None:
    row = paper.protocol(name)
    planned = planning.method_config(row, "LB+LR+GBN", seed=1)
    values = {field: getattr(planned, field) for field in ("batch_size", "base_batch", "ghost_size", "lr_rule", "seed")}
    assert experiments.custom_config(name, evaluation_epochs=row.evaluation_epochs, **values).id == planned.id


@pytest.mark.parametrize("options", [{"lr_rule": "sqrt"}, {"adapt": True}, {"lr_rule": "linear", "base_batch": 0}])
def test_a_run_of_ones_own_without_a_base_batch_is_not_scaled_or_adapted(options: dict) -> None:
    with pytest.raises(UsageError, match="give --base-batch too; the paper's is 128"):
        experiments.custom_config("f1", batch_size=512, **options)
    assert experiments.custom_config("f1", batch_size=512, **{**options, "base_batch": 128}).method.startswith("LB+")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 4001}, "--batch-size is 4001; it must be at most the 4,000 training images"),
        ({"batch_size": 64, "ghost_size": 65}, "--ghost-size is 65; it must be at most the batch, 64"),
        ({"batch_size": 43}, "--batch-size is 43; of 4,000 images it leaves one to the last batch"),
    ],
)
def test_a_run_of_ones_own_that_cannot_be_cut_is_refused_before_it_starts(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        experiments.custom_config("f1", 8, dataset="digits", **options)
    name = list(options)[-1]
    experiments.custom_config("f1", 8, dataset="digits", **{**options, name: options[name] - 1})


def test_an_ablation_changes_what_it_says_and_nothing_else() -> None:
    found = planning.ablations("desk")
    assert {len(runs) for runs in found.values()} == {3}
    every = {ablation.name: ablation for ablation in paper.ablations("f1")}
    below = {name: every[ablation.on].changes if ablation.on else {} for name, ablation in every.items()}
    changes = {name: {**below[name], **ablation.changes} for name, ablation in every.items()}
    assert {name for _, name, _ in found} == set(changes)
    for (network, name, method), runs in found.items():
        declared = [planning.method_config(paper.protocol(network, "desk"), method, seed) for seed in range(3)]
        for run, before in zip(runs, declared, strict=True):
            after, former = dict(run), dict(before)
            assert run.method == method and run.id != before.id
            differing = {key: value for key, value in changes[name].items() if former[key] != value}
            assert {key for key in after if after[key] != former[key]} == set(differing) and differing
    assert [config for runs in found.values() for config in runs] == experiments.plan("ablations", "desk")
    assert experiments.plan("ablations", "quick") == []


def arm(name: str) -> experiments.RunConfig:
    """The first seed of an arm of the remedies at desk: batch 2048 for 128, 16 times as large."""
    return next(config for labels, config in experiments.study("remedies", "desk", 1) if labels["arm"] == name)


def test_a_study_is_of_one_recipe_as_one_would_write_it_today() -> None:
    for config in experiments.plan("remedies", "desk"):
        assert (config.dataset, config.train_size, config.augment) == ("mnist", 16_384, "none")
        assert (config.initialisation, config.momentum_buffer, config.clip_norm) == ("today", "kept", 0)
        assert config.base_batch == 128
    assert [arm(name).schedule().phases[0].lr for name in ("LB", "√ rate", "linear rate")] == [0.1, 0.4, 1.6]


def test_the_remedies_change_what_their_names_say() -> None:
    whole, half = arm("adaptation"), arm("half adaptation")
    assert whole.schedule().epochs == 50 * 16 and half.schedule().epochs == 50 * 17 / 2
    assert half.schedule().phases[1].epoch == 85  # 10 × 8.5
    assert (whole.evaluate_every, half.evaluate_every) == (16, 8)
    assert arm("√ rate, warm-up").warmup_epochs == 5
    assert (arm("adaptation, no ghosts").ghost_size, whole.ghost_size) == (0, 128)


def test_a_grid_has_every_batch_at_every_rate_which_is_held() -> None:
    runs = experiments.study("best_rate", "desk", seeds=2)
    assert len(runs) == 5 * 7 * 2 == len({config.id for _, config in runs})
    for labels, config in runs:
        (phase,) = config.regime
        assert (phase.lr, config.batch_size, config.seed) == (labels["lr"], labels["batch_size"], labels["seed"])
        assert (phase.momentum, phase.weight_decay, config.held_out) == (0.9, 1e-4, 5000)
        assert config.schedule().at(6400, 1).lr == labels["lr"]


@pytest.mark.parametrize("scale", ["smoke", "quick", "desk", "paper"])
def test_studies_keep_to_their_budget(scale: str) -> None:
    """In minutes of two cores: four hours at desk, and at quick under three."""
    seconds = [
        experiments.estimated_seconds(config, scale)
        for name in paper.studies()
        for config in experiments.plan(name, scale)
    ]
    assert 0 < sum(seconds) / 120 < {"smoke": 1, "quick": 3, "desk": 240, "paper": 60}[scale]


def test_a_growing_batch_begins_as_the_small_one_and_makes_fewer_updates() -> None:
    runs = {labels["arm"]: config for labels, config in experiments.study("remedies", "desk", seeds=1)}
    grown, small = runs["growing batch"], runs["SB"]
    assert grown.growth() == ((10, 1280), (20, 1638)) and grown.ghost_size == grown.batch_size == small.batch_size
    # 16,384 images: 128 updates an epoch, then 13, then 11 (10 of 1638 and a rest of 4).
    assert (experiments.updates(grown), experiments.updates(small)) == (1280 + 130 + 30 * 11, 6400)
