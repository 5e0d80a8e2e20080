"""Figure 4: how the loss varies with the distance from the initial weights, without the noise of its estimate.

The loss L(w) can only be estimated, by its mean over a sample of training data. Here several disjoint samples give an
estimate each. Over random directions the estimates of one sample vary with L and with what is peculiar to the sample;
the covariance of two samples has only the former in common, so that it estimates the variance of L without bias.
"""

from collections.abc import Callable, Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from gbnlib import data, files
from gbnlib.data.batches import generator
from gbnlib.measurements.snapshots import build, in_threads, snapshots
from gbnlib.nn import convert_ghost_batchnorm, frozen_statistics
from gbnlib.regimes import Phase, Regime
from gbnlib.training import Execution

#: A loss as a function of the flat vector of parameters (n,), estimated by each of several samples (samples,).
Loss = Callable[[Tensor], Tensor]


class NetworkLoss:
    """The mean loss of a network on disjoint samples of training images, each normalised by its own statistics.

    Running statistics describe the weights that made them, so away from these the network is in training mode. A
    sample is a ghost batch: all of them go through the network at once.

    Parameters
    ----------
    network : a name of `build_network`, or "resnet8" for the smallest network of ResNet44's family.
    dataset : a name of the catalogue; its training images are taken without augmentation.
    samples, sample_size : number of samples, and images in each.
    seed : decides initial weights and samples.
    shuffled : deal the labels out at random, as a landscape with nothing to learn.
    """

    def __init__(
        self,
        network: str,
        dataset: str,
        samples: int,
        sample_size: int,
        seed: int,
        device: torch.device,
        shuffled: bool = False,
    ) -> None:
        source = data.load(dataset, files.data_root())
        chosen = torch.randperm(len(source.train_labels), generator=generator(seed, 0, "samples"))
        chosen = chosen[: samples * sample_size]
        labels = source.train_labels[chosen]
        if shuffled:
            labels = labels[torch.randperm(len(labels), generator=generator(seed, 0, "shuffled labels"))]
        card, images = source.card, source.train_images[chosen].to(device)
        self.images, self.labels = data.normalise(images, card.mean, card.std), labels.to(device)
        self.model = convert_ghost_batchnorm(build(network, card, seed), sample_size).to(device)
        self.start = parameters_to_vector(self.model.parameters()).detach().clone()
        self.samples = samples

    @torch.no_grad()
    def __call__(self, place: Tensor) -> Tensor:
        """The loss on each sample, float64 (samples,), at the parameters `place` (n,)."""
        vector_to_parameters(place, self.model.parameters())
        return self._losses().double()

    def gradients(self, place: Tensor) -> Tensor:
        """The gradient of the loss on each sample, (samples, n)."""
        vector_to_parameters(place, self.model.parameters())
        parameters = list(self.model.parameters())
        each = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in self._losses()]
        return torch.stack([torch.cat([part.flatten() for part in gradient]) for gradient in each])

    def _losses(self) -> Tensor:
        with frozen_statistics(self.model):
            logits = self.model(self.images)
        return F.cross_entropy(logits, self.labels, reduction="none").view(self.samples, -1).mean(dim=1)


def losses_along(
    loss: Loss, start: Tensor, distances: Sequence[float], directions: int, chance: torch.Generator
) -> Tensor:
    """Losses (directions, distances, 2, samples) at w_0 + d u and w_0 − d u, with u uniform on the unit sphere.

    Going both ways along each direction keeps apart what is odd and what is even in u.
    """
    found = []
    for _ in range(directions):
        direction = torch.randn(len(start), generator=chance, dtype=start.dtype).to(start.device)
        direction /= direction.norm()
        places = [(start + distance * direction, start - distance * direction) for distance in distances]
        found.append(torch.stack([torch.stack([loss(place) for place in both]) for both in places]))
    return torch.stack(found)


def spread(losses: Tensor, start: Tensor) -> dict[str, float]:
    """What losses (directions, 2, samples) at one distance say, given those at the start (samples,).

    `sd` is the standard deviation of the loss over directions, `rms` √E[(L(w) − L(w_0))²], both without sampling noise;
    NaN where the noise leaves an estimate of the variance below zero. `rise` is the mean of L(w) − L(w_0). `noisy` is
    the standard deviation if each place had a sample of its own, of as many images as all samples here together.
    """
    directions, _, samples = losses.shape
    odd, even = (losses[:, 0] - losses[:, 1]) / 2, losses.mean(dim=1) - start
    centred = even - even.mean(dim=0)
    square = odd.T @ odd / directions
    variance = between(square + centred.T @ centred / max(directions - 1, 1))
    noise = losses.var(dim=2).mean() / samples
    return {
        "sd": variance.sqrt().item(),
        "rms": between(square + even.T @ even / directions).sqrt().item(),
        "rise": even.mean().item(),
        "noisy": (variance.clamp(min=0) + noise).sqrt().item(),
    }


