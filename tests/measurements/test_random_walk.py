"""Walks on random potentials against closed forms."""

import numpy as np
import pytest
import torch

from gbnlib.measurements import random_field, random_walk


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5])
def test_the_potential_has_the_covariance_of_fractional_brownian_motion(alpha: float) -> None:
    """Cov(V(x), V(y)) = (x^α + y^α − |x − y|^α) / 2; 40,000 samples leave standard errors under 1 % of the variance."""
    potential = random_walk.fractional_potentials(alpha, 33, 40_000, seed=0)
    x = np.arange(33.0)
    expected = (x[:, None] ** alpha + x**alpha - abs(x[:, None] - x) ** alpha) / 2
    assert np.abs(potential.T @ potential / 40_000 - expected).max() < 0.03 * 32**alpha
    assert np.array_equal(potential, random_walk.fractional_potentials(alpha, 33, 40_000, seed=0))


@pytest.mark.parametrize("alpha", [0.0, 2.0, -1.0])
def test_other_exponents_are_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 2"):
        random_walk.fractional_potentials(alpha, 8, 1, seed=0)


def test_a_flat_potential_takes_the_square_of_the_distance() -> None:
    times = np.exp(random_walk.log_passage_times(np.zeros((1, 50))))
    assert times[0] == pytest.approx(np.arange(1, 51) ** 2)


@pytest.mark.parametrize("slope", [0.7, -0.7])
def test_a_constant_slope_has_its_closed_form(slope: float) -> None:
    """E(x) = c + ρ^x (1 − c) with ρ = exp(slope) and c = (1 + ρ) / (1 − ρ) solves E(x) = 1 + ρ (1 + E(x − 1))."""
    ratio, x = np.exp(slope), np.arange(30)
    constant = (1 + ratio) / (1 - ratio)
    expected = np.cumsum(constant + ratio**x * (1 - constant))
    assert np.exp(random_walk.log_passage_times(slope * x[None])[0]) == pytest.approx(expected)


def test_a_barrier_costs_its_exponential() -> None:
    """Arrhenius: behind one barrier, two units more of height multiply the time by e²."""
    barrier = np.concatenate([np.linspace(0, 1, 10), np.linspace(1, -1, 20)])
    low, high = (random_walk.log_passage_times(height * barrier[None])[0, -1] for height in (40, 42))
    assert high - low == pytest.approx(2, abs=0.1)


def test_times_beyond_every_float_are_finite() -> None:
    times = random_walk.log_passage_times(np.linspace(0, 1e5, 1000)[None])
    assert np.isfinite(times).all() and times[0, -1] == pytest.approx(1e5, rel=1e-3)


def test_the_largest_climb_is_that_of_all_pairs() -> None:
    potential = random_walk.fractional_potentials(1.0, 40, 3, seed=1)
    differences = potential[:, None, :] - potential[:, :, None]
    expected = [np.triu(each).max() for each in differences]
    assert random_walk.largest_climbs(potential)[:, -1] == pytest.approx(expected)


def test_walkers_on_a_flat_potential_diffuse() -> None:
    """E[x²] = t, with a standard error of √2 t / √walkers = 0.8 %."""
    *_, moved = random_walk.walk(np.zeros((4, 401)), 8000, [10, 50, 100], seed=0)
    assert (moved.double() ** 2).mean().item() == pytest.approx(100, rel=0.04)
    assert moved.shape == (4, 8000) and (moved % 2 == 0).all()


def test_walkers_reach_the_distribution_of_the_potential() -> None:
    """In the long run a site x holds a share that goes like exp(−V(x)) + exp(−V(x − 1)), with walls at both ends."""
    potential = np.array([[0.0, 1.0, -1.0, 0.5, 0.0, -0.5, 9.9]])
    inner = np.exp(-potential[0, :-1])
    weights = np.concatenate([[inner[0]], inner[1:] + inner[:-1], [inner[-1]]])
    even = random_walk.walk(potential, 40_000, [1000, 1001], seed=0)
    places = torch.cat([moved.flatten() + 3 for moved in even])
    found = np.bincount(places.numpy(), minlength=7) / len(places)
    assert found == pytest.approx(weights / weights.sum(), abs=0.01)


