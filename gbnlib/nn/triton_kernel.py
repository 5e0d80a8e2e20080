"""Ghost batch normalization in training, forward and backward, for GPUs: kernels in Triton.

A batch is (samples, channels, values) in one of two layouts: "rows", where the channels of a value lie together
(channels-last, and (N, C)), and "runs", where the values of a channel of a sample lie together (NCHW). A program
handles a *part*, some consecutive samples of one ghost, in a block of channels, tile after tile. A tile is (R, B):
R values of each of B channels.

Forward and backward take two launches each: moments (or sums) of the parts; then every program merges those of its
ghost, and writes its own part. There are no atomic operations, and how a batch is divided depends on its shape alone,
so results are the same at every run.

Moments are taken in float32 about the first value of a ghost, by Welford's rule in each lane, and merged (Chan, Golub &
LeVeque 1983): nothing cancels for a large mean. Means and variances leave in float64, as from the compiled kernel.

With ``TRITON_INTERPRET=1`` in the environment the kernels run on CPU tensors, slowly.
"""

import triton
import triton.language as tl

# A change of these is no reason to compile anew.
SIZES = ("size", "samples", "ghosts")


# --- what a program handles --------------------------------------------------------------------------------------


@triton.jit
def _part(ghost, part, size, samples, ghosts, PARTS: tl.constexpr):
    """The first sample of a part of a ghost, and how many it has; there may be none. The last ghost holds the rest."""
    begin = ghost * size
    end = tl.where(ghost == ghosts - 1, samples, begin + size)
    each = (end - begin + PARTS - 1) // PARTS
    first = tl.minimum(begin + part * each, end)
    return first, tl.minimum(end - first, each)


