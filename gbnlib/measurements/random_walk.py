"""Walks on random potentials in one dimension: how far a walker gets in a time t when barriers grow with distance.

A potential V on the sites 0, 1, … has E[(V(x) − V(y))²] = r² |x − y|^α: fractional Brownian motion with Hurst exponent
α/2 and roughness r. The walker steps right from site x with probability 1 / (1 + exp(V(x) − V(x − 1))), at temperature
one. To get as far as d it must climb barriers of order d^(α/2), which takes a time exp(d^(α/2)); so it gets as far as
(log t)^(2/α) (Marinari et al. 1983; Bouchaud & Georges 1990). For α = 1 this is Sinai's walk, whose limit law is known
(Kesten 1986; Golosov 1986).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch

#: E[(x / log² t)²] in the limit t → ∞ of Sinai's walk with roughness one.
SINAI_MEAN_SQUARE = 61 / 45
#: Environments made at once, which bounds memory.
_BLOCK = 16
#: Steps whose random numbers are drawn at once.
_DRAWS = 16


def fractional_potentials(alpha: float, sites: int, count: int, seed: int) -> np.ndarray:
    """Exact fractional Brownian potentials with roughness one, shape (count, sites), with V = 0 at the first site.

    Circulant embedding (Davies & Harte 1987) of the increments: their covariance, wrapped round a circle of twice the
    length, is diagonal in Fourier space, and its eigenvalues are not negative for 0 < α < 2. The real and the
    imaginary part of one transform are two independent potentials.
    """
    if not 0 < alpha < 2:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 2 (at 2 the potential is a straight line)")
    length = sites - 1
    lags = np.arange(length + 1.0)
    covariance = ((lags + 1) ** alpha - 2 * lags**alpha + abs(lags - 1) ** alpha) / 2
    eigenvalues = np.fft.fft(np.concatenate([covariance, covariance[-2:0:-1]])).real.clip(min=0)
    chance = np.random.default_rng(seed)
    pairs = (count + 1) // 2
    white = chance.standard_normal((2, pairs, 2 * length))
    spectrum = (white[0] + 1j * white[1]) * np.sqrt(eigenvalues / (2 * length))
    increments = np.fft.fft(spectrum)[:, :length]
    both = np.concatenate([increments.real, increments.imag])[:count]
    return np.concatenate([np.zeros((count, 1)), both.cumsum(axis=1)], axis=1)


def log_passage_times(potential: np.ndarray) -> np.ndarray:
    """Logarithm of the exact mean time from site 0 to each site d = 1, 2, …, with a wall at 0; shape (count, sites).

    The mean time from x to x + 1 obeys E(x) = 1 + ρ (1 + E(x − 1)) with ρ = exp(V(x) − V(x − 1)) and E(0) = 1, so that
    E(x) = exp(V(x)) [exp(−V(0)) + Σ_{y ≤ x} (exp(−V(y)) + exp(−V(y − 1)))]: two cumulative sums, taken in logarithms
    since the times grow beyond every float.
    """
    terms = np.concatenate([-potential[:, :1], np.logaddexp(-potential[:, 1:], -potential[:, :-1])], axis=1)
    steps = potential + np.logaddexp.accumulate(terms, axis=1)
    return np.logaddexp.accumulate(steps, axis=1)


def largest_climbs(potential: np.ndarray) -> np.ndarray:
    """The highest barrier up to each site, max over x ≤ y ≤ d of V(y) − V(x); shape (count, sites)."""
    return np.maximum.accumulate(potential - np.minimum.accumulate(potential, axis=1), axis=1)


def measure_passages(
    alphas: Sequence[float], roughness: Sequence[float], sites: int, environments: int, seed: int
) -> pd.DataFrame:
    """Mean passage times and barriers, a row for each alpha, roughness, environment and distance (powers of two)."""
    distances = 2 ** np.arange(3, int(np.log2(sites)) + 1)
    parts = []
    for alpha in alphas:
        for first, potential in _blocks(alpha, sites, environments, seed):
            for scale in roughness:
                times = log_passage_times(scale * potential)[:, distances - 1]
                climbs = scale * largest_climbs(potential)[:, distances - 1]
                keys = {"alpha": alpha, "roughness": scale}
                parts.append(_tidy(keys, first, distance=distances, log_time=times, climb=climbs))
    return pd.concat(parts, ignore_index=True)


def _blocks(alpha: float, sites: int, environments: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Potentials in blocks that fit into memory, each with the number of its first environment."""
    for first in range(0, environments, _BLOCK):
        count = min(_BLOCK, environments - first)
        yield first, fractional_potentials(alpha, sites, count, seed + first)


def _tidy(keys: dict, first: int, **columns: np.ndarray) -> pd.DataFrame:
    """Arrays (environments, k), and one of shape (k,) that holds for all, as a frame of a row each."""
    shape = next(values.shape for values in columns.values() if values.ndim == 2)
    environment = np.broadcast_to(first + np.arange(shape[0])[:, None], shape)
    arrays = {"environment": environment, **columns}
    return pd.DataFrame(keys | {name: np.broadcast_to(each, shape).ravel() for name, each in arrays.items()})