def test_walkers_take_as_long_as_the_exact_time_says() -> None:
    """From a wall in the middle (a step up of 50) to the right end: the mean time is the exact one of that half."""
    half = random_walk.fractional_potentials(1.0, 8, 1, seed=3)
    both = np.concatenate([half[:, 7:0:-1] + 50.0, half], axis=1)
    both = np.concatenate([np.full((1, 1), 99.0), both], axis=1)
    exact = np.exp(random_walk.log_passage_times(half)[0, 5])
    times = list(range(1, 3000))
    arrived = np.full(4000, np.inf)
    for time, moved in zip(times, random_walk.walk(both, 4000, times, seed=0), strict=True):
        here = (moved[0] >= 6).numpy()
        arrived[here & np.isinf(arrived)] = time
    assert np.isfinite(arrived).all() and arrived.mean() == pytest.approx(exact, rel=0.06)


def test_a_valley_is_found_by_hand() -> None:
    """From 0 in the middle: left bottom −2 behind a pass of 1, right bottom −3 behind a pass of 2, walls of 9."""
    potential = np.array([[9.0, -2, 1, 0, 2, -3, 9]])
    # Depth 2.5: the left pass is the lower one, and from −2 the right pass is 4 above. Depth 4.5: the passes no longer
    # hold the walker on the left, so it sits at the lower bottom.
    assert random_walk.valley_bottoms(potential, 2.5).tolist() == [-2]
    assert random_walk.valley_bottoms(potential, 4.5).tolist() == [2]
    with pytest.raises(ValueError, match="use more sites"):
        random_walk.valley_bottoms(potential, 20)


def test_the_law_of_sinais_walk() -> None:
    """It begins at 0, ends at 1, and its second moment ∫ 2x (1 − F) dx is 61/45."""
    x = np.linspace(0, 40, 400_001)
    cdf = random_walk.sinai_cdf(x)
    assert cdf[0] == pytest.approx(0, abs=1e-4) and cdf[-1] == pytest.approx(1)
    assert (np.diff(cdf) >= 0).all()
    assert np.trapezoid(2 * x * (1 - cdf), x) == pytest.approx(random_walk.SINAI_MEAN_SQUARE, rel=1e-4)


def test_deep_valleys_follow_the_law() -> None:
    """Depth 40, 400 environments: the mean square within three standard errors, and Kolmogorov's distance."""
    frame = random_walk.measure_valleys([40.0], 2**15, 400, seed=0)
    size = np.sort(frame.x.abs() / 40**2)
    assert abs((size**2).mean() - random_walk.SINAI_MEAN_SQUARE) < 3 * (size**2).std() / 20
    assert abs(random_walk.sinai_cdf(size) - (np.arange(400) + 0.5) / 400).max() < 1.63 / 20


def test_passages_and_walks_are_tidy_and_repeatable() -> None:
    first, second = (random_walk.measure_passages([1.0], [1.0, 2.0], 64, 40, seed=0) for _ in range(2))
    assert first.equals(second) and len(first) == 2 * 40 * 4
    assert first.groupby("roughness").environment.nunique().tolist() == [40, 40]
    assert (first.log_time >= np.log(first.distance)).all() and (first.log_time >= first.climb).all()
    walks = random_walk.measure_walks([0.5, 1.0], 1.0, 256, 8, 4, 64, seed=0)
    assert walks.equals(random_walk.measure_walks([0.5, 1.0], 1.0, 256, 8, 4, 64, seed=0))
    assert len(walks) == 2 * 8 * 3 and (walks.mean_square <= walks.steps**2).all()


@pytest.mark.parametrize(("alpha", "decay"), [(2, lambda d: np.exp(-(d**2))), (1, lambda d: np.exp(-d))])
def test_the_field_has_its_structure_function(alpha: int, decay) -> None:
    chance = torch.Generator().manual_seed(0)
    field = random_field.RandomField(alpha, 5, 20_000, 3.0, chance)
    places = 1000 * torch.rand(2000, 5, generator=chance)
    direction = torch.nn.functional.normalize(torch.randn(2000, 5, generator=chance), dim=1)
    for distance in (0.1, 0.5, 2.0):
        found = ((field(places) - field(places + distance * direction)) ** 2).mean().item()
        assert found == pytest.approx(2 * 9 * (1 - decay(distance)), rel=0.1)


def test_walks_on_a_field_go_down_and_repeat() -> None:
    call = [[1, 2], 8, 64, 5.0, [0.02, 0.05], 10, 256, 0]
    frame = random_field.measure_field_walks(*call)
    assert frame.equals(random_field.measure_field_walks(*call))
    last = frame[frame.steps == 256]
    assert len(last) == 20 and (last.groupby("alpha").descent.mean() > 0).all()
    with pytest.raises(ValueError, match="made for 1 and 2"):
        random_field.RandomField(3, 2, 8, 1.0, torch.Generator())
