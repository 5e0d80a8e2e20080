"""Recipes against Table 1's runs, Goyal's published one, values by hand, and PyTorch's own schedulers."""

import doctest
import math
import sys
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gbnlib import cli, data, experiments
from gbnlib.nn import GhostBatchNorm1d
from gbnlib.regimes import Phase, Recipe, Regime, recipe, recipes

GOYAL = recipe(8192, 256, 0.1, 90, (30, 60, 80), rule="linear", adapt="none", warmup=5, warmup_from=0.1)
IMAGENET = {"batch_size": 4096, "base_batch": 256, "lr": 0.1, "epochs": 90, "milestones": (30, 60, 80)}


@st.composite
def carried_recipes(draw, **fixed):
    """Recipes for batches at least as large as the base, whether it divides them or not."""
    base_batch, batch_size = sorted(draw(st.lists(st.integers(1, 64), min_size=2, max_size=2)))
    samples = draw(st.integers(batch_size, 300))
    epochs = draw(st.integers(1, 6))
    milestones = sorted(draw(st.sets(st.integers(1, 8), max_size=3)))
    options = {
        "gamma": draw(st.sampled_from([0.1, 0.2, 2.0])),
        "rule": draw(st.sampled_from(["sqrt", "linear", "none"])),
        "adapt": draw(st.sampled_from(["full", "none", 0.5, 0.1, 1 / 3])),
        "warmup": draw(st.integers(0, epochs)),
    }
    options |= fixed
    options["warmup_from"] = draw(st.sampled_from([0.0, 0.03, 0.1])) if options["warmup"] else 0.0
    return recipe(batch_size, base_batch, 0.1, epochs, milestones, samples=samples, **options)


def executed(code, model=None):
    """The names that printed code leaves, given a model."""
    names = {"model": model or torch.nn.Linear(1, 1)}
    exec(code, names)
    return names


def seen(names, updates):
    """Rate, momentum and weight decay of each update, as a training loop would see them."""
    found = []
    for _ in range(updates):
        (group,) = names["optimizer"].param_groups
        found.append((group["lr"], group["momentum"], group["weight_decay"]))
        names["optimizer"].step()
        names["scheduler"].step()
    return found


# --- published recipes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["smoke", "quick", "desk", "paper"])
def test_the_regimes_of_table_1_are_those_of_its_planned_runs(scale):
    planned = experiments.plan("table1", scale, seeds=1)
    for config in planned:
        first, *later = config.regime
        made = recipe(
            config.batch_size,
            config.base_batch,
            [phase.lr for phase in config.regime],
            config.epochs,
            [phase.epoch for phase in later],
            momentum=first.momentum,
            weight_decay=first.weight_decay,
            samples=config.train_size or data.card(config.dataset).train,
            rule=config.lr_rule,
            adapt="full" if config.adapt else "none",
            ghost_size=config.ghost_size,
        )
        assert made.regime == config.schedule()
        assert made.updates == experiments.updates(config)
    assert {config.method for config in planned} >= {"SB", "LB+LR+GBN+RA"}


def test_f1_on_mnist_by_hand():
    made = recipe(4096, 128, 0.1, 50, (10, 20, 30), samples=60_000)
    assert [phase.epoch for phase in made.regime.phases] == [0, 320, 640, 960]
    assert (made.regime.epochs, made.updates, made.base_updates, made.cost) == (1600, 24_000, 23_450, 32.0)
    assert made.high_rate_updates == 320 * 15
    assert made.table()[1] == {
        "epoch": 320,
        "update": 4800,
        "lr": 0.01 * 32**0.5,
        "momentum": 0.9,
        "weight_decay": 1e-4,
    }


def test_goyals_imagenet_recipe():
    """ResNet-50 at 8192 instead of 256: 0.1 → 3.2 over 5 epochs, update by update, then a tenth at 30, 60, 80 of 90."""
    assert (GOYAL.updates_per_epoch, GOYAL.updates, GOYAL.cost) == (157, 90 * 157, 1.0)
    rates = [GOYAL.regime.at(update, 157).lr for update in range(GOYAL.updates)]
    ramp = [0.1 + (3.2 - 0.1) * (update + 1) / (5 * 157) for update in range(5 * 157)]
    steps = [3.2] * 25 * 157 + [0.32] * 30 * 157 + [0.032] * 20 * 157 + [0.0032] * 10 * 157
    assert rates == pytest.approx(ramp + steps, rel=1e-12)
    assert [(row["epoch"], row["lr"]) for row in GOYAL.table()[1:]] == [(5, 3.2), (30, 0.32), (60, 0.032), (80, 0.0032)]


# --- updates, cost, epochs ---------------------------------------------------------------------------------------


@given(carried_recipes())
def test_updates_and_cost_follow_from_the_epochs(made):
    assert made.updates == made.regime.epochs * math.ceil(Fraction(made.samples, made.batch_size))
    assert made.base_updates == made.base.epochs * math.ceil(Fraction(made.samples, made.base_batch))
    assert made.cost * made.base.epochs == pytest.approx(made.regime.epochs)
    assert 1 <= made.cost <= made.ratio + 1 / made.base.epochs
    assert 0 < made.high_rate_updates <= made.updates


