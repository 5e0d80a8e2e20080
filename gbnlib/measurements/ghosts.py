"""Ghost batch normalization looked at: its noise, its running statistics, its equality with gradient accumulation."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from gbnlib import paper
from gbnlib.nn import build_network, convert_ghost_batchnorm, ghost_batch_norm


def measure_noise(ghost_sizes: Sequence[int], values: Sequence[float], repeats: int, seed: int) -> pd.DataFrame:
    """How far the output of one sample scatters with the rest of its ghost: a row for each ghost size and value.

    The sample has the given value; the others of its ghost are drawn from N(0, 1). `sd` is the standard deviation of
    its output over `repeats` ghosts with its 95 % interval (χ²), `expected` the leading order √((1 + value² / 2) / M).
    """
    chance, rows = torch.Generator().manual_seed(seed), []
    tail = (1 - paper.confidence()) / 2
    ends = np.sqrt((repeats - 1) / stats.chi2.ppf([1 - tail, tail], repeats - 1))
    for size in ghost_sizes:
        batch = torch.randn(repeats, size, len(values), generator=chance)
        batch[:, 0] = torch.tensor(values)
        output = ghost_batch_norm(batch.flatten(0, 1), size).view_as(batch)[:, 0]
        for value, spread in zip(values, output.std(dim=0).tolist(), strict=True):
            interval = {"low": spread * ends[0], "high": spread * ends[1], "n": repeats}
            expected = np.sqrt((1 + value**2 / 2) / size)
            rows.append({"ghost_size": size, "value": value, "sd": spread, **interval, "expected": expected})
    return pd.DataFrame(rows)


def _sequential(buffer: float, ghosts: np.ndarray, momentum: float) -> float:
    """One step a ghost, as the official code does."""
    for value in ghosts:
        buffer = (1 - momentum) * buffer + momentum * value
    return buffer


def _printed(buffer: float, ghosts: np.ndarray, momentum: float) -> float:
    """The formula as printed: weights η (1 − η)^i with i from 1, and the ghost size as the exponent of the carry."""
    powers = (1 - momentum) ** np.arange(1, len(ghosts) + 1)
    return (1 - momentum) ** paper.protocol("f1").ghost_size * buffer + momentum * (powers * ghosts).sum()


#: Rules for the running statistics in use: from the old value, the ghosts' and the momentum to the new value.
RULES: dict[str, Callable[[float, np.ndarray, float], float]] = {
    "sequential": _sequential,
    "as printed": _printed,
    "momentum / K a ghost": lambda buffer, ghosts, momentum: _sequential(buffer, ghosts, momentum / len(ghosts)),
    "mean over ghosts": lambda buffer, ghosts, momentum: (1 - momentum) * buffer + momentum * ghosts.mean(),
    "first ghost only": lambda buffer, ghosts, momentum: (1 - momentum) * buffer + momentum * ghosts[0],
}


def rule_weights(rule: str, ghosts: int, momentum: float) -> tuple[float, np.ndarray]:
    """Weight of the old value and of each ghost, shape (ghosts,); every rule is linear in them."""
    carry = RULES[rule](1.0, np.zeros(ghosts), momentum)
    return carry, np.array([RULES[rule](0.0, unit, momentum) for unit in np.eye(ghosts)])


def compare_rules(ghosts: int, momentum: float) -> pd.DataFrame:
    """What each rule does in one forward, a row a rule."""
    rows = []
    for rule in RULES:
        carry, weights = rule_weights(rule, ghosts, momentum)
        replaced = {"old value keeps": carry, "ghosts get": weights.sum(), "in all": carry + weights.sum()}
        rows.append({"rule": rule, **replaced, "last ghost over first": weights[-1] / weights[0]})
    return pd.DataFrame(rows)


def measure_running(
    ghosts: int, ghost_size: int, momentum: float, mean: float, sd: float, forwards: int, seed: int
) -> pd.DataFrame:
    """Running mean and variance after each forward on N(mean, sd²), from 0 and 1, by every rule: a row each.

    The rule "total variance" is that of plain batch normalization on the whole batch, whose variance holds the spread
    of the ghosts' means too.
    """
    chance = np.random.default_rng(seed)
    batches = chance.normal(mean, sd, (forwards, ghosts, ghost_size))
    rows = []
    for rule, update in {**RULES, "total variance": RULES["mean over ghosts"]}.items():
        state = (0.0, 1.0)
        for forward, batch in enumerate(batches, start=1):
            parts = batch.reshape(1, -1) if rule == "total variance" else batch
            found = parts.mean(axis=1), parts.var(axis=1, ddof=1)
            state = tuple(update(old, new, momentum) for old, new in zip(state, found, strict=True))
            rows.append({"rule": rule, "forward": forward, "mean": state[0], "variance": state[1]})
    return pd.DataFrame(rows)


def measure_accumulation(
    networks: Sequence[str], image_size: int, batch_size: int, ghost_size: int, seeds: int
) -> pd.DataFrame:
    """How far accumulated gradients are from the whole batch's: a row for each network, case, precision and seed.

    Differences are relative, ‖a − b‖ / ‖b‖ over all gradients, and over all running statistics. The case "plain BN" is
    the control: there the two are not the same.
    """
    types = {"double": torch.float64, "single": torch.float32}
    rows = []
    for network, precision, seed in product(networks, types, range(seeds)):
        keys = {"network": network, "precision": precision, "seed": seed}
        cases = _differences(network, image_size, batch_size, ghost_size, seed, types[precision])
        rows += [{**keys, "case": case, "gradient": grad, "statistics": kept} for case, grad, kept in cases]
    return pd.DataFrame(rows)


def _differences(
    network: str, image_size: int, batch_size: int, ghost_size: int, seed: int, dtype: torch.dtype
) -> Iterator[tuple[str, float, float]]:
    """Case, relative difference of the gradients, and of the running statistics (NaN without any)."""
    chance = torch.Generator().manual_seed(seed)
    images = torch.randn(batch_size, 1, image_size, image_size, generator=chance, dtype=dtype)
    labels = torch.randint(10, (batch_size,), generator=chance)

    def made(change: Callable[[nn.Module], nn.Module]) -> nn.Module:
        torch.manual_seed(seed)
        return change(build_network(network, 10, 1, image_size).to(dtype))

    def ghosts(model: nn.Module) -> nn.Module:
        return convert_ghost_batchnorm(model, ghost_size)

    for case, whole, chunked in (
        ("without BN", without_batch_norm, without_batch_norm),
        ("ghost BN", ghosts, nn.Module.train),
        ("plain BN", nn.Module.train, nn.Module.train),
    ):
        at_once, in_chunks = made(whole), made(chunked)
        accumulate(at_once, images, labels, batch_size)
        accumulate(in_chunks, images, labels, ghost_size)
        gradients = relative_difference(_gradients(in_chunks), _gradients(at_once))
        yield case, gradients, relative_difference(_kept(in_chunks), _kept(at_once))


def relative_difference(found: Tensor, wanted: Tensor) -> float:
    """‖found − wanted‖ / ‖wanted‖."""
    return ((found - wanted).norm() / wanted.norm()).item()


def accumulate(model: nn.Module, images: Tensor, labels: Tensor, chunk: int) -> None:
    """Leave the gradient of the mean loss in a model, chunk by chunk."""
    for part, answers in zip(images.split(chunk), labels.split(chunk), strict=True):
        (F.cross_entropy(model(part), answers, reduction="sum") / len(labels)).backward()


def without_batch_norm(model: nn.Module) -> nn.Module:
    """Put nothing in the place of every batch normalization layer."""
    for name, child in model.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(model, name, nn.Identity())
        else:
            without_batch_norm(child)
    return model


def _gradients(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def _kept(model: nn.Module) -> Tensor:
    kept = [buffer.flatten() for buffer in model.buffers() if buffer.is_floating_point()]
    return torch.cat(kept) if kept else torch.empty(0)
