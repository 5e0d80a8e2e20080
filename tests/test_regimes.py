"""Regimes against values worked out by hand and against a naive scan."""

import doctest
import io
import math
import warnings
from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import gbnlib.regimes
from gbnlib.regimes import Phase, Regime, Settings, apply_settings
from gbnlib.regimes.growth import grown

F1 = Regime(
    phases=(
        Phase(0, lr=0.1, momentum=0.9, weight_decay=1e-4),
        Phase(10, lr=0.01),
        Phase(20, lr=1e-3),
        Phase(30, lr=1e-4),
    ),
    epochs=50,
)


def milestones(regime):
    return [phase.epoch for phase in regime.phases]


def rates(regime):
    return [phase.lr for phase in regime.phases]


def naive_settings(regime, update, updates_per_epoch):
    """Walk through the whole training, one update at a time, and return what held last."""
    current, reached = {"momentum": 0.0, "weight_decay": 0.0}, None
    for step in range(regime.epochs * updates_per_epoch):
        for phase in regime.phases:
            if step == phase.epoch * updates_per_epoch:
                given_here = {"lr": phase.lr, "momentum": phase.momentum, "weight_decay": phase.weight_decay}
                current.update({name: value for name, value in given_here.items() if value is not None})
        reached = dict(current)
        if step < regime.warmup_epochs * updates_per_epoch:
            reached["lr"] = current["lr"] * ((step + 1) / (regime.warmup_epochs * updates_per_epoch))
        if step == update:
            break
    return Settings(**reached)


@st.composite
def regimes(draw, warmup=False):
    epochs = draw(st.integers(1, 12))
    starts = sorted(draw(st.sets(st.integers(1, 15), max_size=4)))
    maybe = st.none() | st.floats(0, 0.99)
    phases = [Phase(0, draw(st.floats(1e-6, 10)), draw(maybe), draw(maybe))]
    phases += [Phase(start, draw(st.none() | st.floats(1e-6, 10)), draw(maybe), draw(maybe)) for start in starts]
    return Regime(phases, epochs, draw(st.integers(0, epochs)) if warmup else 0)


# --- settings by update ------------------------------------------------------------------------------------------


@given(regimes(warmup=True), st.integers(0, 60), st.integers(1, 4))
def test_settings_equal_a_naive_scan(regime, update, updates_per_epoch):
    assert regime.at(update, updates_per_epoch) == naive_settings(regime, update, updates_per_epoch)


def test_settings_of_f1_by_hand():
    # MNIST at 128: 469 updates an epoch, so the rate drops with updates 4690, 9380, 14070; 23450 in all.
    assert F1.total_updates(469) == 23_450
    by_hand = {0: 0.1, 4689: 0.1, 4690: 0.01, 9379: 0.01, 9380: 1e-3, 14_069: 1e-3, 14_070: 1e-4, 23_449: 1e-4}
    for update, lr in by_hand.items():
        assert F1.at(update, 469) == Settings(lr=lr, momentum=0.9, weight_decay=1e-4)


def test_settings_stick_until_they_are_changed():
    regime = Regime((Phase(0, lr=1.0), Phase(2, momentum=0.5), Phase(3, weight_decay=0.1), Phase(4, lr=0.5)), epochs=5)
    assert regime.at(0, 1) == Settings(lr=1.0, momentum=0.0, weight_decay=0.0)
    assert regime.at(2, 1) == Settings(lr=1.0, momentum=0.5, weight_decay=0.0)
    assert regime.at(4, 1) == Settings(lr=0.5, momentum=0.5, weight_decay=0.1)


def test_past_the_end_the_last_settings_stay_and_later_phases_never_come():
    # ResNet44: drops at 122 and 164 exist, the command trains 100 epochs.
    regime = Regime((Phase(0, lr=0.1), Phase(81, lr=0.01), Phase(100, lr=1e-3), Phase(164, lr=1e-4)), epochs=100)
    assert regime.at(100 * 391, 391).lr == regime.at(10**9, 391).lr == 0.01
    assert regime.at(81 * 391 - 1, 391).lr == 0.1
    assert regime.at(81 * 391, 391).lr == 0.01


@pytest.mark.parametrize(
    ("update", "updates_per_epoch", "error", "words"),
    [
        (-1, 5, ValueError, "update must be at least 0, got -1"),
        (0, 0, ValueError, "updates_per_epoch"),
        (0.5, 5, TypeError, "0.5"),
    ],
)
def test_impossible_updates_are_refused(update, updates_per_epoch, error, words):
    with pytest.raises(error, match=words):
        F1.at(update, updates_per_epoch)


# --- rules -------------------------------------------------------------------------------------------------------


