"""The loop against a plain one written out here, and the things that end a run."""

import math
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gbnlib.data import Batches, normalise
from gbnlib.data.batches import generator
from gbnlib.nn import GhostBatchNorm1d, kernel
from gbnlib.regimes import Phase, Regime
from gbnlib.training import BatchDivision, DistanceProbe, Interrupted, Listener, Training, evaluate, train
from gbnlib.training.running_statistics import recomputed_statistics
from gbnlib.training.step import _clip

REGIME = Regime(phases=(Phase(epoch=0, lr=0.1, momentum=0.9, weight_decay=1e-3), Phase(epoch=2, lr=0.02)), epochs=4)


def network(seed: int = 0, norm: nn.Module | None = None) -> nn.Sequential:
    """A small network; `norm` is its normalisation layer."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), norm or nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def images_and_labels(count: int = 22) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 images (N, 1, 4, 4) of three classes."""
    chance = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, 1, 4, 4), generator=chance, dtype=torch.uint8)
    return images, torch.randint(0, 3, (count,), generator=chance)


def training(model: nn.Module, regime: Regime = REGIME, batch_size: int = 6, growth: tuple = (), **options) -> Training:
    """A training of `model` on the small set."""
    batches = Batches(*images_and_labels(), batch_size, 0, mean=[0.5], std=[0.5], growth=growth)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.5, fused=True)
    probe = DistanceProbe(model, batches.sizes.updates_until(regime.epochs), batches.sizes.epochs_at)
    return Training(model, optimizer, regime, batches, images_and_labels(10), probe, **options)


def plain_loop(model: nn.Module, clip: float, rebuild: bool = False) -> list[float]:
    """The same training written out: default SGD, settings by hand, mean losses of the epochs.

    `rebuild` makes a new optimizer over the old one's parameter groups every epoch, as the official code does.
    """
    batches = Batches(*images_and_labels(), 6, 0, mean=[0.5], std=[0.5])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, foreach=False)
    means = []
    for epoch in range(4):
        if rebuild:
            optimizer = torch.optim.SGD(optimizer.param_groups, foreach=False)
        optimizer.param_groups[0]["lr"] = 0.1 if epoch < 2 else 0.02
        total = 0.0
        for images, labels in batches.epoch(epoch):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            norm = math.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters()))
            for parameter in model.parameters():
                parameter.grad.mul_(min(1.0, clip / (norm + 1e-6)))
            optimizer.step()
            total += loss.item() * len(labels)
        means.append(total / 22)
    return means


