// The arithmetic of the kernels, on plain pointers.
//
// The files linear.c, elementwise.c and attention.c are compiled once for each level of
// instructions (see LEVELS in build.py). Every compilation gives one `struct kernels`;
// extension.c chooses the best one that the processor runs.
//
// A result never depends on how many vectors are handed over in one call: every dot
// product adds its terms in the same order, alone or in a tile.

#pragma once

#include <stddef.h>
#include <stdint.h>

enum storage { STORAGE_FLOAT32, STORAGE_INT8, STORAGE_INT4 };

enum {
    MAX_ROWS = 64,         // rows of a matrix in one call of matmul
    INT4_GROUP = 32,       // elements that share a step and a zero point
    INT4_GROUP_BYTES = 34, // 32 codes and the two digits of the zero point
};

// Some rows of a matrix, all of the same storage:
//
//   float32  x[i] = data[i]
//   int8     x[i] = scale * data[i]
//   int4     x[i] = scale * steps[g] * (data[g][i % 32] - data[g][32] - data[g][33] / 16),
//            g = i / 32
struct weight_rows {
    enum storage storage;
    size_t count;
    const void *data[MAX_ROWS];     // float[columns], int8_t[columns] or int8_t[groups][34]
    const uint8_t *steps[MAX_ROWS]; // int4: [groups]
    float scales[MAX_ROWS];         // int8 and int4
};

// What attention has seen of one query: for each head h
//
//   sum[h]       = sum over keys of 2^(t - maximum[h]),  t = log2(e) * score
//   values[h][d] = the same sum, each weight times value[d]
//
// maximum[h] is a whole number, the largest t rounded. So a new maximum scales both sums by
// a power of two, which is exact, and the order of the keys matters only to the last bits of
// sums in double precision.
struct attention {
    size_t num_heads;
    size_t head_dim;
    double *maximum; // [num_heads]
    double *sum;     // [num_heads]
    double *values;  // [num_heads][head_dim]
};

struct kernels {
    const char *level;

    // y[p][r] = rows[r] . x[p]
    void (*matmul)(const struct weight_rows *rows, size_t columns, const float *const *x,
                   size_t positions, float *const *y);

    // y = x / sqrt(mean(x^2) + eps) * weight
    void (*rms_norm)(const float *x, const float *weight, size_t length, double eps, float *y);

    // One head. Element i is paired with element half + i, and the pair turned by an angle:
    // y[i] = x[i] cos[i] - x[half + i] sin[i], y[half + i] = x[half + i] cos[i] + x[i] sin[i]
    void (*rotary_embedding)(const float *x, const float *cosine, const float *sine, size_t half,
                             float *y);

    // y = gate * sigmoid(gate) * up
    void (*swiglu)(const float *gate, const float *up, size_t length, float *y);

    // y = a + b
    void (*add)(const float *a, const float *b, size_t length, float *y);

    // Takes keys and values of `count` positions in, those of one key-value head, for the query
    // heads from `first` up to `last`. query holds all query heads.
    //
    //   score = scaling * query . key,  or softcap * tanh(that / softcap) where softcap is not 0
    void (*attend)(struct attention *state, const float *query, const float *const *keys,
                   const float *const *values, size_t count, size_t first, size_t last,
                   double scaling, double softcap);

    // Adds what `source` has seen to `target`.
    void (*attention_combine)(struct attention *target, const struct attention *source);

    // y[h][d] = values[h][d] / sum[h]
    void (*attention_result)(const struct attention *state, float *y);
};

extern const struct kernels kernels_baseline;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;
#endif