def test_rates_scaled_by_hand():
    # 4096 / 128 = 32
    assert rates(F1.scaled(4096, 128)) == pytest.approx([0.1 * 32**0.5, 0.01 * 32**0.5, 1e-3 * 32**0.5, 1e-4 * 32**0.5])
    assert F1.scaled(512, 128).phases[0] == Phase(0, lr=0.2, momentum=0.9, weight_decay=1e-4)
    assert rates(F1.scaled(4096, 128, rule="linear")) == pytest.approx([3.2, 0.32, 0.032, 0.0032])
    assert F1.scaled(4096, 128, rule="none") == F1.scaled(128, 128) == F1
    assert rates(Regime((Phase(0, lr=1.0), Phase(1, momentum=0.9)), epochs=2).scaled(4, 1)) == [2.0, None]


@given(regimes(), st.integers(1, 10_000), st.integers(1, 10_000))
def test_the_square_root_rule_keeps_rate_squared_over_batch_size(regime, batch_size, base_batch):
    before, after = regime.at(0, 1).lr, regime.scaled(batch_size, base_batch).at(0, 1).lr
    assert after**2 / batch_size == pytest.approx(before**2 / base_batch)


def test_milestones_adapted_by_hand():
    assert milestones(F1.adapted(4096, 128)) == [0, 320, 640, 960]
    assert F1.adapted(4096, 128).epochs == 1600
    assert rates(F1.adapted(4096, 128)) == rates(F1)
    # 192 / 128 = 1.5: 81 → 121.5 → 122, 101 → 151.5 → 152
    regime = Regime((Phase(0, lr=0.1), Phase(81, lr=0.01)), epochs=101).adapted(192, 128)
    assert (milestones(regime), regime.epochs) == ([0, 122], 152)


@given(regimes(), st.integers(1, 100_000), st.integers(1, 500))
def test_adaptation_by_a_whole_ratio_is_exact_and_otherwise_rounds_up(regime, batch_size, base_batch):
    whole = regime.adapted(batch_size * base_batch, base_batch)
    assert milestones(whole) == [epoch * batch_size for epoch in milestones(regime)]
    assert whole.epochs == regime.epochs * batch_size
    assume(batch_size >= base_batch)
    adapted = regime.adapted(batch_size, base_batch)
    assert milestones(adapted) == [math.ceil(Fraction(epoch * batch_size, base_batch)) for epoch in milestones(regime)]


def test_adaptation_whose_milestones_meet_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 10, 20, 30\] of 50 epochs meet as \[0, 1, 1, 1\] of 2"):
        F1.adapted(4, 128)


def test_shortened_by_hand():
    # Times 8 / 50: 1.6, 3.2, 4.8
    assert (milestones(F1.shortened(8)), F1.shortened(8).epochs) == ([0, 2, 3, 5], 8)
    assert F1.shortened(50) == F1
    assert milestones(F1.shortened(100)) == [0, 20, 40, 60]
    # 3 * 5 / 6 = 2.5 → 3: halves go up
    assert milestones(Regime((Phase(0, lr=1.0), Phase(3, lr=0.1)), epochs=6).shortened(5)) == [0, 3]


@pytest.mark.parametrize(("epochs", "met"), [(3, r"\[0, 1, 1, 2\] of 3"), (1, r"\[0, 0, 0, 1\] of 1")])
def test_shortening_that_makes_milestones_meet_is_refused(epochs, met):
    with pytest.raises(ValueError, match=met):
        F1.shortened(epochs)


def test_milestones_that_never_come_may_meet():
    """Both lie past the end: 101 and 102 of 100 epochs are 10 of 10."""
    regime = Regime((Phase(0, lr=1.0), Phase(101, momentum=0.9), Phase(102, lr=0.1)), epochs=100)
    short, expected = regime.shortened(10), Regime((Phase(0, lr=1.0),), epochs=10)
    assert short.epochs == 10
    assert [short.at(update, 3) for update in range(31)] == [expected.at(update, 3) for update in range(31)]


def test_shortening_that_pushes_a_phase_over_the_end_is_refused():
    regime = Regime((Phase(0, lr=1.0), Phase(9, lr=0.1), Phase(20, lr=0.01)), epochs=10)
    assert milestones(regime.shortened(6)) == [0, 5, 12]
    with pytest.raises(ValueError, match=r"meet as \[0, 4, 8\] of 4"):
        regime.shortened(4)


# --- warm-up -----------------------------------------------------------------------------------------------------


def test_warm_up_by_hand():
    # Two epochs of five updates: W = 10, so tenths of the rate of the phase; the drop at epoch 1 keeps its effect.
    regime = Regime((Phase(0, lr=1.0, momentum=0.9), Phase(1, lr=0.5)), epochs=4).with_warmup(2)
    found = [regime.at(update, 5).lr for update in range(12)]
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.3, 0.35, 0.4, 0.45, 0.5, 0.5, 0.5])
    assert regime.at(0, 5).momentum == 0.9