@pytest.mark.parametrize(
    ("batch_size", "samples", "ghost_size", "told"),
    [
        (512, 1024, 128, "2 updates an epoch.\n"),
        (512, 1030, 0, "3 updates an epoch, the last of 6 samples.\n"),
        (300, 1000, 128, "4 updates an epoch, the last of 100 samples; a batch leaves 44 for its last ghost.\n"),
        (257, 514, 128, "2 updates an epoch; a batch leaves 1 for its last ghost.\n"),
    ],
)
def test_what_does_not_divide_is_told(batch_size, samples, ghost_size, told):
    """By hand: 300 are 128, 128 and 44; 257 are two ghosts and a sample."""
    assert told in recipe(batch_size, 64, 0.1, 9, samples=samples, ghost_size=ghost_size).text()


@given(carried_recipes(adapt=0.5, warmup=0))
def test_half_the_adaptation_is_half_of_the_further_epochs_rounded_up(made):
    factor = (1 + Fraction(made.batch_size, made.base_batch)) / 2
    assert made.regime.epochs == math.ceil(made.base.epochs * factor)
    assert [p.epoch for p in made.regime.phases] == [math.ceil(p.epoch * factor) for p in made.base.phases]


@pytest.mark.parametrize(
    ("adapt", "epochs"),
    # 3 epochs from 2 to 5: 3 · 2.5 = 7.5; half of the further ones 3 · 1.75 = 5.25; a third 3 · 1.5 = 4.5; a tenth 3.45
    [("full", 8), ("none", 3), (0.5, 6), (1 / 3, 5), (0.1, 4), (0, 3), (1, 8), ("0.5", 6)],
)
def test_adaptation_that_does_not_divide_by_hand(adapt, epochs):
    assert recipe(5, 2, 0.1, 3, samples=10, adapt=adapt).regime.epochs == epochs


def test_shares_are_what_they_look_like():
    """1 + 0.1 · 9 is 1.9 and 10 · 1.9 is 19, which floats may overshoot; five sixths of 6 further epochs are 5."""
    assert recipe(10, 1, 0.1, 10, samples=10, adapt=0.1).regime.epochs == 19
    assert recipe(7, 1, 0.1, 1, samples=10, adapt=5 / 6).regime.epochs == 6


@given(carried_recipes(adapt="none", warmup=0), st.floats(0, 1), st.floats(0, 1))
def test_more_adaptation_and_a_larger_batch_never_cost_less(made, one, other):
    def carried(batch_size, adapt):
        return Recipe(base=made.base, batch_size=batch_size, base_batch=made.base_batch, samples=1000, share=adapt)

    less, more = sorted((one, other))
    small, large = carried(made.batch_size, less), carried(made.batch_size, more)
    assert small.cost <= large.cost <= carried(made.batch_size + 1, more).cost
    assert small.updates <= large.updates


@given(st.integers(1, 20), st.integers(1, 50), st.integers(1, 50), st.integers(1, 10))
def test_full_adaptation_keeps_the_updates_where_everything_divides(ratio, base_batch, batches, epochs):
    made = recipe(ratio * base_batch, base_batch, 0.1, epochs, samples=ratio * base_batch * batches)
    assert made.updates == made.base_updates
    assert made.cost == ratio


@given(carried_recipes(rule="sqrt"))
def test_rules_are_in_order(made):
    rates = {
        rule: recipe(made.batch_size, made.base_batch, 0.1, 1, samples=made.samples, rule=rule).regime.phases[0].lr
        for rule in ("none", "sqrt", "linear")
    }
    assert rates["none"] <= rates["sqrt"] <= rates["linear"]
    assert rates["sqrt"] ** 2 == pytest.approx(rates["none"] * rates["linear"])


# --- code --------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(carried_recipes())
def test_both_codes_train_by_the_regime_update_by_update(made):
    expected = [made.regime.at(update, made.updates_per_epoch) for update in range(made.updates + 2)]
    expected = [(each.lr, each.momentum, each.weight_decay) for each in expected]
    ours = executed(made.code())
    assert ours["regime"] == made.regime
    assert seen(ours, made.updates + 2) == expected
    theirs = seen(executed(made.torch_code()), made.updates + 2)
    assert theirs[: made.updates] == expected[: made.updates]
    # Past a warm-up that lasts to the end, one has its last rate, the other the whole one: a rounding apart.
    assert theirs[made.updates :] == [pytest.approx(each, rel=1e-15) for each in expected[made.updates :]]


def test_plain_code_equals_pytorchs_own_schedulers():
    """Goyal's recipe over fewer images: LinearLR, then MultiStepLR, chained by PyTorch."""
    made = recipe(64, 2, 0.1, 9, (3, 6, 8), samples=640, rule="linear", adapt="none", warmup=2)
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=3.2, momentum=0.9, weight_decay=1e-4)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / 20, total_iters=19)
    steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60, 80])
    theirs = {"optimizer": optimizer, "scheduler": torch.optim.lr_scheduler.ChainedScheduler([warm, steps])}
    ours = seen(executed(made.torch_code()), made.updates)
    assert [each[0] for each in ours] == pytest.approx([each[0] for each in seen(theirs, made.updates)])


