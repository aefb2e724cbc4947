// Attention with a running maximum, as in FlashAttention (Dao et al., 2022): keys and values
// come in any order, in any number of pieces, and are not kept. See struct attention.

#include <math.h>

#include "simd.h"

enum {
    KEYS = 16,  // keys that are taken in together
    HEADS = 32, // heads whose weights are computed together
};

#define LOG2_E 1.4426950408889634

// 2^x for a whole x of at most 0; 0 where a double loses bits.
INLINE double power_of_two(double x) {
    double clamped = x > -1022 ? x : -1022;
    int64_t bits = (int64_t)((int32_t)clamped + 1023) << 52;
    double result;
    memcpy(&result, &bits, sizeof result);
    return x > -1022 ? result : 0;
}

// 2^x for -1/2 <= x <= 1/2, at most 3e-16 off: the Taylor series.
INLINE double power_of_fraction(double x) {
    double y = 2.5678435993488196e-11;
    y = y * x + 4.4455382718708100e-10;
    y = y * x + 7.0549116208011210e-09;
    y = y * x + 1.0178086009239696e-07;
    y = y * x + 1.3215486790144307e-06;
    y = y * x + 1.5252733804059841e-05;
    y = y * x + 1.5403530393381608e-04;
    y = y * x + 1.3333558146428443e-03;
    y = y * x + 9.6181291076284769e-03;
    y = y * x + 5.5504108664821576e-02;
    y = y * x + 2.4022650695910069e-01;
    y = y * x + 6.9314718055994529e-01;
    return y * x + 1;
}

// tanh(x), at most 4e-16 off: (1 - e) / (1 + e) of |x|, e = exp(-2 |x|). An e below 2^-60 changes
// no bit of it.
INLINE double hyperbolic_tangent(double x) {
    double log2_e = fabs(x) * (-2 * LOG2_E);
    log2_e = log2_e < -60 ? -60 : log2_e; // of an infinity too, and a NaN stays
    double whole = rint(log2_e);
    double e = power_of_two(whole) * power_of_fraction(log2_e - whole);
    return copysign((1 - e) / (1 + e), x);
}

// sum and values in units of a larger maximum.
static void raise_maximum(struct attention *state, size_t head, double maximum) {
    double factor = power_of_two(state->maximum[head] - maximum);
    state->maximum[head] = maximum;
    state->sum[head] *= factor;
    double *values = state->values + head * state->head_dim;
    for (size_t d = 0; d < state->head_dim; d++) {
        values[d] *= factor;
    }
}

// values[d] += sum over keys of weights[j] * value[j][d]
INLINE void add_values(double *values, const double *weights, const float *const *value,
                       size_t count, size_t head_dim) {
    size_t d = 0;
    for (; d + LANES <= head_dim; d += LANES) {
        vdouble sum = load_double(values + d);
        for (size_t j = 0; j < count; j++) {
            sum += weights[j] * __builtin_convertvector(load(value[j] + d), vdouble);
        }
        store_double(values + d, sum);
    }
    for (; d < head_dim; d++) {
        for (size_t j = 0; j < count; j++) {
            values[d] += weights[j] * (double)value[j][d];
        }
    }
}

// At most KEYS keys, and the heads from `first` to `last`, at most HEADS.
static void attend_block(struct attention *state, const float *query, const float *const *keys,
                         const float *const *values, size_t count, size_t first, size_t last,
                         double scaling, double softcap) {
    const size_t head_dim = state->head_dim;
    const size_t num_weights = (last - first) * count;
    const double unit = LOG2_E * (softcap == 0 ? scaling : softcap);
    double whole[HEADS * KEYS];   // [head][key]: log2 of the weight, rounded
    double weights[HEADS * KEYS]; // [head][key]: the score, then 2^(log2 - whole), then the weight

    for (size_t h = first; h < last; h++) {
        for (size_t j = 0; j < count; j++) {
            weights[(h - first) * count + j] = dot(query + h * head_dim, keys[j], head_dim);
        }
    }
    for (size_t i = 0; i < num_weights && softcap != 0; i++) {
        weights[i] = hyperbolic_tangent(weights[i] * scaling / softcap);
    }
    for (size_t i = 0; i < num_weights; i++) {
        double log2_weight = weights[i] * unit;
        whole[i] = rint(log2_weight);
        double power = power_of_fraction(log2_weight - whole[i]);
        // An infinite score: no weight, or a NaN as in exp(inf - inf).
        weights[i] = log2_weight == -INFINITY ? 0 : power;
    }
    for (size_t h = first; h < last; h++) {
        double *head_whole = whole + (h - first) * count;
        double *head_weights = weights + (h - first) * count;
        double maximum = state->maximum[h];
        for (size_t j = 0; j < count; j++) {
            maximum = head_whole[j] > maximum ? head_whole[j] : maximum;
        }
        if (maximum > state->maximum[h]) {
            raise_maximum(state, h, maximum);
        }
        for (size_t j = 0; j < count; j++) {
            head_weights[j] *= power_of_two(head_whole[j] - maximum);
        }
        for (size_t j = 0; j < count; j++) {
            state->sum[h] += head_weights[j];
        }
        add_values(state->values + h * head_dim, head_weights, values, count, head_dim);
    }
}

void KERNEL(attend)(struct attention *state, const float *query, const float *const *keys,
                    const float *const *values, size_t count, size_t first, size_t last,
                    double scaling, double softcap) {
    for (size_t j = 0; j < count; j += KEYS) {
        size_t block = count - j < KEYS ? count - j : KEYS;
        for (size_t h = first; h < last; h += HEADS) {
            size_t end = last - h < HEADS ? last : h + HEADS;
            attend_block(state, query, keys + j, values + j, block, h, end, scaling, softcap);
        }
    }
}

void KERNEL(attention_combine)(struct attention *target, const struct attention *source) {
    const size_t head_dim = target->head_dim;
    for (size_t h = 0; h < target->num_heads; h++) {
        if (source->maximum[h] > target->maximum[h]) {
            raise_maximum(target, h, source->maximum[h]);
        }
        double factor = power_of_two(source->maximum[h] - target->maximum[h]);
        target->sum[h] += factor * source->sum[h];
        for (size_t d = 0; d < head_dim; d++) {
            target->values[h * head_dim + d] += factor * source->values[h * head_dim + d];
        }
    }
}

void KERNEL(attention_result)(const struct attention *state, float *y) {
    for (size_t h = 0; h < state->num_heads; h++) {
        for (size_t d = 0; d < state->head_dim; d++) {
            size_t i = h * state->head_dim + d;
            y[i] = (float)(state->values[i] / state->sum[h]);
        }
    }
}