def test_warm_up_is_in_final_epochs():
    regime = F1.scaled(512, 128, "linear").adapted(512, 128).with_warmup(5)
    assert regime.at(0, 10).lr == pytest.approx(0.4 / 50)
    assert regime.at(49, 10).lr == regime.at(50, 10).lr == pytest.approx(0.4)
    assert F1.with_warmup(0) == F1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda regime: regime.scaled(256, 128), "scaled"),
        (lambda regime: regime.adapted(256, 128), "adapted"),
        (lambda regime: regime.shortened(20), "shortened"),
        (lambda regime: regime.with_warmup(3), "given a warm-up"),
    ],
)
def test_nothing_may_follow_a_warm_up(change, word):
    with pytest.raises(ValueError, match=rf"cannot be {word}: call with_warmup last"):
        change(F1.with_warmup(5))


# --- validation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"epoch": -1}, ValueError, "epoch of a phase must be at least 0, got -1"),
        ({"epoch": 1.5}, TypeError, "1.5"),
        ({"epoch": False}, TypeError, "epoch of a phase must be an integer of at least 0, got False"),
        ({"lr": 0.0}, ValueError, "lr must be above 0 and finite, got 0.0"),
        ({"lr": math.inf}, ValueError, "lr"),
        ({"lr": math.nan}, ValueError, "lr"),
        ({"lr": True}, TypeError, "lr must be a number above 0 and finite, got True"),
        ({"lr": "0.1"}, TypeError, "lr must be a number above 0 and finite, got '0.1'"),
        ({"momentum": 1.0}, ValueError, "momentum must be at least 0 and below 1, got 1.0"),
        ({"momentum": -0.1}, ValueError, "momentum"),
        ({"weight_decay": -1e-4}, ValueError, "weight_decay must be at least 0 and finite, got -0.0001"),
        ({"weight_decay": math.inf}, ValueError, "weight_decay"),
    ],
)
def test_bad_phases_are_refused(values, error, words):
    with pytest.raises(error, match=words):
        Phase(**{"epoch": 0, **values})


@pytest.mark.parametrize(
    ("phases", "epochs", "error", "words"),
    [
        ([], 5, TypeError, "one or more Phase"),
        ([{"epoch": 0, "lr": 0.1}], 5, TypeError, "one or more Phase"),
        ([Phase(1, lr=0.1)], 5, ValueError, "first phase must begin at epoch 0 and give lr"),
        ([Phase(0, momentum=0.9)], 5, ValueError, "first phase must begin at epoch 0 and give lr"),
        ([Phase(0, lr=1.0), Phase(3), Phase(3)], 5, ValueError, r"must increase, got \[0, 3, 3\]"),
        ([Phase(0, lr=1.0), Phase(4), Phase(3)], 5, ValueError, r"must increase, got \[0, 4, 3\]"),
        ([Phase(0, lr=1.0)], 0, ValueError, "epochs must be at least 1, got 0"),
        ([Phase(0, lr=1.0)], 2.5, TypeError, "epochs"),
    ],
)
def test_bad_regimes_are_refused(phases, epochs, error, words):
    with pytest.raises(error, match=words):
        Regime(phases, epochs)


def test_bad_changes_are_refused():
    with pytest.raises(ValueError, match="rule must be one of 'sqrt', 'linear', 'none', got 'log'"):
        F1.scaled(256, 128, rule="log")
    with pytest.raises(ValueError, match="batch size must be at least 1, got 0"):
        F1.scaled(0, 128)
    with pytest.raises(TypeError, match="batch size must be an integer"):
        F1.adapted(128.5, 128)
    with pytest.raises(ValueError, match="a warm-up of 51 epochs does not fit into 50"):
        F1.with_warmup(51)
    with pytest.raises(ValueError, match="warmup_epochs must be at least 0"):
        F1.with_warmup(-1)
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        F1.shortened(0)


def test_a_list_of_phases_becomes_a_tuple_and_a_regime_can_be_a_key():
    regime = Regime([Phase(0, lr=1.0)], epochs=2)
    assert regime.phases == (Phase(0, lr=1.0),)
    assert {regime: 1}[Regime((Phase(0, lr=1.0),), epochs=2)] == 1


# --- optimizer and scheduler -------------------------------------------------------------------------------------


def optimizer_with_two_groups(**options):
    groups = [{"params": list(nn.Linear(2, 2).parameters()), "lr": 7.0}, {"params": [torch.zeros(1).requires_grad_()]}]
    return torch.optim.SGD(groups, **{"lr": 5.0, **options})


