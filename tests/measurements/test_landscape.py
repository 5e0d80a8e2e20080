"""Figure 4: spreads of losses with a closed form, the loss of a network sample by sample, and the verdict on C5."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gbnlib import claims, data, files, paper
from gbnlib.analysis.landscape import (
    compare_paths,
    compare_with_figure4,
    last_exponent,
    published_slope,
    structure_exponent,
)
from gbnlib.claims.decision import INCONCLUSIVE, NOT, NOT_TESTED, REPRODUCED
from gbnlib.measurements import landscape

DISTANCES = [0.0, 0.5, 2.0, 8.0]
SMALL = {"directions": 2, "samples": 3, "sample_size": 8, "seeds": 2, "threads": 1}
CPU = torch.device("cpu")


def spreads(loss: landscape.Loss, start: Tensor, directions: int) -> pd.DataFrame:
    """What `spread` says at each distance."""
    losses = landscape.losses_along(loss, start, DISTANCES, directions, torch.Generator().manual_seed(0))
    rows = [landscape.spread(found, loss(start)) for found in losses.unbind(dim=1)]  # (directions, 2, samples) each
    return pd.DataFrame(rows, index=DISTANCES)


def test_a_linear_loss_has_alpha_two_exactly() -> None:
    """L = g · w has E[(L(w) − L(w_0))²] = ‖g‖² d² / n: here ‖g‖ = 5 and n = 25, so d times 1."""
    gradient = torch.zeros(25, dtype=torch.float64)
    gradient[:2] = torch.tensor([3.0, 4.0])
    found = spreads(lambda place: (gradient @ place).expand(2), torch.ones(25, dtype=torch.float64), 4000)
    for column in ("sd", "rms"):
        slope = np.polyfit(np.log(DISTANCES[1:]), np.log(found[column][1:]), 1)[0]
        assert slope == pytest.approx(1.0, abs=1e-9)
        assert found[column].to_numpy() == pytest.approx(np.array(DISTANCES), rel=0.03)


def test_a_quadratic_loss_has_the_spread_of_its_gradient_and_hessian() -> None:
    """Of L = g · w + w · H w / 2 at 0, with u uniform on the sphere: the variance of g · u is ‖g‖² / n, that of u · H u
    2 (tr H² − (tr H)² / n) / (n (n + 2)); the two are uncorrelated, and E[u · H u] = tr H / n."""
    gradient, curvature = torch.full((10,), 0.2).double(), torch.arange(10.0).double()
    start = torch.zeros(10, dtype=torch.float64)
    found = spreads(lambda w: (gradient @ w + curvature @ w.square() / 2).expand(2), start, 20_000)
    squares = 2 * (285 - 45**2 / 10) / (10 * 12)  # tr H = 45, tr H² = 285
    for distance, row in found.iterrows():
        variance = 0.4 / 10 * distance**2 + squares / 4 * distance**4
        assert row.sd == pytest.approx(variance**0.5, rel=0.02)
        assert row.rise == pytest.approx(45 / 10 * distance**2 / 2, rel=0.01)
        assert row.rms == pytest.approx((variance + row.rise**2) ** 0.5, rel=0.01)


def test_what_samples_do_not_share_is_noise() -> None:
    """Three samples whose gradients are g + e_k: only ‖g‖² = 1 counts, not the ‖e_k‖² = 4 that each adds."""
    vectors = torch.eye(50, dtype=torch.float64)
    gradients = vectors[0] + 2 * vectors[1:4]
    found = spreads(lambda place: gradients @ place, torch.zeros(50, dtype=torch.float64), 20_000)
    assert found.sd.to_numpy() == pytest.approx(np.array(DISTANCES) / 50**0.5, rel=0.1)
    one_sample = spreads(lambda place: (gradients[:1] @ place).expand(2), torch.zeros(50, dtype=torch.float64), 5000)
    assert one_sample.sd[8.0] == pytest.approx(8 * (5 / 50) ** 0.5, rel=0.05)


def test_at_distance_zero_all_is_noise_and_nothing_is_left_of_it() -> None:
    """Losses that are noise of variance 4 alone, in 50,000 directions: the variance left is 0 ± 0.01."""
    losses = 2 * torch.randn(50_000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centred = losses - losses.mean(dim=0)
    assert abs(landscape.between(centred.T @ centred / 50_000)) < 0.03
    found = landscape.spread(torch.tensor([1.0, 3.0]).double().expand(5, 2, 2), torch.tensor([1.0, 3.0]).double())
    assert found["sd"] == found["rms"] == found["rise"] == 0
    assert found["noisy"] == 1.0  # variance 2 of a sample, halved by two samples


def test_each_sample_goes_through_the_network_by_itself() -> None:
    loss = landscape.NetworkLoss("resnet8", "digits", 3, 8, seed=1, device=CPU)
    plain = landscape.build("resnet8", data.card("digits"), seed=1)
    assert isinstance(plain[1], nn.BatchNorm2d)
    buffers = [buffer.clone() for buffer in loss.model.buffers()]
    parts = zip(loss.images.split(8), loss.labels.split(8), strict=True)
    alone = torch.stack([F.cross_entropy(plain(images), labels) for images, labels in parts])
    assert torch.allclose(loss(loss.start), alone.double(), rtol=1e-5)
    assert all(torch.equal(before, now) for before, now in zip(buffers, loss.model.buffers(), strict=True))
    wanted = torch.cat([part.flatten() for part in torch.autograd.grad(alone[2], list(plain.parameters()))])
    assert torch.allclose(loss.gradients(loss.start)[2], wanted, rtol=1e-3, atol=1e-5)


def test_samples_are_disjoint_and_from_the_training_images() -> None:
    loss, source = landscape.NetworkLoss("f1", "digits", 5, 100, 0, CPU), data.load("digits", files.data_root())
    every = {row.numpy().tobytes() for row in data.normalise(source.train_images, [0.5], [0.5])}
    used = [row.numpy().tobytes() for row in loss.images]
    assert set(used) <= every and len(set(used)) > 495  # a few digits occur twice in the set itself


def test_measurements_are_pure_functions_of_their_parameters() -> None:
    call = {"network": "f1", "dataset": "digits", "distances": DISTANCES[1:], **SMALL}
    found = landscape.measure_directions(**call)
    torch.randn(3)
    assert found.equals(landscape.measure_directions(**call))
    assert found.distance.tolist() == 2 * DISTANCES and found[found.distance == 0].sd.eq(0).all()
    assert (found.noisy > 0).all() and found.norm.between(58, 59).all()  # √(5 · 512 (1 + 1 / 3)) = 58.4


def test_a_trajectory_begins_near_the_start_and_is_repeatable() -> None:
    regime = {"batch_size": 1000, "epochs": 1, "rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, "clip_norm": 1.0}
    call = {"network": "f1", "dataset": "digits", **regime, **SMALL} | {"seeds": 1}
    call.pop("directions")
    found = landscape.measure_trajectory(**call)
    assert found.equals(landscape.measure_trajectory(**call))
    assert found["update"].tolist() == [1, 2, 3, 4] and found.distance[0] <= 0.1 * 1.0001  # rate times clipped norm
    assert found.rise.iloc[-1] < 0


def test_the_structure_function_is_the_covariance_of_samples_over_pairs_of_places() -> None:
    chance = torch.Generator().manual_seed(0)
    places, own = torch.randn(12, 3, generator=chance, dtype=torch.float64), torch.randn(12, 3, generator=chance)
    index = {tuple(place.tolist()): number for number, place in enumerate(places)}
    values = torch.linspace(0, 5, 12).sin()[:, None] + own  # what samples have in common, and what each has
    found = landscape.structure(lambda place: values[index[tuple(place.tolist())]].double(), list(places))
    assert list(found) == list(range(1, 11))
    for lag in (1, 4):
        rises = (values[lag:] - values[:-lag]).double().numpy()
        matrix, apart = np.cov(rises.T), (places[lag:] - places[:-lag]).numpy()
        assert found[lag]["square"] == pytest.approx((matrix.sum() - np.trace(matrix)) / 6)
        assert found[lag]["distance"] == pytest.approx(np.sqrt((apart**2).sum(1).mean()))
        assert found[lag]["rise"] == pytest.approx(rises.mean())


def test_places_of_a_structure_function_come_in_equal_steps_after_the_first_epoch() -> None:
    regime = {"batch_size": 500, "epochs": 4, "rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, "clip_norm": 1.0}
    call = {"network": "f1", "dataset": "digits", **regime, **SMALL} | {"seeds": 1, "every": 2, "first": 8}
    call.pop("directions")
    found = landscape.measure_structure(**call)
    assert found.equals(landscape.measure_structure(**call))
    assert found.lag.tolist() == list(range(2, 24, 2))  # places 8, 10 … 32: 13 of them, and two pairs at least a lag
    assert found.distance.is_monotonic_increasing


def structured(alphas: list[float]) -> pd.DataFrame:
    """A structure function with a seed for each α at short lags, and level at long ones."""
    lags = np.arange(1, 41)
    parts = [
        pd.DataFrame(
            {"seed": seed, "lag": lags, "distance": np.sqrt(lags), "square": np.minimum(lags, 10) ** (alpha / 2)}
        )
        for seed, alpha in enumerate(alphas)
    ]
    return pd.concat(parts)


def test_alpha_within_a_training_is_that_of_short_lags() -> None:
    found = structure_exponent(structured([0.9, 1.0, 1.1]))
    assert found.estimate == pytest.approx(1.0) and found.n == (3,)
    noisy = structured([1.0, 1.0])
    noisy.loc[(noisy.seed == 1) & (noisy.lag == 2), "square"] = -1e-3
    assert structure_exponent(noisy).n == (1,)


def synthetic(exponents: list[float]) -> pd.DataFrame:
    """A landscape with a seed for each exponent."""
    rows = [
        {"seed": seed, "distance": distance, "sd": 1e-3 * distance**power, "rms": 1e-3 * distance**power}
        for seed, power in enumerate(exponents)
        for distance in (0.0, *paper.published("figure4")["distance"][1:], 64.0)
    ]
    return pd.DataFrame(rows).assign(slope=1e-3, norm=10.0, noisy=1e-2, rise=0.0)


def test_the_last_exponent_is_that_of_the_last_stretch_of_the_papers_figure() -> None:
    """Beyond the first distances the spread stays level, and what lies beyond the figure does not count."""
    bent = synthetic([1.0, 1.0])
    reach = paper.published("figure4")["distance"]
    bent["sd"] = bent.distance.clip(upper=reach[-2]).where(bent.distance <= reach[-1], 1e6)
    assert last_exponent(bent).estimate == pytest.approx(0)
    assert last_exponent(synthetic([1.2])).estimate == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("exponents", "expected"),
    [
        ([1.0, 1.01, 0.99], REPRODUCED),
        ([1.5, 1.51, 1.49], NOT),
        ([0.8, 1.0, 1.2], INCONCLUSIVE),
        ([1.0, 1.0], INCONCLUSIVE),
    ],
)
def test_c5_asks_for_an_exponent_near_one(exponents: list[float], expected: str) -> None:
    verdict = claims.judge("C5", synthetic(exponents), item="figure4", scale="quick")
    assert verdict.verdict == expected and verdict.n == len(exponents) and verdict.criterion
    assert claims.judge("C5", pd.DataFrame(), item="figure4", scale="quick").verdict == NOT_TESTED


def test_a_seed_below_the_noise_has_no_exponent_and_is_named() -> None:
    frame = synthetic([1.0, 1.0, 1.0, 1.0])
    frame.loc[(frame.seed == 3) & (frame.distance == 0.5), "sd"] = np.nan
    verdict = claims.judge("C5", frame, item="figure4", scale="quick")
    assert verdict.n == 3 and "of 1 seed an estimate lies below the noise" in verdict.evidence


def test_the_comparison_has_the_papers_slope_and_ours() -> None:
    """The paper's slope is about 7.1e-4 per unit distance."""
    assert published_slope() == pytest.approx(7.1e-4, abs=0.2e-4)
    frames = {"f1": synthetic([1.0, 1.0, 1.0]), "resnet8": pd.DataFrame()}
    table = compare_with_figure4(frames).set_index("quantity")
    assert set(table.network) == {"F1"} and table.here["1000 × slope (here through the origin)"] == pytest.approx(1.0)
    assert table.here["α from E[(L(w) − L(w₀))²]"] == pytest.approx(2.0)
    paths = compare_paths(frames, {"f1": synthetic([0.5])}, {"f1": structured([0.6])})
    assert paths.path.tolist() == ["random directions", "trajectory", "between places of the training"]
    assert paths["α"].tolist() == pytest.approx([2, 1, 0.6])


