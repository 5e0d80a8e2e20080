"""Appendix A: the covariance of a batch's mean gradient, by counting every batch, and what the √ rate does to it.

A data set of N samples has the gradients g_1 … g_N, with mean ḡ and centred covariance C = (1/N) Σ (g_n − ḡ)(g_n − ḡ)ᵀ.
The mean gradient of M of them has the covariance C / M if they are drawn with replacement, and
(N − M) / ((N − 1) M) · C without, as in training.
"""

from collections.abc import Sequence
from itertools import combinations, product

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gbnlib import data, files
from gbnlib.measurements.ghosts import relative_difference

SCHEMES = ("with replacement", "without replacement")
#: How the rate goes with the batch: its factor as a function of M_L / M_S.
RULES = {"no scaling": lambda ratio: 1.0, "√ scaling": lambda ratio: ratio**0.5, "linear scaling": lambda ratio: ratio}


def small_network(inputs: int, hidden: int, classes: int, seed: int) -> nn.Module:
    """One hidden layer of tanh in float64, without batch normalization, so that every sample has a gradient."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, classes)).double()


def per_sample_gradients(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient of every sample's loss, shape (N, parameters)."""
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(model, weights, image[None]), label[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, images, labels)
    return torch.cat([each[name].flatten(1) for name in parameters], dim=1)


def centred_covariance(gradients: Tensor) -> Tensor:
    """C of the module's first lines, shape (parameters, parameters)."""
    return torch.cov(gradients.T, correction=0)


def enumerated_covariance(gradients: Tensor, batch_size: int, scheme: str) -> Tensor:
    """The covariance of the mean gradient over all batches, each as likely: all tuples, or all subsets."""
    samples = range(len(gradients))
    draws = product(samples, repeat=batch_size) if scheme == SCHEMES[0] else combinations(samples, batch_size)
    means = [gradients[chosen].mean(dim=1) for chosen in torch.tensor(list(draws)).split(4096)]
    return centred_covariance(torch.cat(means))


def factor(samples: int, batch_size: int, scheme: str) -> float:
    """What the centred covariance is multiplied by: 1 / M, or (N − M) / ((N − 1) M) without replacement."""
    if scheme == SCHEMES[0]:
        return 1 / batch_size
    return (samples - batch_size) / ((samples - 1) * batch_size)


def measure_identity(samples: int, pairs: Sequence[Sequence[int]], seeds: int) -> pd.DataFrame:
    """The identity by enumeration: a row for each seed (data and weights), scheme, and pair of small and large batch.

    `formula` is the larger of the relative differences of the two covariances from `factor` times C; `invariance` that
    of the increments' covariances at the √ rate from what is left, (N − M_L) / (N − M_S) or 1; `left` is that factor.
    """
    rows = []
    for seed in range(seeds):
        gradients = _random_gradients(samples, seed)
        centred = centred_covariance(gradients)
        sizes = sorted({size for pair in pairs for size in pair})
        for scheme in SCHEMES:
            found = {size: enumerated_covariance(gradients, size, scheme) for size in sizes}
            wrong = {size: relative_difference(found[size], factor(samples, size, scheme) * centred) for size in sizes}
            for small, large in pairs:
                left = large / small * factor(samples, large, scheme) / factor(samples, small, scheme)
                formula = max(wrong[small], wrong[large])
                invariance = relative_difference(large / small * found[large], left * found[small])
                row = {"seed": seed, "scheme": scheme, "small": small, "large": large}
                rows.append({**row, "formula": formula, "invariance": invariance, "left": left})
    return pd.DataFrame(rows)


def measure_scaling(samples: int, seed: int) -> pd.DataFrame:
    """Spread of the increment (trace of its covariance) over that of batch 1 by enumeration: by scheme, rule, batch."""
    gradients, rows = _random_gradients(samples, seed), []
    for scheme in SCHEMES:
        traces = {size: enumerated_covariance(gradients, size, scheme).trace().item() for size in range(1, 7)}
        for rule, rate in RULES.items():
            for size, trace in traces.items():
                relative = rate(size) ** 2 * trace / traces[1]
                expected = rate(size) ** 2 * factor(samples, size, scheme) / factor(samples, 1, scheme)
                rows.append({"scheme": scheme, "rule": rule, "batch": size, "spread": relative, "expected": expected})
    return pd.DataFrame(rows)


def measure_approximations(
    samples: int, hidden: int, small: int, large: int, epochs: int, rate: float, seeds: int
) -> pd.DataFrame:
    """What the appendix leaves out, on embedded digits while a small network learns: a row for each seed and epoch.

    `mean share` is ‖ḡ‖² over the mean of ‖g‖²: how much of (1/N) Σ g gᵀ is not covariance. `appendix` and `noise` are
    the relative errors, against the small batch's exact covariance without replacement, of the appendix's form
    (1/M − 1/N) (1/N) Σ g gᵀ, and of the large batch with multiplicative noise σ² = M_L / M_S − 1.
    """
    card = data.card("digits")
    digits = data.load("digits", files.data_root()).subset(samples)
    images = data.normalise(digits.train_images, card.mean, card.std)[:, :, ::4, ::4].double()
    labels, rows = digits.train_labels, []
    for seed in range(seeds):
        model = small_network(images[0].numel(), hidden, card.classes, seed)
        order = torch.Generator().manual_seed(seed)
        for epoch in range(epochs + 1):
            errors = _approximation_errors(per_sample_gradients(model, images, labels), small, large)
            rows.append({"seed": seed, "epoch": epoch, **errors})
            _train_epoch(model, images, labels, small, rate, order)
    return pd.DataFrame(rows)


def _approximation_errors(gradients: Tensor, small: int, large: int) -> dict[str, float]:
    """One row of `measure_approximations`."""
    samples, mean = len(gradients), gradients.mean(dim=0)
    second, centred = gradients.T @ gradients / samples, centred_covariance(gradients)
    exact = factor(samples, small, SCHEMES[1]) * centred
    noisy = factor(samples, large, SCHEMES[1]) * centred + (large / small - 1) / large * second
    return {
        "mean share": (mean.square().sum() / second.trace()).item(),
        "appendix": relative_difference((1 / small - 1 / samples) * second, exact),
        "noise": relative_difference(noisy, exact),
    }


def _train_epoch(
    model: nn.Module, images: Tensor, labels: Tensor, batch_size: int, rate: float, order: torch.Generator
) -> None:
    """One epoch of plain stochastic gradient descent."""
    for chosen in torch.randperm(len(labels), generator=order).split(batch_size):
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(F.cross_entropy(model(images[chosen]), labels[chosen]), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= rate * gradient


def _random_gradients(samples: int, seed: int) -> Tensor:
    """Per-sample gradients, in double precision, of a small network on random input: shape (samples, 27)."""
    chance = torch.Generator().manual_seed(seed)
    images = torch.randn(samples, 3, generator=chance, dtype=torch.float64)
    labels = torch.randint(3, (samples,), generator=chance)
    return per_sample_gradients(small_network(3, 3, 3, seed), images, labels)