def test_the_code_needs_gbnlib_only_where_it_says_so():
    assert "gbnlib" not in recipe(**IMAGENET, ghost_size=32).torch_code()


def test_the_code_converts_the_model_where_there_are_ghosts():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    layer = executed(recipe(**IMAGENET, ghost_size=32).code(), model)["model"][1]
    assert type(layer) is GhostBatchNorm1d and layer.ghost_size == 32
    assert "convert" not in recipe(**IMAGENET).code()


def test_plain_code_is_refused_where_pytorchs_schedulers_cannot_follow():
    base = Regime((Phase(0, lr=0.1), Phase(1, momentum=0.9)), epochs=2)
    made = Recipe(base=base, batch_size=4, base_batch=2, samples=8)
    with pytest.raises(ValueError, match="changes the rate alone"):
        made.torch_code()
    assert seen(executed(made.code()), made.updates)[-1][1] == 0.9


# --- bad input ---------------------------------------------------------------------------------------------------


def gbn(monkeypatch, capsys, *arguments):
    """Exit code, stdout and stderr of `gbn` in this process."""
    monkeypatch.setattr(sys, "argv", ["gbn", *arguments])
    for name in ("heed", "ignore"):
        monkeypatch.setattr(cli.signals, name, lambda: None)
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code, *capsys.readouterr()


BASIC = ("recipe", "--batch-size", "4096", "--base-batch", "256", "--epochs", "90")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '--lr'"),
        (["--lr", "x"], "--lr takes numbers with commas between them, such as 1,2,3; got 'x'."),
        (["--lr", "-1"], "lr must be above 0 and finite, got -1.0"),
        (["--lr", "nan"], "lr must be above 0 and finite, got nan"),
        (["--lr", "0.1", "--milestones", "30,x"], "--milestones takes whole numbers with commas between them"),
        (["--lr", "0.1", "--milestones", "30,20"], "must increase, got [0, 30, 20]"),
        (["--lr", "0.1,0.2", "--milestones", "30,60"], "lr must be one rate, or 3 for 2 milestones, got [0.1, 0.2]"),
        (["--lr", "0.1", "--milestones", "3", "--gamma", "0"], "gamma must be a number above 0 and finite, got 0.0"),
        (["--lr", "0.1", "--rule", "log"], "rule must be one of 'sqrt', 'linear', 'none', got 'log'"),
        (["--lr", "0.1", "--adapt", "half"], "adapt must be 'full', 'none' or a share from 0 to 1, got 'half'"),
        (["--lr", "0.1", "--adapt", "1.5"], "the share of the adaptation must be from 0 to 1, got 1.5"),
        (["--lr", "0.1", "--adapt", "nan"], "the share of the adaptation must be from 0 to 1, got nan"),
        (["--lr", "0.1", "--samples", "1000"], "batch_size must be at most samples, 1000, got 4096"),
        (["--lr", "0.1", "--samples", f"1{'0' * 400}"], "samples must be at most 1,000,000,000,000, got 1000"),
        (["--lr", "0.1", "--ghost-size", "5000"], "ghost_size must be at most batch_size, 4096, got 5000"),
        (
            ["--lr", "0.1", "--warmup-from", "0.1"],
            "warmup_from is 0.1, but there is no warm-up: give its epochs, warmup",
        ),
        (["--lr", "0.1", "--warmup", "1441"], "a warm-up of 1441 epochs does not fit into 1440"),
        (
            ["--lr", "0.1", "--warmup", "1", "--warmup-from", "9"],
            "a warm-up starts from 0 to the first rate 0.4, got 9.0",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_line(monkeypatch, capsys, arguments, message):
    code, _, said = gbn(monkeypatch, capsys, *BASIC, *arguments)
    assert code == 2 and said.startswith("gbn: ") and said.count("\n") == 1 and message in said


def test_gbn_recipe_is_the_function(monkeypatch, capsys):
    options = ["--lr", "0.1", "--milestones", "30,60,80", "--adapt", "0.5", "--warmup", "5", "--ghost-size", "32"]
    code, shown, _ = gbn(monkeypatch, capsys, *BASIC, *options)
    made = recipe(**IMAGENET, adapt=0.5, warmup=5, ghost_size=32)
    assert code == 0
    assert all(part in shown for part in (made.text(), made.code(), made.torch_code(), "Rests on: f1-mnist-b4096-"))
    code, shown, _ = gbn(monkeypatch, capsys, *BASIC, "--lr", "0.1,0.02", "--milestones", "60")
    assert code == 0 and recipe(4096, 256, (0.1, 0.02), 90, (60,)).code() in shown


def test_the_example_in_the_docstring():
    assert doctest.testmod(recipes) == (0, 2)
