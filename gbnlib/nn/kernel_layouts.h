// Layouts of a batch (samples, channels, values): "runs", where the values of a channel of a sample lie together (NCHW),
// and "rows", where the channels of a value lie together (channels-last, and (N, C)); and the accumulators of a block of
// channels in each, with the lanes that belong to a channel.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernel_vectors.h"

namespace {

constexpr Size CHANNELS = 1024;                 // of a block, at most
constexpr Size REGISTERS = 512 / VECTOR_BYTES;  // that one kind of accumulators takes, at most

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

// Accumulator v has a lane for each of the channels v * LANES to (v + 1) * LANES; some may not be there. There are V of
// them, which the processor's registers hold; or, for V = 0, as many as there are channels for.
template <class T, Size V, class Part> struct Rows {
    static constexpr Size ACCUMULATORS = V ? V : CHANNELS / LANES<T>;
    const Size row, rows, channels;
    const Part part;

    Size accumulators() const { return V ? V : channels / LANES<T>; }

    Vector<T> first(const T *x, Size n, Size v) const { return load(x + n * rows * row + v * LANES<T>, part); }

    template <class Body> void each(Size n, Size end, Body body) const {
        const Size stop = end * rows * row, step = row;
        for (Size at = n * rows * row; at < stop; at += step)
            for (Size v = 0; v < accumulators(); ++v) body(at + v * LANES<T>, v, part);
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

}  // namespace