def measure_walks(
    alphas: Sequence[float], roughness: float, sites: int, environments: int, walkers: int, steps: int, seed: int
) -> pd.DataFrame:
    """Walkers that start in the middle of their environment, a row for each alpha, environment and time.

    Times are powers of two up to `steps`. `mean_square` is the mean of x² over the `walkers` of an environment, `x` the
    displacement of the first of them; walkers of one environment are far from independent.
    """
    times = [2**power for power in range(4, int(np.log2(steps)) + 1)]
    parts = []
    for alpha in alphas:
        potential = roughness * fractional_potentials(alpha, sites, environments, seed)
        moved = np.stack([each.numpy() for each in walk(potential, walkers, times, seed)], axis=-1)
        squares = (moved.astype(float) ** 2).mean(axis=1)
        keys = {"alpha": alpha, "roughness": roughness}
        parts.append(_tidy(keys, 0, steps=np.array(times), mean_square=squares, x=moved[:, 0]))
    return pd.concat(parts, ignore_index=True)


def walk(potential: np.ndarray, walkers: int, times: Sequence[int], seed: int) -> Iterator[torch.Tensor]:
    """Displacements (environments, walkers) of walkers at rising times, from the middle site, with walls at both ends.

    All walkers step together: one gather of their probabilities, one comparison with a random number, one addition, on
    small integers that stay in the cache.
    """
    environments, sites = potential.shape
    right = np.ones((environments, sites), dtype=np.float32)
    right[:, 1:] = 1 / (1 + np.exp(np.diff(potential, axis=1)))
    right[:, -1] = 0
    table = torch.from_numpy(right).flatten()
    start = (torch.arange(environments, dtype=torch.int32) * sites + sites // 2).repeat_interleave(walkers)
    chance, place, done = torch.Generator().manual_seed(seed), start.clone(), 0
    for time in times:
        _step(place, table, time - done, chance)
        done = time
        yield (place - start).view(environments, walkers)


def _step(place: torch.Tensor, table: torch.Tensor, steps: int, chance: torch.Generator) -> None:
    """Move walkers, in place, by some steps; `table` holds the probability of a step to the right by site."""
    probability = torch.empty(len(place))
    for first in range(0, steps, _DRAWS):
        for numbers in torch.rand(min(_DRAWS, steps - first), len(place), generator=chance):
            torch.index_select(table, 0, place, out=probability)
            place.add_(numbers < probability, alpha=2).sub_(1)


def measure_valleys(depths: Sequence[float], sites: int, environments: int, seed: int) -> pd.DataFrame:
    """Where Sinai's walker is at time exp(depth), as the depth grows: a row for each depth and environment."""
    parts = []
    for first, potential in _blocks(1.0, sites, environments, seed):
        places = np.stack([valley_bottoms(potential, depth) for depth in depths], axis=1)
        parts.append(_tidy({}, first, depth=np.array(depths, dtype=float), x=places))
    return pd.concat(parts, ignore_index=True)


def valley_bottoms(potential: np.ndarray, depth: float) -> np.ndarray:
    """Displacement, from the middle site, of the bottom of the valley of some depth round it; shape (count,).

    On each side the walker is held by the first climb of `depth`; the lowest point before it is a candidate. It goes to
    the one behind the lower pass, unless it can climb back over the other pass: then to the lower one.

    Raises
    ------
    ValueError : an environment holds no climb of that depth on one side.
    """
    middle = potential.shape[1] // 2
    right, left = potential[:, middle:], potential[:, middle::-1]
    (to_right, low_right, pass_right), (to_left, low_left, pass_left) = _bottom(right, depth), _bottom(left, depth)
    joined = np.maximum(pass_right, pass_left) - np.maximum(low_right, low_left) < depth
    goes_right = np.where(joined, low_right < low_left, pass_right < pass_left)
    return np.where(goes_right, to_right, -to_left)


def _bottom(side: np.ndarray, depth: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place, height of the bottom before the first climb of `depth`, and height of the pass on the way there."""
    floor = np.minimum.accumulate(side, axis=1)
    held = side - floor >= depth
    if not held.any(axis=1).all():
        raise ValueError(f"a potential of {side.shape[1]} sites holds no climb of {depth}: use more sites")
    rows, end = np.arange(len(side)), held.argmax(axis=1)
    low = floor[rows, end]
    place = (side == low[:, None]).argmax(axis=1)
    return place, low, np.maximum.accumulate(side, axis=1)[rows, place]


def sinai_cdf(size: np.ndarray) -> np.ndarray:
    """P(|x| / log² t ≤ size) in the limit t → ∞ of Sinai's walk with roughness one (Kesten 1986; Golosov 1986)."""
    odd = 2 * np.arange(60) + 1.0
    signs = np.where(odd % 4 == 1, 1.0, -1.0)
    terms = signs / odd**3 * np.exp(-(odd**2) * np.pi**2 * np.asarray(size, dtype=float)[..., None] / 8)
    return 1 - 32 / np.pi**3 * terms.sum(axis=-1)
