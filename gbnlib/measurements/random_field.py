"""A walk in many dimensions on a smooth random landscape, as a picture of what one dimension cannot show."""

import math
from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor


class RandomField:
    """A homogeneous, isotropic, nearly Gaussian field of variance `amplitude`² on R^dimension.

    V(w) = amplitude √(2 / F) Σ cos(k_f · w + φ_f) over F random waves (random Fourier features). Gaussian wave vectors
    (`alpha` = 2) make E[(V(w) − V(w'))²] = 2 amplitude² (1 − exp(−d²)), which is smooth; Cauchy ones (`alpha` = 1) make
    2 amplitude² (1 − exp(−d)), which is rough. So the exponent is `alpha` up to distances of about one, and 0 beyond.
    """

    def __init__(self, alpha: float, dimension: int, features: int, amplitude: float, chance: torch.Generator) -> None:
        if alpha not in (1, 2):
            raise ValueError(f"alpha is {alpha}; a random field is made for 1 and 2")
        normal = torch.randn(dimension, features, generator=chance)
        spread = math.sqrt(2) if alpha == 2 else 1 / torch.randn(1, features, generator=chance).abs()
        self.waves = normal * spread
        self.phases = 2 * math.pi * torch.rand(features, generator=chance)
        self.scale = amplitude * math.sqrt(2 / features)

    def __call__(self, places: Tensor) -> Tensor:
        """Heights (n,) at places (n, dimension)."""
        return self.scale * torch.addmm(self.phases, places, self.waves).cos_().sum(1)


def measure_field_walks(
    alphas: Sequence[float],
    dimension: int,
    features: int,
    amplitude: float,
    proposal: Sequence[float],
    walkers: int,
    steps: int,
    seed: int,
) -> pd.DataFrame:
    """Metropolis walks at temperature one from random places, a row for each alpha, walker and time (powers of two).

    A step proposes Gaussian noise of standard deviation `proposal` (one for each alpha) in every coordinate. `distance`
    is ‖w_t − w_0‖, `descent` V(w_0) − V(w_t). The places lie so far apart that the walkers see independent landscapes.
    """
    parts = []
    for alpha, width in zip(alphas, proposal, strict=True):
        chance = torch.Generator().manual_seed(seed)
        field = RandomField(alpha, dimension, features, amplitude, chance)
        parts.append(_walks(field, dimension, width, walkers, steps, chance).assign(alpha=alpha))
    return pd.concat(parts, ignore_index=True)


def _walks(
    field: RandomField, dimension: int, width: float, walkers: int, steps: int, chance: torch.Generator
) -> pd.DataFrame:
    """Metropolis walks in one field."""
    start = 1000 * torch.rand(walkers, dimension, generator=chance)
    place, height = start.clone(), field(start)
    first, parts = height, []
    for step in range(1, steps + 1):
        trial = place + width * torch.randn(walkers, dimension, generator=chance)
        trial_height = field(trial)
        accepted = torch.rand(walkers, generator=chance) < (height - trial_height).exp()
        place = torch.where(accepted[:, None], trial, place)
        height = torch.where(accepted, trial_height, height)
        if step & (step - 1) == 0:
            columns = {"distance": (place - start).norm(dim=1), "descent": first - height}
            frame = pd.DataFrame({name: values.double().numpy() for name, values in columns.items()})
            parts.append(frame.assign(walker=range(walkers), steps=step))
    return pd.concat(parts, ignore_index=True)
