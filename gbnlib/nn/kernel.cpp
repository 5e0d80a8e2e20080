// Ghost batch normalization in training, forward and backward, for the processor.
//
// A batch is (samples, channels, values) in one of two layouts: "runs", where the values of a channel of a sample lie
// together (NCHW), and "rows", where the channels of a value lie together (channels-last, and (N, C)). One thread
// handles a ghost in a block of channels from beginning to end: what it normalises it has just read, and results do
// not depend on the number of threads.
//
// Moments are taken about the first value of a chunk, in one pass, and chunks are merged in double precision (Chan,
// Golub & LeVeque 1983). A float32 input x is normalised as (x - m) s + t, where m is the mean rounded to float32
// and t holds what the rounding lost. So nothing cancels for a large mean.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernel_vectors.h"

namespace {

constexpr Size BLOCK_BYTES = 4096;  // that a block of channels reads from a sample in runs, at least
constexpr Size CHANNELS = 128;      // of a block, at most
constexpr Size CACHE_BYTES = 1 << 21;  // a wide block of channels reads no more from a ghost in rows
constexpr Size ADDITIONS = 512;     // to a lane of an accumulator, before it is merged in double precision

// --- layouts: the vectors of a block of channels, and which lanes of its accumulators belong to a channel -------

// All lanes of accumulator c belong to channel c.
template <class T> struct Runs {
    static constexpr Size ACCUMULATORS = 64;
    const Size sample, run, channels;

    Size accumulators() const { return channels; }

    // A value of each channel, from sample n, wherever the channel has a lane.
    Vector<T> first(const T *x, Size n, Size c) const {
        return Vector<T>{} + load(x + n * sample + c * run, Some{1})[0];
    }

    // Call body(offset, accumulator, Whole or Some) for every vector of the samples n to end.
    template <class Body> void each(Size n, Size end, Body body) const {
        for (; n < end; ++n)
            for (Size c = 0; c < channels; ++c) {
                const Size at = n * sample + c * run;
                Size i = 0;
                for (; i + LANES<T> <= run; i += LANES<T>) body(at + i, c, Whole());
                if (i < run) body(at + i, c, Some{run - i});
            }
    }

    static Size lane(Size c) { return c * LANES<T>; }
    static constexpr Size LANES_OF_A_CHANNEL = LANES<T>;
};

// Accumulator v has a lane for each of the channels v * LANES to (v + 1) * LANES; some may not be there.
template <class T, Size V, class Part> struct Rows {
    static constexpr Size ACCUMULATORS = V;
    const Size row, rows, channels;
    const Part part;

    Size accumulators() const { return V; }

    Vector<T> first(const T *x, Size n, Size v) const { return load(x + n * rows * row + v * LANES<T>, part); }

    template <class Body> void each(Size n, Size end, Body body) const {
        for (Size r = n * rows; r < end * rows; ++r)
            for (Size v = 0; v < V; ++v) body(r * row + v * LANES<T>, v, part);
    }

    static Size lane(Size c) { return c; }
    static constexpr Size LANES_OF_A_CHANNEL = 1;
};

// The accumulators of a block.
template <class T, class Layout> struct Accumulators {
    Vector<T> vectors[Layout::ACCUMULATORS];

    Vector<T> &operator[](Size v) { return vectors[v]; }
    const Vector<T> &operator[](Size v) const { return vectors[v]; }

    void clear(const Layout &layout) { std::fill_n(vectors, layout.accumulators(), Vector<T>{}); }

    double sum(Size c) const {
        Computed<T> lanes[Layout::LANES_OF_A_CHANNEL];
        std::memcpy(lanes, (const char *)vectors + Layout::lane(c) * sizeof(Computed<T>), sizeof lanes);
        double sum = 0;
        for (const Computed<T> lane : lanes) sum += lane;
        return sum;
    }

    void set(Size c, double value) {
        Computed<T> lanes[Layout::LANES_OF_A_CHANNEL];
        std::fill_n(lanes, Layout::LANES_OF_A_CHANNEL, Computed<T>(value));
        std::memcpy((char *)vectors + Layout::lane(c) * sizeof(Computed<T>), lanes, sizeof lanes);
    }

    double one(Size c) const {
        Computed<T> lane;
        std::memcpy(&lane, (const char *)vectors + Layout::lane(c) * sizeof lane, sizeof lane);
        return lane;
    }
};

// --- the two passes ------------------------------------------------------------------------------------------------

struct Batch {
    const int in_rows, threads;
    const Size *const starts;  // the first sample of each ghost, and the number of samples
    const Size ghosts, channels, values;

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

