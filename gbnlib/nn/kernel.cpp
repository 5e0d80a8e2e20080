// Ghost batch normalization in training, forward and backward, for the processor.
//
// One thread handles a ghost in a block of channels from beginning to end: what it normalises it has just read, and
// results do not depend on the number of threads.
//
// Moments are taken about the first value of a chunk, in one pass, and chunks are merged in double precision (Chan,
// Golub & LeVeque 1983). A float32 input x is normalised as (x - m) s + t, where m is the mean rounded to float32
// and t holds what the rounding lost. So nothing cancels for a large mean.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernel_layouts.h"

namespace {

constexpr Size BLOCK_BYTES = 4096;  // that a block of channels reads from a sample in runs, at least
constexpr Size ADDITIONS = 512;  // to a lane of an accumulator, before it is merged in double precision

// --- the passes ----------------------------------------------------------------------------------------------------

struct Batch {
    const int in_rows, threads;
    const Size samples, size, ghosts, channels, values;  // size: samples of a ghost; the last has what is left

    Size begin(Size ghost) const { return ghost * size; }
    Size end(Size ghost) const { return ghost + 1 < ghosts ? begin(ghost + 1) : samples; }

    template <class Layout> Size samples_of_a_chunk() const {
        return std::max<Size>(1, ADDITIONS * Layout::LANES_OF_A_CHANNEL / values);
    }
};

// Scale and shift of a block of channels, which may not be there.
struct Parameters {
    double weight[CHANNELS], bias[CHANNELS];
    Parameters(const double *weights, const double *biases, Size channel, Size channels) {
        for (Size c = 0; c < channels; ++c) weight[c] = weights ? weights[channel + c] : 1;
        for (Size c = 0; c < channels; ++c) bias[c] = biases ? biases[channel + c] : 0;
    }
};

template <class T> struct Forward {
    const Batch batch;
    const T *const input;
    T *const output;
    const double *const weight, *const bias;  // (channels,), or none
    double *const mean, *const variance;      // (ghosts, channels)
    const double eps;

    template <class Layout> void operator()(Size ghost, Size channel, Size offset, const Layout layout) const {
        const Size begin = batch.begin(ghost), end = batch.end(ghost), at = ghost * batch.channels + channel;
        const T *const x = input + offset;
        double means[CHANNELS], squares[CHANNELS], total = 0;  // squares: of deviations from the mean
        std::fill_n(means, layout.channels, 0), std::fill_n(squares, layout.channels, 0);
        for (Size n = begin, stop; n < end; n = stop) {
            stop = std::min(end, n + batch.samples_of_a_chunk<Layout>());
            Accumulators<T, Layout> origins, firsts, seconds;
            firsts.clear(layout), seconds.clear(layout);
            for (Size v = 0; v < layout.accumulators(); ++v) origins[v] = layout.first(x, n, v);
            layout.each(n, stop, [&](Size i, Size v, auto part) {
                const Vector<T> d = without_rest(Vector<T>(load(x + i, part) - origins[v]), part);
                firsts[v] += d, seconds[v] += d * d;
            });
            const double count = double((stop - n) * batch.values), share = count / (total + count), part = 1 / count;
#pragma omp simd
            for (Size c = 0; c < layout.channels; ++c) {
                const double sum = firsts.sum(c), step = origins.one(c) + sum * part - means[c];
                squares[c] += seconds.sum(c) - sum * sum * part + step * step * share * total;
                means[c] += step * share;
            }
            total += count;
        }
        Accumulators<T, Layout> shift, scale, rest;
        const Parameters parameters(weight, bias, channel, layout.channels);
        const double share = 1 / total;
#pragma omp simd
        for (Size c = 0; c < layout.channels; ++c) {
            const double spread = std::max(squares[c] * share, 0.0);
            const double factor = parameters.weight[c] / std::sqrt(spread + eps);
            const double lost = means[c] - double(Computed<T>(means[c]));
            mean[at + c] = means[c], variance[at + c] = spread;
            shift.set(c, means[c]), scale.set(c, factor);
            rest.set(c, parameters.bias[c] - lost * factor);
        }
        T *const y = output + offset;
        layout.each(begin, end, [=](Size i, Size v, auto part) {
            store(y + i, Vector<T>((load(x + i, part) - shift[v]) * scale[v] + rest[v]), part);
        });
    }
};

template <class T> struct Backward {
    const Batch batch;
    const T *const input, *const output_gradient;
    T *const input_gradient;
    const double *const weight, *const mean, *const variance;
    const double eps;
    double *const weight_gradient, *const bias_gradient;  // (ghosts, channels), to be added

    template <class Layout> void operator()(Size ghost, Size channel, Size offset, const Layout layout) const {
        const Size begin = batch.begin(ghost), end = batch.end(ghost), at = ghost * batch.channels + channel;
        const T *const x = input + offset, *const dy = output_gradient + offset;
        const double share = 1 / double((end - begin) * batch.values);
        double sums[CHANNELS], dots[CHANNELS];  // of dy, and of dy (x - shift)
        std::fill_n(sums, layout.channels, 0), std::fill_n(dots, layout.channels, 0);
        Accumulators<T, Layout> shift;
        for (Size c = 0; c < layout.channels; ++c) shift.set(c, mean[at + c]);
        for (Size n = begin, stop; n < end; n = stop) {
            stop = std::min(end, n + batch.samples_of_a_chunk<Layout>());
            Accumulators<T, Layout> sum, dot;
            sum.clear(layout), dot.clear(layout);
            layout.each(n, stop, [&](Size i, Size v, auto part) {
                const Vector<T> g = load(dy + i, part);
                sum[v] += g, dot[v] += g * (load(x + i, part) - shift[v]);
            });
            for (Size c = 0; c < layout.channels; ++c) sums[c] += sum.sum(c), dots[c] += dot.sum(c);
        }
        Accumulators<T, Layout> scale, slope, rest;  // dx = scale dy + slope (x - shift) + rest
        const Parameters parameters(weight, nullptr, channel, layout.channels);
#pragma omp simd
        for (Size c = 0; c < layout.channels; ++c) {
            const double inverse = 1 / std::sqrt(variance[at + c] + eps);
            const double factor = parameters.weight[c] * inverse;
            const double lost = mean[at + c] - double(Computed<T>(mean[at + c])), dot = dots[c] - lost * sums[c];
            const double fall = factor * dot * inverse * inverse * share;
            weight_gradient[at + c] = dot * inverse, bias_gradient[at + c] = sums[c];
            scale.set(c, factor), slope.set(c, -fall), rest.set(c, fall * lost - factor * sums[c] * share);
        }
        T *const dx = input_gradient + offset;
        layout.each(begin, end, [=](Size i, Size v, auto part) {
            const Vector<T> d = load(x + i, part) - shift[v];
            store(dx + i, Vector<T>(scale[v] * load(dy + i, part) + (slope[v] * d + rest[v])), part);
        });
    }
};

// Run a pass over a block of channels in rows: all at once, or by as many vectors at once as there are registers for.
template <class T, Size V, class Pass> void in_rows(const Batch &b, const Pass &pass, Size ghost, Size c, Size end) {
    if constexpr (V == REGISTERS)
        if (const Size wide = (end - c) / LANES<T> * LANES<T>; wide > V * LANES<T>) {
            pass(ghost, c, c, Rows<T, 0, Whole>{b.channels, b.values, wide, {}});
            c += wide;
        }
    constexpr Size narrow = V * LANES<T>;
    for (; c + narrow <= end; c += narrow) pass(ghost, c, c, Rows<T, V, Whole>{b.channels, b.values, narrow, {}});
    if constexpr (V > 1)
        in_rows<T, V / 2>(b, pass, ghost, c, end);
    else if (c < end)
        pass(ghost, c, c, Rows<T, 1, Some>{b.channels, b.values, end - c, {end - c}});
}

// Run a pass over all ghosts and blocks of channels. In rows a block is as wide as it can be, so that memory is read in
// its order, but where a few ghosts would leave threads without work.
template <class T, class Pass> void run(const Batch &b, const Pass &pass) {
    Size block = b.in_rows ? std::min(CHANNELS, b.channels)
                           : std::clamp<Size>(BLOCK_BYTES / (b.values * Size(sizeof(T))), 1, Runs<T>::ACCUMULATORS);
    const bool uneven = b.ghosts < 2 * b.threads && b.ghosts % b.threads != 0;
    if (b.in_rows && uneven) block = std::min(block, REGISTERS * LANES<T>);
    const Size blocks = (b.channels + block - 1) / block;
#pragma omp parallel for schedule(dynamic) num_threads(b.threads)
    for (Size task = 0; task < b.ghosts * blocks; ++task) {
        const Size ghost = task / blocks, c = task % blocks * block, end = std::min(c + block, b.channels);
        if (b.in_rows)
            in_rows<T, REGISTERS>(b, pass, ghost, c, end);
        else
            pass(ghost, c, c * b.values, Runs<T>{b.channels * b.values, b.values, end - c});
        finish();
    }
}

// Move the running statistics of a block of channels by those of the ghosts, after one another or by their mean.
template <class T> struct Move {
    const Batch batch;
    T *const running_mean, *const running_variance;
    const double *const mean, *const variance;  // (ghosts, channels), the variance biased
    const double momentum;
    const bool sequential;

    void operator()(Size channel, Size channels) const {
        double of_mean[CHANNELS] = {}, of_variance[CHANNELS] = {};
        for (Size ghost = 0; ghost < batch.ghosts; ++ghost) {
            const double samples = double(batch.end(ghost) - batch.begin(ghost));
            const double count = samples * double(batch.values), unbiased = count / (count - 1);
            const double share = sequential ? momentum * std::pow(1 - momentum, double(batch.ghosts - 1 - ghost))
                                            : momentum * samples / double(batch.samples);
            const Size at = ghost * batch.channels + channel;
            for (Size c = 0; c < channels; ++c) {
                of_mean[c] += share * mean[at + c];
                of_variance[c] += share * unbiased * variance[at + c];
            }
        }
        const double kept = sequential ? std::pow(1 - momentum, double(batch.ghosts)) : 1 - momentum;
        for (Size c = 0; c < channels; ++c) {
            move(running_mean + channel + c, kept, of_mean[c]);
            move(running_variance + channel + c, kept, of_variance[c]);
        }
    }

    static void move(T *running, double kept, double step) {
        const double before = load(running, Some{1})[0];
        store(running, Vector<T>{} + Computed<T>(kept * before + step), Some{1});
    }
};

// Leave the sum over ghosts in the first row.
inline void add_ghosts(const Batch &b, double *values) {
    for (Size ghost = 1; ghost < b.ghosts; ++ghost) {
        const double *const row = values + ghost * b.channels;
#pragma omp simd
        for (Size c = 0; c < b.channels; ++c) values[c] += row[c];
    }
}

template <class T> void run(const Batch &b, const Move<T> &move) {
    const Size blocks = (b.channels + CHANNELS - 1) / CHANNELS;
#pragma omp parallel for num_threads(std::min<Size>(b.threads, blocks))
    for (Size block = 0; block < blocks; ++block)
        move(block * CHANNELS, std::min(CHANNELS, b.channels - block * CHANNELS));
}

}  // namespace