@pytest.mark.parametrize("clip", [0.05, 5.0])
def test_the_loop_equals_one_written_out(clip: float) -> None:
    expected = network()
    losses = plain_loop(expected, clip)
    run = training(network(), clip_norm=clip)
    train(run)
    for ours, theirs in zip(run.model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert [row[3] for row in run.history] == pytest.approx(losses, rel=1e-4)
    assert run.status == "finished" and run.update == run.total_updates == 16


def test_a_momentum_buffer_that_is_reset_is_an_optimizer_that_is_rebuilt_every_epoch() -> None:
    expected, kept = network(), network()
    losses = plain_loop(expected, 5.0, rebuild=True)
    plain_loop(kept, 5.0)
    run = training(network(), clip_norm=5.0, reset_momentum=True)
    train(run)
    for ours, theirs, other in zip(run.model.parameters(), expected.parameters(), kept.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(ours, other, rtol=1e-3)
    assert [row[3] for row in run.history] == pytest.approx(losses, rel=1e-4)


def test_an_adapted_training_resets_its_buffer_at_its_own_epochs() -> None:
    """22 samples in batches of 12 are two updates an epoch; twice as many epochs are eight resets, each after two."""
    lengths: list[float] = []
    run = training(network(), REGIME.adapted(12, 6), batch_size=12, reset_momentum=True)
    step = run.optimizer.step

    def noting() -> None:
        buffers = [state["momentum_buffer"] for state in run.optimizer.state.values()]
        lengths.append(sum(float(buffer.abs().sum()) for buffer in buffers))
        step()

    run.optimizer.step = noting
    train(run)
    assert run.total_updates == 16 and [length == 0 for length in lengths] == [True, False] * 8


def test_a_batch_that_grows_is_one_loop_after_another() -> None:
    """22 samples: two epochs of batches of 6, four updates each, then two of 11, two updates each."""
    expected, regime = network(), Regime((REGIME.phases[0], Phase(epoch=2, lr=0.05)), epochs=4)
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    looks, made = [], 0
    for epoch in range(4):
        optimizer.param_groups[0]["lr"] = 0.1 if epoch < 2 else 0.05
        batches = Batches(*images_and_labels(), 6 if epoch < 2 else 11, 0, mean=[0.5], std=[0.5])
        for images, labels in batches.epoch(epoch):
            optimizer.zero_grad()
            F.cross_entropy(expected(images), labels).backward()
            optimizer.step()
            made += 1
        looks.append([made, epoch + 1])
    run = training(network(), regime, growth=((2, 11),))
    train(run)
    for ours, theirs in zip(run.model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert [row[:2] for row in run.history] == looks == [[4, 1], [8, 2], [10, 3], [12, 4]]
    assert [row[1] for row in run.probe.rows if row[0] in (8, 9, 11)] == [2.0, 2.5, 3.5]


def test_without_momentum_there_is_no_buffer_to_reset() -> None:
    regime = Regime(phases=(Phase(epoch=0, lr=0.1, momentum=0.0),), epochs=2)
    runs = [training(network(), regime, reset_momentum=reset) for reset in (True, False)]
    for run in runs:
        train(run)
    for one, other in zip(*(run.model.parameters() for run in runs), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("length", [0.0, 1.0, 4.9999, 4.999999, 5.0, 5.000001, 80.0, math.inf, math.nan])
def test_clipping_is_that_of_pytorch_to_the_bit(length: float) -> None:
    """5 − 1e-6 is where PyTorch's factor 5 / (norm + 1e-6) begins to be less than one."""
    ours, theirs = ([nn.Parameter(torch.zeros(7)), nn.Parameter(torch.zeros(2, 3))] for _ in range(2))
    for parameters in (ours, theirs):
        values = torch.randn(13, generator=torch.Generator().manual_seed(0))
        parts = (values * (length / values.norm())).split([7, 6])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.reshape(parameter.shape).clone()
    _clip(ours, 5.0)
    nn.utils.clip_grad_norm_(theirs, 5.0)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.grad.nan_to_num(-1), other.grad.nan_to_num(-1))


def test_history_has_update_epoch_and_rate_of_each_look() -> None:
    run = training(network(), evaluate_every=3)
    train(run)
    assert [row[:3] for row in run.history] == [[12, 3, 0.02], [16, 4, 0.02]]


def test_evaluate_is_mean_loss_and_error_in_evaluation_mode() -> None:
    model = network()
    run = training(model)
    train(run)
    images, labels = run.validation
    loss, error = evaluate(model, images, labels, run.batches, size=3)
    model.eval()
    logits = model(normalise(images, [0.5], [0.5]))
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert error == 100 * (logits.argmax(1) != labels).sum().item() / len(labels)
    assert run.history[-1][5:] == [pytest.approx(loss), error]


def test_the_distance_is_that_of_the_weights_from_their_start() -> None:
    model = network()
    start = [parameter.detach().clone() for parameter in model.parameters()]
    run = training(model)
    train(run)
    moved = [(p.detach() - q).double() for p, q in zip(model.parameters(), start, strict=True)]
    update, epoch, first, weights, everything = run.probe.rows[-1]
    assert (update, epoch) == (16, 4.0)
    assert first == pytest.approx(moved[0].norm().item())
    assert weights == pytest.approx(torch.cat([moved[0].ravel(), moved[4].ravel()]).norm().item())
    assert everything == pytest.approx(torch.cat([part.ravel() for part in moved]).norm().item())


def test_a_loss_that_is_not_finite_ends_the_run_with_its_history() -> None:
    run = training(network(), Regime(phases=(Phase(epoch=0, lr=1e30),), epochs=9))
    train(run)
    assert run.status == "diverged"
    assert 1 <= run.history[-1][1] < 9
    assert not math.isfinite(run.history[-1][3])


@pytest.mark.parametrize(("batch", "ghost", "cut"), [(6, 0, 6), (6, 2, 2), (22, 3, [3, 3, 3, 3, 3, 3, 4])])
def test_recomputed_statistics_serve_an_evaluation_and_leave_the_training_alone(batch, ghost, cut) -> None:
    """By hand: the statistics of the last epoch's batches, each cut into ghosts, under the final weights.

    A ghost of one sample could not be normalised: of 22 samples in ghosts of 3, the last has 4.
    """
    norm = GhostBatchNorm1d(8, ghost) if ghost else None
    kept, recomputed = (
        training(
            network(norm=deepcopy(norm)),
            batch_size=batch,
            division=BatchDivision(batch, ghost),
            recompute_statistics=on,
        )
        for on in (False, True)
    )
    for run in (kept, recomputed):
        train(run)
    assert [row[3:5] for row in recomputed.history] == [row[3:5] for row in kept.history]
    for one, other in zip(kept.model.state_dict().values(), recomputed.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    flatten, linear, layer, relu, last = kept.model
    with torch.no_grad():
        parts = [each for images, _ in kept.batches.epoch(3) for each in linear(flatten(images)).split(cut)]
        mean, var = (
            torch.stack([f(each) for each in parts]).mean(0) for f in (lambda x: x.mean(0), lambda x: x.var(0))
        )
        images, labels = images_and_labels(10)
        features = linear(flatten(normalise(images, [0.5], [0.5])))
        logits = last(relu(F.batch_norm(features, mean, var, layer.weight, layer.bias)))
    assert recomputed.history[-1][5] == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    assert abs(recomputed.history[-1][5] - kept.history[-1][5]) > 1e-3


@pytest.mark.parametrize("normalised", [True, False])
def test_statistics_that_cannot_be_recomputed_leave_the_model_as_it_was(normalised: bool) -> None:
    """The second batch does not fit, or the evaluation itself fails."""
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = [torch.randn(4, 16), torch.randn(4, 16 if normalised else 9)]
    with pytest.raises(RuntimeError), recomputed_statistics(model, images):
        raise RuntimeError("the evaluation")
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model[2].momentum == 0.1


def test_noise_weights_each_sample_by_its_own_factor() -> None:
    """By hand, two epochs: z_n = 1 + σ ε_n with an ε for each sample in the order of training, new in each epoch."""
    regime = Regime(phases=(Phase(epoch=0, lr=0.1),), epochs=2)
    noisy, plain = (training(network(), regime, noise=noise) for noise in (0.5, 0.0))
    train(noisy)
    for epoch in range(2):
        factors = 1 + 0.5 * torch.randn(22, generator=generator(0, epoch, "noise"))
        for (images, labels), part in zip(plain.batches.epoch(epoch), factors.split(6), strict=True):
            plain.model.zero_grad()
            right = plain.model(images).log_softmax(1).gather(1, labels[:, None]).squeeze(1)
            (part * -right).mean().backward()
            for parameter in plain.model.parameters():
                parameter.data -= 0.1 * parameter.grad
    for ours, theirs in zip(noisy.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_official_cut_keeps_the_number_of_ghosts_in_the_last_batch() -> None:
    """22 samples in batches of 12 with ghosts of 6 leave 10: own cut 6 + 4, official cut two ghosts of 5."""

    def train_with(tail_ghosts: int) -> nn.Module:
        run = training(
            network(norm=GhostBatchNorm1d(8, 6)), batch_size=12, division=BatchDivision(12, 6, tail_ghosts=tail_ghosts)
        )
        sizes.clear()
        with_sizes(run.model[2])
        train(run)
        return run.model

    sizes: list[int] = []
    original = F.batch_norm

    def with_sizes(layer: nn.Module) -> None:
        def recorded(input: torch.Tensor, *arguments, **options) -> torch.Tensor:
            if layer.training:
                sizes.append(len(input))
            return original(input, *arguments, **options)

        patch.setattr(torch.nn.functional, "batch_norm", recorded)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "LIBRARY", None)  # PyTorch's kernel is called ghost by ghost then
        train_with(0)
        assert sizes[:4] == [6, 6, 6, 4]
        train_with(2)
        assert sizes[:4] == [6, 6, 5, 5]


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("stop_at", [1, 3, 4, 8, 15, 16])
def test_a_training_stopped_anywhere_ends_as_if_never_stopped(stop_at: int, reset: bool) -> None:
    """Updates 4, 8 and 16 end an epoch: a momentum buffer that is reset is full at the stop, and empty after it."""
    options = {"noise": 0.3, "evaluate_every": 2, "reset_momentum": reset}
    whole = training(network(), **options)
    train(whole)
    states: list[dict] = []
    first = training(network(), **options)
    probe = first.probe.__call__

    def stopping(update: int) -> None:
        probe(update)
        first.stop = update == stop_at

    first.probe = type("Stopping", (), {"__call__": lambda self, update: stopping(update), "rows": first.probe.rows})()
    with pytest.raises(Interrupted, match=f"after update {stop_at} of 16"):
        train(first, Saving(lambda: states.append(copy(first.state_dict()))))
    resumed = training(network(seed=0), **options)
    resumed.load_state_dict(states[-1])
    train(resumed)
    assert resumed.history == whole.history
    assert resumed.probe.rows == whole.probe.rows
    for ours, theirs in zip(resumed.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


class Saving(Listener):
    """Calls a function where a training is to be saved."""

    def __init__(self, save: Callable[[], None]) -> None:
        self.save = save


def copy(state: dict) -> dict:
    """A state that later updates do not change."""
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_a_checkpoint_is_written_at_the_end_of_the_first_phase() -> None:
    run = training(network())
    saved: list[int] = []
    train(run, Saving(lambda: saved.append(run.update)))
    assert saved == [8]
