// Vectors of the level that is being compiled, in the vector extensions that GCC and Clang
// share, and names for its functions.

#pragma once

#include <string.h>

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

INLINE vfloat load_int8(const int8_t *p) {
    vbyte v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(__builtin_convertvector(v, vint), vfloat);
}

INLINE vdouble load_double(const double *p) {
    vdouble v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store_double(double *p, vdouble v) {
    memcpy(p, &v, sizeof v);
}

// The sum of a vector's elements, halves first.
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

// a . b
INLINE float dot(const float *a, const float *b, size_t length) {
    vfloat sum = {0};
    size_t i = 0;
    for (; i + LANES <= length; i += LANES) {
        sum += load(a + i) * load(b + i);
    }
    float result = sum_lanes(sum);
    for (; i < length; i++) {
        result += a[i] * b[i];
    }
    return result;
}