@triton.jit
def _tiles(count, values, IN_ROWS: tl.constexpr, R: tl.constexpr):
    """Tiles of a part of `count` samples."""
    if IN_ROWS:
        return (count * values + R - 1) // R
    return count * ((values + R - 1) // R)


@triton.jit
def _tile(tile, first, count, channel, channels, values, IN_ROWS: tl.constexpr, R: tl.constexpr):
    """Offsets of a tile's values, (R, B), and which of its R values there are."""
    lane = tl.arange(0, R)
    if IN_ROWS:
        start, length = tile * R, count * values
        base = (first.to(tl.int64) * values + start) * channels
        offset = base + (lane[:, None] * channels + channel[None, :])
    else:  # a tile never reaches into the next sample: consecutive values are one load
        runs = (values + R - 1) // R
        start, length = tile % runs * R, values
        base = (first + tile // runs).to(tl.int64) * channels * values + start
        offset = base + (lane[:, None] + channel[None, :] * values)
    return offset, start + lane < length


@triton.jit
def _origin(input, ghost, size, channel, channels, values, IN_ROWS: tl.constexpr):
    """The first value of a ghost in each channel, about which its moments are taken."""
    base = (ghost * size).to(tl.int64) * channels * values
    offset = channel if IN_ROWS else channel * values
    return tl.load(input + base + offset, channel < channels, 0.0).to(tl.float32)


@triton.jit
def _merged(count, mean, square):
    """Merge counts (n,), means and sums of squares about them (n, B) along the first axis."""
    total = tl.sum(count, 0)
    middle = tl.sum(mean * (count / tl.maximum(total, 1.0))[:, None], 0)
    away = mean - middle[None, :]
    return total, middle, tl.sum(square + away * away * count[:, None], 0)


# --- forward -----------------------------------------------------------------------------------------------------


@triton.jit(do_not_specialize=SIZES)
def moments(
    input, means, squares, size, samples, ghosts, channels, values,
    IN_ROWS: tl.constexpr, PARTS: tl.constexpr, R: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """Mean about the origin, and sum of squares about the mean, of each part, (ghosts · PARTS, channels)."""
    ghost, part = tl.program_id(0), tl.program_id(2)
    channel = tl.program_id(1) * B + tl.arange(0, B)
    inside = channel < channels
    first, count = _part(ghost, part, size, samples, ghosts, PARTS)
    origin = _origin(input, ghost, size, channel, channels, values, IN_ROWS)
    seen = tl.full((R,), 0.0, tl.float32)
    mean, square = tl.full((R, B), 0.0, tl.float32), tl.full((R, B), 0.0, tl.float32)
    for tile in range(0, _tiles(count, values, IN_ROWS, R)):
        offset, there = _tile(tile, first, count, channel, channels, values, IN_ROWS, R)
        mask = there[:, None] & inside[None, :]
        value = tl.load(input + offset, mask, 0.0).to(tl.float32) - origin[None, :]
        seen += there.to(tl.float32)
        step = tl.where(mask, value - mean, 0.0)
        mean += step * (1.0 / tl.maximum(seen, 1.0))[:, None]
        square += step * (value - mean)
    _total, middle, squared = _merged(seen, mean, square)
    to = (ghost * PARTS + part) * channels + channel
    tl.store(means + to, middle, inside)
    tl.store(squares + to, squared, inside)


@triton.jit(do_not_specialize=SIZES)
def normalise(
    input, output, weight, bias, means, squares, mean, variance, eps, size, samples, ghosts, channels, values,
    IN_ROWS: tl.constexpr, PARTS: tl.constexpr, R: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """Merge the moments of a ghost, and normalise a part of it."""
    ghost, part = tl.program_id(0), tl.program_id(2)
    channel = tl.program_id(1) * B + tl.arange(0, B)
    inside = channel < channels
    parts = tl.arange(0, PARTS)
    _firsts, counts = _part(ghost, parts, size, samples, ghosts, PARTS)
    of_parts = (ghost * PARTS + parts)[:, None] * channels + channel[None, :]
    total, middle, squared = _merged(
        (counts * values).to(tl.float32),
        tl.load(means + of_parts, inside[None, :], 0.0),
        tl.load(squares + of_parts, inside[None, :], 0.0),
    )
    origin = _origin(input, ghost, size, channel, channels, values, IN_ROWS)
    spread = squared / total
    if part == 0:
        exact = origin.to(tl.float64) + middle.to(tl.float64)
        tl.store(mean + ghost * channels + channel, exact, inside)
        tl.store(variance + ghost * channels + channel, spread.to(tl.float64), inside)
    scale = 1.0 / tl.sqrt_rn(spread + eps)
    shift = tl.full((B,), 0.0, tl.float32)
    if weight is not None:
        scale *= tl.load(weight + channel, inside, 0.0).to(tl.float32)
    if bias is not None:
        shift += tl.load(bias + channel, inside, 0.0).to(tl.float32)
    first, count = _part(ghost, part, size, samples, ghosts, PARTS)
    for tile in range(0, _tiles(count, values, IN_ROWS, R)):
        offset, there = _tile(tile, first, count, channel, channels, values, IN_ROWS, R)
        mask = there[:, None] & inside[None, :]
        value = tl.load(input + offset, mask, 0.0).to(tl.float32) - origin[None, :] - middle[None, :]
        result = value * scale[None, :] + shift[None, :]
        tl.store(output + offset, result.to(output.dtype.element_ty), mask)


# --- running statistics ------------------------------------------------------------------------------------------


@triton.jit(do_not_specialize=(*SIZES, "momentum", "kept", "log2_kept"))
def move(
    running_mean, running_var, mean, variance, momentum, kept, log2_kept, size, samples, ghosts, channels, values,
    SEQUENTIAL: tl.constexpr, G: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """Move running statistics by those of the ghosts; `kept` is the share of the old ones in the end."""
    channel = tl.program_id(0) * B + tl.arange(0, B)
    inside = channel < channels
    new_mean, new_var = tl.full((B,), 0.0, tl.float64), tl.full((B,), 0.0, tl.float64)
    for start in range(0, ghosts, G):
        ghost = start + tl.arange(0, G)
        count = tl.where(ghost == ghosts - 1, samples - ghost * size, size).to(tl.float32)
        if SEQUENTIAL:
            share = momentum * tl.exp2((ghosts - 1 - ghost).to(tl.float32) * log2_kept)
        else:
            share = momentum * (count / samples)
        there = (ghost < ghosts)[:, None] & inside[None, :]
        at = ghost[:, None] * channels + channel[None, :]
        share = tl.where(ghost < ghosts, share, 0.0).to(tl.float64)
        unbiased = share * (count * values / (count * values - 1.0)).to(tl.float64)
        new_mean += tl.sum(tl.load(mean + at, there, 0.0) * share[:, None], 0)
        new_var += tl.sum(tl.load(variance + at, there, 0.0) * unbiased[:, None], 0)
    old_mean = tl.load(running_mean + channel, inside, 0.0).to(tl.float64)
    old_var = tl.load(running_var + channel, inside, 0.0).to(tl.float64)
    tl.store(running_mean + channel, (kept * old_mean + new_mean).to(running_mean.dtype.element_ty), inside)
    tl.store(running_var + channel, (kept * old_var + new_var).to(running_var.dtype.element_ty), inside)


# --- backward ----------------------------------------------------------------------------------------------------


@triton.jit
def _known(input, mean, variance, eps, ghost, size, channel, channels, values, IN_ROWS: tl.constexpr):
    """Origin of a ghost, its mean about that, and what its values were multiplied by."""
    at, inside = ghost * channels + channel, channel < channels
    origin = _origin(input, ghost, size, channel, channels, values, IN_ROWS)
    middle = (tl.load(mean + at, inside, 0.0) - origin.to(tl.float64)).to(tl.float32)
    return origin, middle, 1.0 / tl.sqrt_rn(tl.load(variance + at, inside, 1.0).to(tl.float32) + eps)


@triton.jit(do_not_specialize=SIZES)
def add_up(
    input, gradient, mean, variance, sums, dots, eps, size, samples, ghosts, channels, values,
    IN_ROWS: tl.constexpr, PARTS: tl.constexpr, R: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """Σ dy and Σ dy x̂ of each part, (ghosts · PARTS, channels)."""
    ghost, part = tl.program_id(0), tl.program_id(2)
    channel = tl.program_id(1) * B + tl.arange(0, B)
    inside = channel < channels
    origin, middle, scale = _known(input, mean, variance, eps, ghost, size, channel, channels, values, IN_ROWS)
    first, count = _part(ghost, part, size, samples, ghosts, PARTS)
    total, dot = tl.full((R, B), 0.0, tl.float32), tl.full((R, B), 0.0, tl.float32)
    for tile in range(0, _tiles(count, values, IN_ROWS, R)):
        offset, there = _tile(tile, first, count, channel, channels, values, IN_ROWS, R)
        mask = there[:, None] & inside[None, :]
        value = tl.load(input + offset, mask, 0.0).to(tl.float32) - origin[None, :] - middle[None, :]
        given = tl.load(gradient + offset, mask, 0.0).to(tl.float32)
        total += given
        dot += given * value
    to = (ghost * PARTS + part) * channels + channel
    tl.store(sums + to, tl.sum(total, 0), inside)
    tl.store(dots + to, tl.sum(dot, 0) * scale, inside)


@triton.jit(do_not_specialize=SIZES)
def differentiate(
    input, gradient, result, weight, mean, variance, sums, dots, of_weight, of_bias,
    eps, size, samples, ghosts, channels, values,
    IN_ROWS: tl.constexpr, PARTS: tl.constexpr, R: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """The gradient of a part; and by the first program of a block of channels, those of the parameters."""
    ghost, part = tl.program_id(0), tl.program_id(2)
    channel = tl.program_id(1) * B + tl.arange(0, B)
    inside = channel < channels
    origin, middle, scale = _known(input, mean, variance, eps, ghost, size, channel, channels, values, IN_ROWS)
    of_parts = (ghost * PARTS + tl.arange(0, PARTS))[:, None] * channels + channel[None, :]
    _begin, number = _part(ghost, 0, size, samples, ghosts, 1)
    total = (number * values).to(tl.float32)
    level = tl.sum(tl.load(sums + of_parts, inside[None, :], 0.0), 0) / total
    slope = tl.sum(tl.load(dots + of_parts, inside[None, :], 0.0), 0) / total
    outer = scale
    if weight is not None:
        outer = scale * tl.load(weight + channel, inside, 0.0).to(tl.float32)
    first, count = _part(ghost, part, size, samples, ghosts, PARTS)
    for tile in range(0, _tiles(count, values, IN_ROWS, R)):
        offset, there = _tile(tile, first, count, channel, channels, values, IN_ROWS, R)
        mask = there[:, None] & inside[None, :]
        value = tl.load(input + offset, mask, 0.0).to(tl.float32) - origin[None, :] - middle[None, :]
        given = tl.load(gradient + offset, mask, 0.0).to(tl.float32)
        found = (given - level[None, :] - value * (scale * slope)[None, :]) * outer[None, :]
        tl.store(result + offset, found.to(result.dtype.element_ty), mask)
    if (ghost == 0) & (part == 0):
        all_sums, all_dots = tl.full((R, B), 0.0, tl.float32), tl.full((R, B), 0.0, tl.float32)
        for start in range(0, ghosts * PARTS, R):
            row = start + tl.arange(0, R)
            at = row[:, None] * channels + channel[None, :]
            known = (row < ghosts * PARTS)[:, None] & inside[None, :]
            all_sums += tl.load(sums + at, known, 0.0)
            all_dots += tl.load(dots + at, known, 0.0)
        tl.store(of_bias + channel, tl.sum(all_sums, 0).to(of_bias.dtype.element_ty), inside)
        tl.store(of_weight + channel, tl.sum(all_dots, 0).to(of_weight.dtype.element_ty), inside)