def found(optimizer):
    return [Settings(group["lr"], group["momentum"], group["weight_decay"]) for group in optimizer.param_groups]


def test_the_scheduler_sets_every_group_as_at_says():
    regime = Regime((Phase(0, lr=1.0), Phase(2, 0.5, 0.9), Phase(3, weight_decay=0.1)), epochs=5).with_warmup(1)
    optimizer = optimizer_with_two_groups()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler = regime.scheduler(optimizer, updates_per_epoch=3)
        for update in range(20):
            assert found(optimizer) == [regime.at(update, 3)] * 2
            assert scheduler.get_last_lr() == [regime.at(update, 3).lr] * 2
            optimizer.step()
            scheduler.step()
    assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)


def test_the_scheduler_leaves_alone_what_no_phase_names():
    weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.AdamW(
        [{"params": [weights[0]]}, {"params": [weights[1]], "weight_decay": 0.0}], weight_decay=0.05
    )
    scheduler = Regime((Phase(0, lr=0.1), Phase(1, lr=0.01)), 2).scheduler(optimizer, 1)
    optimizer.step()
    scheduler.step()
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.01, 0.05), (0.01, 0.0)]
    later = Regime((Phase(0, lr=0.1), Phase(1, weight_decay=0.3)), 2).scheduler(optimizer, 1)
    # A later phase names it, so it is 0 at first.
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.0]
    later.step()
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.3]


def test_the_state_of_a_scheduler_is_plain_and_goes_round():
    first = optimizer_with_two_groups()
    scheduler = F1.scheduler(first, updates_per_epoch=2)
    for _ in range(25):
        first.step()
        scheduler.step()
    file = io.BytesIO()
    torch.save(scheduler.state_dict(), file)
    file.seek(0)
    second = optimizer_with_two_groups()
    resumed = F1.scheduler(second, updates_per_epoch=2)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert found(second) == found(first) == [Settings(0.01, 0.9, 1e-4)] * 2
    assert resumed.get_last_lr() == scheduler.get_last_lr()
    for optimizer, regime in ((first, scheduler), (second, resumed)):
        for _ in range(20):
            optimizer.step()
            regime.step()
    assert found(second) == found(first) == [Settings(1e-3, 0.9, 1e-4)] * 2


def test_the_state_of_a_scheduler_with_other_epochs_is_refused():
    state = F1.scheduler(optimizer_with_two_groups(), updates_per_epoch=469).state_dict()
    scheduler = F1.scheduler(optimizer_with_two_groups(), updates_per_epoch=15)
    with pytest.raises(ValueError, match=r"469 updates per epoch, this one makes 15"):
        scheduler.load_state_dict(state)


def test_a_rate_that_is_a_tensor_is_filled_in_place():
    rate = torch.tensor(5.0)
    optimizer = torch.optim.SGD([torch.zeros(1).requires_grad_()], lr=rate)
    apply_settings(optimizer, Settings(lr=0.25))
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate == 0.25


def test_an_optimizer_without_a_setting_is_refused_unless_it_is_zero():
    optimizer = torch.optim.Adam([torch.zeros(1).requires_grad_()], lr=5.0)
    with pytest.raises(ValueError, match=r"Adam has no momentum, but the regime sets it to 0\.9"):
        apply_settings(optimizer, Settings(lr=0.1, momentum=0.9))
    assert optimizer.param_groups[0]["lr"] == 5.0
    apply_settings(optimizer, Settings(lr=0.1, weight_decay=0.01))
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert optimizer.param_groups[0]["weight_decay"] == 0.01
    assert "momentum" not in optimizer.param_groups[0]


def test_examples_in_the_docstrings():
    assert doctest.testmod(gbnlib.regimes.regime) == (0, 3)


def test_a_growing_batch_keeps_rate_over_batch_size_and_drops_the_rate_by_what_is_left():
    phases = (Phase(0, lr=0.1, momentum=0.9), Phase(10, lr=0.01), Phase(15, momentum=0.8), Phase(20, lr=0.001))
    regime, growth = grown(Regime(phases, epochs=30), batch_size=128, most=1638)
    assert growth == ((10, 1280), (20, 1638))
    assert [phase.lr for phase in regime.phases] == pytest.approx([0.1, 0.1, None, 0.001 * 1638 / 128])
    assert [phase.momentum for phase in regime.phases] == [0.9, None, 0.8, None] and regime.epochs == 30


def test_a_rise_of_the_rate_stays_one_and_a_phase_that_never_comes_changes_no_batch():
    regime, growth = grown(Regime((Phase(0, lr=0.1), Phase(2, lr=0.2), Phase(9, lr=0.01)), epochs=5), 64, 640)
    assert growth == () and [phase.lr for phase in regime.phases] == pytest.approx([0.1, 0.2, 0.1])
