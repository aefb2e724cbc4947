// What is done to a vector between two linear layers, and the table of the level's kernels.

#include <math.h>

#include "simd.h"

static void rms_norm(const float *x, const float *weight, size_t length, double eps, float *y) {
    float factor = (float)(1 / sqrt((double)dot(x, x, length) / (double)length + eps));
    for (size_t i = 0; i < length; i++) {
        y[i] = x[i] * factor * weight[i];
    }
}

static void rotary_embedding(const float *x, const float *cosine, const float *sine, size_t half,
                             float *y) {
    for (size_t i = 0; i < half; i++) {
        float first = x[i];
        float second = x[half + i];
        y[i] = first * cosine[i] - second * sine[i];
        y[half + i] = second * cosine[i] + first * sine[i];
    }
}

static void add(const float *a, const float *b, size_t length, float *y) {
    for (size_t i = 0; i < length; i++) {
        y[i] = a[i] + b[i];
    }
}

// e^x, at most 2e-7 off, relatively. 0 below -87.3, where a float32 would lose bits.
INLINE vfloat exponential(vfloat x) {
    const vfloat zero = {0};
    const float log2_e = 1.44269504f;
    // ln(2) in two parts: the first has few bits, so that a whole number times it is exact.
    const float ln2_high = 0.693359375f;
    const float ln2_low = -2.12194440e-4f;

    vint too_small = x < -87.3f;
    vint too_large = x > 88.7f;
    vint defined = x == x;
    vfloat inside = (vfloat)((vint)x & ~too_small & ~too_large & defined);

    // x = whole * ln(2) + rest; adding and subtracting 1.5 * 2^23 rounds.
    const vfloat round = zero + 12582912.0f;
    vfloat whole = inside * log2_e + round;
    vint exponent = ((vint)whole) - ((vint)round);
    whole -= round;
    vfloat rest = inside - whole * ln2_high - whole * ln2_low;

    // The Taylor series: |rest| is at most ln(2) / 2.
    vfloat power = zero + 1.0f / 5040;
    power = power * rest + 1.0f / 720;
    power = power * rest + 1.0f / 120;
    power = power * rest + 1.0f / 24;
    power = power * rest + 1.0f / 6;
    power = power * rest + 0.5f;
    power = power * rest + 1.0f;
    power = power * rest + 1.0f;
    // 2^128 has no float32, so the exponent goes in two steps.
    vint half = exponent >> 1;
    vfloat result = power * (vfloat)((half + 127) << 23) * (vfloat)((exponent - half + 127) << 23);

    const vfloat infinity = zero + INFINITY;
    result = (vfloat)((vint)result & ~too_small);
    result = (vfloat)(((vint)result & ~too_large) | ((vint)infinity & too_large));
    return (vfloat)(((vint)result & defined) | ((vint)x & ~defined));
}

static void swiglu(const float *gate, const float *up, size_t length, float *y) {
    size_t i = 0;
    for (; i + LANES <= length; i += LANES) {
        vfloat g = load(gate + i);
        store(y + i, g / (1.0f + exponential(-g)) * load(up + i));
    }
    if (i < length) {
        float g[LANES] = {0};
        memcpy(g, gate + i, (length - i) * sizeof *gate);
        store(g, load(g) / (1.0f + exponential(-load(g))));
        for (size_t j = 0; i + j < length; j++) {
            y[i + j] = g[j] * up[i + j];
        }
    }
}

void KERNEL(matmul)(const struct weight_rows *, size_t, const float *const *, size_t,
                    float *const *);
void KERNEL(attend)(struct attention *, const float *, const float *const *,
                    const float *const *, size_t, size_t, size_t, double, double);
void KERNEL(attention_combine)(struct attention *, const struct attention *);
void KERNEL(attention_result)(const struct attention *, float *);

#define STRING(x) #x
#define STRING_EXPANDED(x) STRING(x)

const struct kernels KERNEL(kernels) = {
    .level = STRING_EXPANDED(LEVEL),
    .matmul = KERNEL(matmul),
    .rms_norm = rms_norm,
    .rotary_embedding = rotary_embedding,
    .swiglu = swiglu,
    .add = add,
    .attend = KERNEL(attend),
    .attention_combine = KERNEL(attention_combine),
    .attention_result = KERNEL(attention_result),
};
