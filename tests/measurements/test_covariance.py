"""Appendix A: covariances by hand, by enumeration and by simulation."""

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from gbnlib import claims
from gbnlib.analysis import identities, reach
from gbnlib.claims.decision import NOT, NOT_TESTED, REPRODUCED
from gbnlib.measurements import covariance

WITH, WITHOUT = covariance.SCHEMES


def test_per_sample_gradients_are_those_of_single_samples() -> None:
    model = covariance.small_network(4, 5, 3, seed=0)
    images, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    found = covariance.per_sample_gradients(model, images, labels)
    for row, image, label in zip(found, images, labels, strict=True):
        alone = torch.autograd.grad(F.cross_entropy(model(image[None]), label[None]), list(model.parameters()))
        assert torch.allclose(row, torch.cat([part.flatten() for part in alone]))


def test_the_reach_of_a_method_is_over_the_small_batchs_of_the_same_seed() -> None:
    """At update 10, the last that both share, SB is at 2 and 4, LB at 1 and 3: half, and three quarters."""
    rows = [
        {
            "method": method,
            "seed": seed,
            "batch_size": batch,
            "update": update,
            "end": end,
            "weights": at,
            "first": 2 * at,
        }
        for method, batch, end, found in (("SB", 32, 20, (2, 4)), ("LB", 64, 10, (1, 3)))
        for seed, at in enumerate(found)
        for update in (10, end)
    ]
    table = reach.compare_reach(pd.DataFrame(rows).drop_duplicates()).set_index("method")
    assert table["over SB's, all weights"]["LB"].startswith("0.62") and set(table["update"]) == {10}
    assert table["over SB's, first tensor"]["SB"].startswith("1.00")
    assert reach.compare_reach(pd.DataFrame(rows[2:]).query("method == 'LB'")).empty


def test_enumeration_of_three_samples_by_hand() -> None:
    """g = 0, 3, 6 has C = 6. Pairs have means 1.5, 3, 4.5, variance 1.5 = (3 − 2) / (2 · 2) · 6; tuples have 6 / 2."""
    gradients = torch.tensor([[0.0], [3.0], [6.0]])
    assert covariance.enumerated_covariance(gradients, 2, WITHOUT).item() == pytest.approx(1.5)
    assert covariance.enumerated_covariance(gradients, 2, WITH).item() == pytest.approx(3.0)
    assert covariance.factor(3, 2, WITHOUT) == 1 / 4 and covariance.factor(3, 2, WITH) == 1 / 2
    assert covariance.enumerated_covariance(gradients, 3, WITHOUT).item() == pytest.approx(0)


def test_the_identity_holds_to_rounding_and_says_what_is_left() -> None:
    """N = 6, batches 2 and 4: (6 − 4) / (6 − 2) = 1/2 stays without replacement."""
    found = covariance.measure_identity(6, [[2, 4]], 2)
    assert (found[["formula", "invariance"]] < 1e-12).all(axis=None) and len(found) == 4
    assert found.groupby("scheme").left.first().to_dict() == pytest.approx({WITH: 1.0, WITHOUT: 0.5})


def test_only_the_root_keeps_the_spread() -> None:
    found = covariance.measure_scaling(7, seed=0)
    assert found.spread.to_numpy() == pytest.approx(found.expected.to_numpy(), rel=1e-10)
    level = found[(found.scheme == WITH) & (found.rule == "√ scaling")]
    assert level.spread.to_numpy() == pytest.approx(1.0)


def test_noise_has_the_covariance_that_the_errors_are_of() -> None:
    """Simulated: 200,000 batches of 4 of 10 samples with σ² = 1 at the scalar g = 0 … 9, against the formula."""
    gradients, chance = torch.arange(10.0).double()[:, None], torch.Generator().manual_seed(0)
    chosen = torch.rand(200_000, 10, generator=chance).argsort(dim=1)[:, :4]
    factors = 1 + torch.randn(200_000, 4, generator=chance).double()
    simulated = (factors * gradients[chosen, 0]).mean(dim=1).var().item()
    second, centred = 28.5, 8.25  # means of g² and of (g − 4.5)² over 0 … 9
    assert simulated == pytest.approx(6 / (9 * 4) * centred + 1 / 4 * second, rel=0.02)
    errors = covariance._approximation_errors(gradients, 2, 4)
    exact = 8 / (9 * 2) * centred
    assert errors["noise"] == pytest.approx(abs(6 / (9 * 4) * centred + 1 / 4 * second - exact) / exact)
    assert errors["appendix"] == pytest.approx(abs((1 / 2 - 1 / 10) * second - exact) / exact)
    assert errors["mean share"] == pytest.approx(4.5**2 / second)


def test_approximations_are_repeatable_and_start_alike() -> None:
    call = (32, 4, 4, 16, 2, 0.1, 2)
    found = covariance.measure_approximations(*call)
    assert found.equals(covariance.measure_approximations(*call)) and len(found) == 2 * 3
    assert ((found["mean share"] > 0) & (found["mean share"] < 1)).all()


@pytest.mark.parametrize(("difference", "expected"), [(1e-14, REPRODUCED), (1e-3, NOT)])
def test_c12_asks_for_formula_and_invariance(difference: float, expected: str) -> None:
    """For F1 on MNIST (60,000 − 4,096) / (60,000 − 128) = 0.934 stays."""
    frame = pd.DataFrame({"formula": [1e-15], "invariance": [difference]})
    verdict = claims.judge("C12", frame, item="appendix_a", scale="quick")
    assert verdict.verdict == expected and verdict.claim == "C12" and "0.934" in verdict.evidence
    assert claims.judge("C12", pd.DataFrame(), item="appendix_a", scale="quick").verdict == NOT_TESTED


def test_the_table_of_the_identity() -> None:
    table = identities.summarise_identity(covariance.measure_identity(4, [[1, 2]], 2))
    assert table.drawn.tolist() == [WITH, WITHOUT] and table.networks.tolist() == [2, 2]
