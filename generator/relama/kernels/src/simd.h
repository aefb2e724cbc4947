// Vectors of the level that is being compiled, in the vector extensions that GCC and Clang
// share, and names for its functions.

#pragma once

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels.h"

#ifndef LEVEL
#define LEVEL baseline
#endif
#define PASTE(a, b) a##_##b
#define PASTE_EXPANDED(a, b) PASTE(a, b)
#define KERNEL(name) PASTE_EXPANDED(name, LEVEL)

#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float vfloat __attribute__((vector_size(4 * LANES)));
typedef int32_t vint __attribute__((vector_size(4 * LANES)));
typedef int8_t vbyte __attribute__((vector_size(LANES)));
// As many doubles as a vfloat has floats: two registers.
typedef double vdouble __attribute__((vector_size(8 * LANES)));

INLINE vfloat load(const float *p) {
    vfloat v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, vfloat v) {
    memcpy(p, &v, sizeof v);
}

// LANES integers as floats. GCC makes single steps of the conversion that is written last.
INLINE vfloat load_int8(const int8_t *p) {
#if defined(__AVX512F__)
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif defined(__AVX2__)
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#elif defined(__x86_64__)
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    __m128i v = _mm_cvtsi32_si128(bytes);
    v = _mm_unpacklo_epi8(v, v);
    v = _mm_unpacklo_epi16(v, v); // every byte four times; the uppermost one has the sign
    return _mm_cvtepi32_ps(_mm_srai_epi32(v, 24));
#else
    vbyte v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(__builtin_convertvector(v, vint), vfloat);
#endif
}

// The first `count` elements of a vector that ends there, and zeros: one more step of the
// same loop adds up the end of a row, so that its rounding is the same everywhere.
INLINE vfloat load_first(const float *p, size_t count) {
    float elements[LANES] = {0};
    memcpy(elements, p, count * sizeof *p);
    return load(elements);
}

INLINE vfloat load_int8_first(const int8_t *p, size_t count) {
    int8_t elements[LANES] = {0};
    memcpy(elements, p, count);
    return load_int8(elements);
}

INLINE vdouble load_double(const double *p) {
    vdouble v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store_double(double *p, vdouble v) {
    memcpy(p, &v, sizeof v);
}

// The sum of a vector's elements, halves first: the upper half is added to the lower one
// until one element is left.
INLINE float sum_lanes(vfloat v) {
    float lane[LANES];
    store(lane, v);
    for (size_t width = LANES / 2; width > 0; width /= 2) {
        for (size_t i = 0; i < width; i++) {
            lane[i] += lane[i + width];
        }
    }
    return lane[0];
}

// sums[r] = sum_lanes(v[r]) of four vectors, by the same additions.
INLINE void sum_lanes_of_four(const vfloat v[4], float sums[4]) {
#if defined(__x86_64__)
    __m128 quarter[4];
    for (size_t r = 0; r < 4; r++) {
#if defined(__AVX512F__)
        __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v[r]), _mm512_extractf32x8_ps(v[r], 1));
        quarter[r] = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
#elif defined(__AVX2__)
        quarter[r] = _mm_add_ps(_mm256_castps256_ps128(v[r]), _mm256_extractf128_ps(v[r], 1));
#else
        quarter[r] = v[r];
#endif
    }
    __m128 first = _mm_add_ps(_mm_unpacklo_ps(quarter[0], quarter[1]),
                              _mm_unpackhi_ps(quarter[0], quarter[1]));
    __m128 second = _mm_add_ps(_mm_unpacklo_ps(quarter[2], quarter[3]),
                               _mm_unpackhi_ps(quarter[2], quarter[3]));
    _mm_storeu_ps(sums, _mm_add_ps(_mm_movelh_ps(first, second), _mm_movehl_ps(second, first)));
#else
    for (size_t r = 0; r < 4; r++) {
        sums[r] = sum_lanes(v[r]);
    }
#endif
}

// a . b
INLINE float dot(const float *a, const float *b, size_t length) {
    vfloat sum = {0};
    size_t i = 0;
    for (; i + LANES <= length; i += LANES) {
        sum += load(a + i) * load(b + i);
    }
    if (i < length) {
        sum += load_first(a + i, length - i) * load_first(b + i, length - i);
    }
    return sum_lanes(sum);
}
