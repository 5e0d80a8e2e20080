"""The gradient noise scale against closed forms, and against the gradients of single samples."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from gbnlib.training import noise_scale
from gbnlib.training.gradient_noise import GROUPS


def drawn(generator, mean: float, sd: float, size: int, count: int):
    """Batches whose gradient, with the loss w · x, is the mean of x: normal around `mean` in each of four places."""
    for _ in range(count):
        x = mean + sd * torch.randn(size, 4, generator=generator)
        yield x, torch.zeros(size)


def mean_output(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A loss whose gradient does not depend on the weights."""
    return output.mean()


@pytest.mark.parametrize(("mean", "sd", "size"), [(0.5, 1.0, 8), (0.2, 2.0, 32), (1.0, 0.1, 4)])
def test_it_is_the_closed_form_of_normal_gradients(mean: float, sd: float, size: int) -> None:
    """tr Σ = 4 sd² and |G|² = 4 mean², so B = (sd / mean)²."""
    model = nn.Linear(4, 1, bias=False)
    batches = drawn(torch.Generator().manual_seed(0), mean, sd, size, 4000)
    found = noise_scale(model, batches, mean_output, batches=4000)
    assert found.trace == pytest.approx(4 * sd**2, rel=0.05)
    assert found.squared_norm == pytest.approx(4 * mean**2, rel=0.05)
    assert found.low < (sd / mean) ** 2 < found.high and found.high < 1.5 * found.low
    assert (found.batches, found.batch_size) == (4000, size)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    model, truth, covered = nn.Linear(4, 1, bias=False), 4.0, 0
    for seed in range(100):
        found = noise_scale(model, drawn(torch.Generator().manual_seed(seed), 0.5, 1.0, 8, 100), mean_output)
        covered += found.low < truth < found.high
    assert 88 <= covered <= 100  # 95 expected; under 88 has a chance of a thousandth


def test_it_agrees_with_the_gradients_of_single_samples() -> None:
    """A small network: tr Σ and |G|² over a data set that is drawn from with replacement, sample by sample."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    data = TensorDataset(torch.randn(60, 6), torch.randint(3, (60,)))
    single = []
    for x, y in data:
        loss = nn.functional.cross_entropy(model(x[None]), y[None])
        single.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))]))
    gradients = torch.stack(single).double()
    whole = gradients.mean(0)
    trace = float((gradients - whole).square().sum(1).mean())
    sampler = RandomSampler(data, replacement=True, num_samples=16 * 2000)
    found = noise_scale(model, DataLoader(data, batch_size=16, sampler=sampler), batches=2000)
    assert found.trace == pytest.approx(trace, rel=0.05)
    assert found.scale == pytest.approx(trace / float(whole.square().sum()), rel=0.15)


def test_a_gradient_lost_in_the_noise_has_no_scale() -> None:
    found = noise_scale(
        nn.Linear(4, 1, bias=False), drawn(torch.Generator().manual_seed(1), 0.0, 1.0, 4, 40), mean_output
    )
    assert (found.low, found.high) == (0.0, math.inf)


def test_the_model_is_as_before_and_a_smaller_last_batch_ends_it() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = TensorDataset(torch.randn(8 * 25 + 3, 4), torch.randint(2, (203,)))
    found = noise_scale(model, DataLoader(data, batch_size=8))
    assert found.batches == 25 and all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()) and model.training


@pytest.mark.parametrize("batches", [0, 1, 2 * GROUPS - 1])
def test_too_few_batches_are_an_error(batches: int) -> None:
    with pytest.raises(ValueError, match=f"{batches} batches are too few"):
        noise_scale(nn.Linear(4, 1), drawn(torch.Generator(), 1.0, 1.0, 4, batches), mean_output)


def test_the_model_is_as_it_was_also_where_the_loader_fails() -> None:
    def failing():
        yield from drawn(torch.Generator().manual_seed(0), 3.0, 1.0, 8, 25)
        raise OSError("the disk is gone")

    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(OSError, match="the disk is gone"):
        noise_scale(model, failing(), mean_output)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_without_gradients_is_refused() -> None:
    batches = drawn(torch.Generator().manual_seed(0), 1.0, 1.0, 8, 25)
    with pytest.raises(ValueError, match="no parameter of the model requires a gradient"):
        noise_scale(nn.Linear(4, 1).requires_grad_(False), batches, mean_output)