def test_the_verdict_tells_how_soon_training_is_farther_away_and_what_shuffled_labels_give() -> None:
    """Distances 1, 8, 9 and 10 at updates 1, 5, 13 and 20: the paper's 8.85 is passed at 13."""
    steps = zip([1, 5, 13, 20], [1.0, 8.0, 9.0, 10.0], strict=True)
    trajectory = pd.DataFrame([{"seed": 0, "update": update, "distance": distance} for update, distance in steps])
    beside = {"trajectory": trajectory, "null": synthetic([1.1, 1.1, 1.1]), "structure": structured([0.5, 0.5, 0.5])}
    evidence = claims.judge("C5", synthetic([1.0] * 3), item="figure4", scale="quick", beside=beside).evidence
    assert "training is past these distances after 13 updates" in evidence
    assert "its variance goes like distance^α with α 0.50 [0.50, 0.50] (n = 3), where the theory has 2" in evidence
    assert "with shuffled labels the exponent is 1.10 [1.10, 1.10] (n = 3)" in evidence


def test_shuffled_labels_are_the_same_ones_in_another_order() -> None:
    options = ("f1", "digits", 4, 32, 0, torch.device("cpu"))
    plain, shuffled = landscape.NetworkLoss(*options), landscape.NetworkLoss(*options, shuffled=True)
    assert torch.equal(plain.images, shuffled.images) and torch.equal(plain.start, shuffled.start)
    assert not torch.equal(plain.labels, shuffled.labels)
    assert torch.equal(plain.labels.sort().values, shuffled.labels.sort().values)