def between(products: Tensor) -> Tensor:
    """The mean of the entries off the diagonal of a square matrix: what two different samples have in common."""
    count = len(products)
    return (products.sum() - products.trace()) / (count * (count - 1))


def measure_directions(
    network: str,
    dataset: str,
    distances: Sequence[float],
    directions: int,
    samples: int,
    sample_size: int,
    seeds: int,
    threads: int,
    shuffled: bool = False,
    device: str = "cpu",
) -> pd.DataFrame:
    """The loss along random directions from the initial weights: a row for each seed and distance, 0 the first.

    With `shuffled` labels it is that of a task with nothing to learn. `directions` are taken both ways. The columns are
    those of `spread`; `norm`, which is ‖w_0‖ over all n parameters; and `slope` = ‖∇L(w_0)‖ / √n, the standard
    deviation per unit distance of a loss that is linear.
    """
    rows = []
    with in_threads(threads):
        for seed in range(seeds):
            place = Execution(device=device).torch_device()
            loss = NetworkLoss(network, dataset, samples, sample_size, seed, place, shuffled)
            gradients = loss.gradients(loss.start)
            slope = between(gradients @ gradients.T).div(len(loss.start)).sqrt().item()
            facts = {"seed": seed, "norm": loss.start.norm().item(), "slope": slope}
            losses = losses_along(loss, loss.start, distances, directions, generator(seed, 0, "directions"))
            at_start = loss(loss.start)
            places = {0.0: at_start.expand(1, 2, -1), **dict(zip(distances, losses.unbind(dim=1), strict=True))}
            rows += [{**facts, "distance": distance, **spread(found, at_start)} for distance, found in places.items()]
    return pd.DataFrame(rows)


def measure_trajectory(
    network: str,
    dataset: str,
    batch_size: int,
    epochs: int,
    rate: float,
    momentum: float,
    weight_decay: float,
    clip_norm: float,
    samples: int,
    sample_size: int,
    seeds: int,
    threads: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """The loss along a short training at a constant rate: a row for each seed and log-spaced update.

    `distance` is ‖w_t − w_0‖ over all parameters; `rise` and `rms` are those of `spread`, of this one place.
    """
    regime = Regime(phases=(Phase(epoch=0, lr=rate, momentum=momentum, weight_decay=weight_decay),), epochs=epochs)
    place, rows = Execution(device=device).torch_device(), []
    with in_threads(threads):
        for seed in range(seeds):
            loss = NetworkLoss(network, dataset, samples, sample_size, seed, place)
            kept = snapshots(network, data.load(dataset), batch_size, regime, clip_norm, seed, place)
            at_start = loss(loss.start)
            for update, weights in kept.items():
                rises, distance = loss(weights) - at_start, (weights - loss.start).norm().item()
                found = {"rms": between(rises.outer(rises)).sqrt().item(), "rise": rises.mean().item()}
                rows.append({"seed": seed, "update": update, "distance": distance, **found})
    return pd.DataFrame(rows)


def measure_structure(
    network: str,
    dataset: str,
    batch_size: int,
    epochs: int,
    rate: float,
    momentum: float,
    weight_decay: float,
    clip_norm: float,
    every: int,
    first: int,
    samples: int,
    sample_size: int,
    seeds: int,
    threads: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """The structure function of the loss along a training at a constant rate: a row for each seed and lag.

    Over all pairs of places `lag` updates apart, `every` updates or a multiple, from update `first` on: the root mean
    square of their `distance`, and `square`, the variance of the difference of their losses, without sampling noise.
    The mean difference, by which the loss falls, is `rise`, and no part of it.
    """
    regime = Regime(phases=(Phase(epoch=0, lr=rate, momentum=momentum, weight_decay=weight_decay),), epochs=epochs)
    place, rows = Execution(device=device).torch_device(), []
    with in_threads(threads):
        for seed in range(seeds):
            loss = NetworkLoss(network, dataset, samples, sample_size, seed, place)
            kept = snapshots(network, data.load(dataset), batch_size, regime, clip_norm, seed, place, every=every)
            places = [weights for update, weights in kept.items() if update >= first]
            rows += [{"seed": seed, "lag": every * lag, **found} for lag, found in structure(loss, places).items()]
    return pd.DataFrame(rows)


def structure(loss: Loss, places: Sequence[Tensor]) -> dict[int, dict[str, float]]:
    """What losses and distances of places (n,) in equal steps say, by the number of steps between two of them."""
    losses, found = torch.stack([loss(place) for place in places]), {}
    for lag in range(1, len(places) - 1):
        rises = losses[lag:] - losses[:-lag]
        centred = rises - rises.mean(dim=0)
        apart = [(late - early).norm().square() for early, late in zip(places, places[lag:], strict=False)]
        found[lag] = {
            "distance": torch.stack(apart).mean().sqrt().item(),
            "square": between(centred.T @ centred / (len(rises) - 1)).item(),
            "rise": rises.mean().item(),
        }
    return found