    template <class Layout> void operator()(Size ghost, Size channel, Size offset, const Layout &layout) const {
        const Size begin = batch.starts[ghost], end = batch.starts[ghost + 1], at = ghost * batch.channels + channel;
        const T *const x = input + offset;
        double means[CHANNELS] = {}, squares[CHANNELS] = {}, total = 0;  // squares: of deviations from the mean
        for (Size n = begin, stop; n < end; n = stop) {
            stop = std::min(end, n + batch.samples_of_a_chunk<Layout>());
            Accumulators<T, Layout> origins, firsts, seconds;
            firsts.clear(layout), seconds.clear(layout);
            for (Size v = 0; v < layout.accumulators(); ++v) origins[v] = layout.first(x, n, v);
            layout.each(n, stop, [&](Size i, Size v, auto part) {
                const Vector<T> d = without_rest(Vector<T>(load(x + i, part) - origins[v]), part);
                firsts[v] += d, seconds[v] += d * d;
            });
            const double count = double((stop - n) * batch.values), share = count / (total + count);
#pragma omp simd
            for (Size c = 0; c < layout.channels; ++c) {
                const double sum = firsts.sum(c), step = origins.one(c) + sum / count - means[c];
                squares[c] += seconds.sum(c) - sum * sum / count + step * step * share * total;
                means[c] += step * share;
            }
            total += count;
        }
        Accumulators<T, Layout> shift, scale, rest;
        const Parameters parameters(weight, bias, channel, layout.channels);
#pragma omp simd
        for (Size c = 0; c < layout.channels; ++c) {
            const double spread = std::max(squares[c] / total, 0.0);
            const double factor = parameters.weight[c] / std::sqrt(spread + eps);
            const double lost = means[c] - double(Computed<T>(means[c]));
            mean[at + c] = means[c], variance[at + c] = spread;
            shift.set(c, means[c]), scale.set(c, factor);
            rest.set(c, parameters.bias[c] - lost * factor);
        }
        T *const y = output + offset;
        layout.each(begin, end, [&](Size i, Size v, auto part) {
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
    double *const weight_gradient, *const bias_gradient;  // (ghosts, channels)

    template <class Layout> void operator()(Size ghost, Size channel, Size offset, const Layout &layout) const {
        const Size begin = batch.starts[ghost], end = batch.starts[ghost + 1], at = ghost * batch.channels + channel;
        const T *const x = input + offset, *const dy = output_gradient + offset;
        const double total = double((end - begin) * batch.values);
        double sums[CHANNELS] = {}, dots[CHANNELS] = {};  // of dy, and of dy (x - shift)
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
            const double fall = factor * dot * inverse * inverse / total;
            weight_gradient[at + c] = dot * inverse, bias_gradient[at + c] = sums[c];
            scale.set(c, factor), slope.set(c, -fall), rest.set(c, fall * lost - factor * sums[c] / total);
        }
        T *const dx = input_gradient + offset;
        layout.each(begin, end, [&](Size i, Size v, auto part) {
            const Vector<T> d = load(x + i, part) - shift[v];
            store(dx + i, Vector<T>(scale[v] * load(dy + i, part) + (slope[v] * d + rest[v])), part);
        });
    }
};

// Run a pass over a block of channels in rows, by as many vectors at once as there are channels for.
template <class T, Size V, class Pass> void in_rows(const Batch &b, const Pass &pass, Size ghost, Size c, Size end) {
    constexpr Size wide = V * LANES<T>;
    for (; c + wide <= end; c += wide) pass(ghost, c, c, Rows<T, V, Whole>{b.channels, b.values, wide, {}});
    if constexpr (V > 1)
        in_rows<T, V / 2>(b, pass, ghost, c, end);
    else if (c < end)
        pass(ghost, c, c, Rows<T, 1, Some>{b.channels, b.values, end - c, {end - c}});
}

// Run a pass over all ghosts and blocks of channels.
template <class T, class Pass> void run(const Batch &b, const Pass &pass) {
    constexpr Size most = 8;
    const Size rows = (b.starts[1] - b.starts[0]) * b.values;
    const Size vectors = rows * most * LANES<T> * Size(sizeof(T)) > CACHE_BYTES ? most / 2 : most;
    const Size of_runs = std::clamp<Size>(BLOCK_BYTES / (b.values * Size(sizeof(T))), 1, Runs<T>::ACCUMULATORS);
    const Size block = b.in_rows ? vectors * LANES<T> : of_runs, blocks = (b.channels + block - 1) / block;
#pragma omp parallel for schedule(dynamic) num_threads(b.threads)
    for (Size task = 0; task < b.ghosts * blocks; ++task) {
        const Size ghost = task / blocks, c = task % blocks * block, end = std::min(c + block, b.channels);
        if (b.in_rows)
            in_rows<T, most>(b, pass, ghost, c, end);
        else
            pass(ghost, c, c * b.values, Runs<T>{b.channels * b.values, b.values, end - c});
    }
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
    }

GHOST_NORM(float)
GHOST_NORM(double)
GHOST_NORM(bfloat16)
