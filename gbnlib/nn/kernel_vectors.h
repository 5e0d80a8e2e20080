// Vectors of the processor: loaded from and stored to elements T, computed with in Computed<T>; whole ones, and the first
// lanes of one.
//
// They are those of GCC and Clang: one source serves every instruction set that it is compiled for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace {

using Size = std::int64_t;

struct bfloat16 {
    std::uint16_t bits;
};

// Where registers are shorter, vectors of 64 bytes take two each, and the accumulators of a block are spilled.
#ifdef __AVX512F__
constexpr Size VECTOR_BYTES = 64;
#else
constexpr Size VECTOR_BYTES = 32;
#endif

template <class T> struct Element {
    using A = T;
};
template <> struct Element<bfloat16> {
    using A = float;
};

template <class T> using Computed = typename Element<T>::A;
template <class T> constexpr Size LANES = VECTOR_BYTES / sizeof(Computed<T>);

template <class A> struct VectorOf {
    typedef A type __attribute__((vector_size(VECTOR_BYTES)));
};
template <class T> using Vector = typename VectorOf<Computed<T>>::type;

typedef std::uint16_t Halves __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef std::uint32_t Words __attribute__((vector_size(VECTOR_BYTES)));

// How much of a vector there is.
struct Whole {};
struct Some {
    Size lanes;
};

template <class T> Vector<T> load(const T *from, Whole) {
    Vector<T> v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

template <> Vector<bfloat16> load(const bfloat16 *from, Whole) {
    Halves halves;
    std::memcpy(&halves, from, sizeof halves);
    return (Vector<bfloat16>)(__builtin_convertvector(halves, Words) << 16);
}

// The elements of a vector, as they lie in memory.
template <class T> auto elements_of(Vector<T> v) { return v; }

template <> auto elements_of<bfloat16>(Vector<bfloat16> v) {
    const Words word = (Words)v, rounded = (word + 0x7fff + ((word >> 16) & 1)) >> 16;  // to nearest, ties to even
    const Words quiet = (word >> 16) | 0x40, is_nan = (Words)(v != v);                  // a NaN must remain one
    return __builtin_convertvector((is_nan & quiet) | (~is_nan & rounded), Halves);
}

template <class T> Vector<T> load(const T *from, Some some) {
    T elements[LANES<T>] = {};
    std::copy_n(from, some.lanes, elements);
    return load(elements, Whole());
}

template <class T> void store(T *to, Vector<T> v, Some some) {
    const auto elements = elements_of<T>(v);
    std::memcpy(to, &elements, some.lanes * sizeof(T));
}

// Past the caches where the address allows it, so that what is overwritten is not read. `finish` comes after.
template <class T> void store(T *to, Vector<T> v, Whole) {
    const auto elements = elements_of<T>(v);
#ifdef __AVX2__
    if (reinterpret_cast<std::uintptr_t>(to) % sizeof elements == 0) {
        if constexpr (sizeof elements == 16) return _mm_stream_si128((__m128i *)to, (__m128i)elements);
        if constexpr (sizeof elements == 32) return _mm256_stream_si256((__m256i *)to, (__m256i)elements);
#ifdef __AVX512F__
        if constexpr (sizeof elements == 64) return _mm512_stream_si512((__m512i *)to, (__m512i)elements);
#endif
    }
#endif
    std::memcpy(to, &elements, sizeof elements);
}

// Let other threads see what was stored.
inline void finish() {
#ifdef __AVX2__
    _mm_sfence();
#endif
}

template <class V> V without_rest(V v, Whole) { return v; }

template <class V> V without_rest(V v, Some some) {
    for (Size i = some.lanes; i < Size(sizeof(V) / sizeof(v[0])); ++i) v[i] = 0;
    return v;
}

}  // namespace