#define GHOST_NORM(T)                                                                                                \
    extern "C" void ghost_norm_forward_##T(Batch batch, const T *input, T *output, const double *weight,             \
                                           const double *bias, double *mean, double *variance, double eps) {         \
        run<T>(batch, Forward<T>{batch, input, output, weight, bias, mean, variance, eps});                          \
    }                                                                                                                 \
    extern "C" void ghost_norm_backward_##T(Batch batch, const T *input, const T *output_gradient,                   \
                                            T *input_gradient, const double *weight, const double *mean,             \
                                            const double *variance, double eps, double *weight_gradient,             \
                                            double *bias_gradient) {                                                 \
        run<T>(batch, Backward<T>{batch, input, output_gradient, input_gradient, weight, mean, variance, eps,        \
                                  weight_gradient, bias_gradient});                                                  \
        add_ghosts(batch, weight_gradient), add_ghosts(batch, bias_gradient);                                         \
    }                                                                                                                 \
    extern "C" void ghost_norm_move_##T(Batch batch, T *running_mean, T *running_variance, const double *mean,       \
                                        const double *variance, double momentum, int sequential) {                   \
        run<T>(batch, Move<T>{batch, running_mean, running_variance, mean, variance, momentum, sequential != 0});    \
    }

GHOST_NORM(float)
GHOST_NORM(double)
GHOST_NORM(bfloat16)
