// Every kernel of one level on sizes by chance, against plain loops in double precision. All
// memory is allocated as long as it must be, so that AddressSanitizer sees each read and
// write beyond an end. test_kernels_fuzzer.py compiles and runs it.
//
//     kernels_fuzzer SEED ROUNDS

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#ifndef LEVEL
#define LEVEL baseline
#endif
#define PASTE(a, b) a##b
#define PASTE_EXPANDED(a, b) PASTE(a, b)
#define KERNELS PASTE_EXPANDED(kernels_, LEVEL)

static void expect(const char *what, double actual, double expected, double scale) {
    if (!(fabs(actual - expected) <= 1e-5 * scale + 1e-30)) {
        fprintf(stderr, "%s: %.9g instead of %.9g\n", what, actual, expected);
        exit(1);
    }
}

static size_t size_up_to(size_t largest) {
    return (size_t)rand() % (largest + 1);
}

static float *floats(size_t length) {
    float *result = malloc(length * sizeof *result);
    for (size_t i = 0; i < length; i++) {
        result[i] = (float)rand() / (float)RAND_MAX * 4 - 2;
    }
    return result;
}

static double weight_of(const struct weight_rows *rows, size_t r, size_t i) {
    if (rows->storage == STORAGE_FLOAT32) {
        return ((const float *)rows->data[r])[i];
    }
    const int8_t *codes = rows->data[r];
    if (rows->storage == STORAGE_INT8) {
        return (double)codes[i] * rows->scales[r];
    }
    const int8_t *group = codes + i / 32 * INT4_GROUP_BYTES;
    return (group[i % 32] - group[32] - group[33] / 16.0) * rows->steps[r][i / 32] *
           rows->scales[r];
}

static void matmul(void) {
    struct weight_rows rows = {.storage = (enum storage)(rand() % 3), .count = 1 + size_up_to(11)};
    size_t columns = rand() % 4 == 0 ? size_up_to(1200) : size_up_to(70);
    size_t positions = 1 + size_up_to(20);
    size_t groups = (columns + 31) / 32;
    for (size_t r = 0; r < rows.count; r++) {
        size_t bytes = rows.storage == STORAGE_INT8 ? columns : groups * INT4_GROUP_BYTES;
        int8_t *codes = malloc(bytes);
        for (size_t i = 0; i < bytes; i++) {
            codes[i] = (int8_t)(rows.storage == STORAGE_INT8 ? rand() % 256 - 128 : rand() % 16 - 8);
        }
        uint8_t *steps = malloc(groups);
        for (size_t i = 0; i < groups; i++) {
            steps[i] = (uint8_t)rand();
        }
        rows.steps[r] = steps;
        rows.scales[r] = (float)rand() / (float)RAND_MAX;
        rows.data[r] = codes;
        if (rows.storage == STORAGE_FLOAT32) {
            free(codes);
            rows.data[r] = floats(columns);
        }
    }
    float *x[32], *y[32];
    for (size_t p = 0; p < positions; p++) {
        x[p] = floats(columns);
        y[p] = floats(rows.count);
    }
    KERNELS.matmul(&rows, columns, (const float *const *)x, positions, y);
    for (size_t p = 0; p < positions; p++) {
        for (size_t r = 0; r < rows.count; r++) {
            double sum = 0, scale = 0;
            for (size_t i = 0; i < columns; i++) {
                sum += weight_of(&rows, r, i) * x[p][i];
                scale += fabs(weight_of(&rows, r, i) * x[p][i]);
            }
            expect("matmul", y[p][r], sum, scale);
        }
        free(x[p]);
        free(y[p]);
    }
    for (size_t r = 0; r < rows.count; r++) {
        free((void *)rows.data[r]);
        free((void *)rows.steps[r]);
    }
}

static void elementwise(void) {
    size_t n = 1 + size_up_to(80);
    float *a = floats(2 * n), *b = floats(n), *c = floats(n), *y = malloc(2 * n * sizeof *y);
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (double)b[i] * b[i];
    }
    KERNELS.rms_norm(b, c, n, 1e-5, y);
    for (size_t i = 0; i < n; i++) {
        double expected = b[i] / sqrt(squares / (double)n + 1e-5) * c[i];
        expect("rms_norm", y[i], expected, fabs(expected));
    }
    KERNELS.rotary_embedding(a, b, c, n, y);
    for (size_t i = 0; i < n; i++) {
        expect("rotary", y[i], (double)a[i] * b[i] - (double)a[n + i] * c[i], 8);
        expect("rotary", y[n + i], (double)a[n + i] * b[i] + (double)a[i] * c[i], 8);
    }
    KERNELS.swiglu(b, c, n, y);
    for (size_t i = 0; i < n; i++) {
        double expected = b[i] / (1 + exp(-(double)b[i])) * c[i];
        expect("swiglu", y[i], expected, fabs(expected));
    }
    KERNELS.add(b, c, n, y);
    for (size_t i = 0; i < n; i++) {
        expect("add", y[i], (double)b[i] + c[i], 4);
    }
    free(a);
    free(b);
    free(c);
    free(y);
}

static struct attention start(size_t heads, size_t head_dim) {
    struct attention state = {
        .num_heads = heads,
        .head_dim = head_dim,
        .maximum = malloc(heads * sizeof(double)),
        .sum = calloc(heads, sizeof(double)),
        .values = calloc(heads * head_dim, sizeof(double)),
    };
    for (size_t h = 0; h < heads; h++) {
        state.maximum[h] = -INFINITY;
    }
    return state;
}

static void attention(void) {
    size_t heads = 1 + size_up_to(40), head_dim = 1 + size_up_to(40), keys = 1 + size_up_to(40);
    float *query = floats(heads * head_dim), *y = malloc(heads * head_dim * sizeof *y);
    float *key[41], *value[41];
    for (size_t j = 0; j < keys; j++) {
        key[j] = floats(head_dim);
        value[j] = floats(head_dim);
    }
    // Pieces, by chance in one of two states.
    const double softcap = rand() % 2 == 0 ? 0 : pow(10, rand() % 4);
    struct attention states[2] = {start(heads, head_dim), start(heads, head_dim)};
    for (size_t j = 0, count; j < keys; j += count) {
        count = 1 + size_up_to(keys - j - 1);
        KERNELS.attend(&states[rand() % 2], query, (const float *const *)key + j,
                       (const float *const *)value + j, count, 0, heads, 0.7,
                       softcap);
    }
    KERNELS.attention_combine(&states[0], &states[1]);
    KERNELS.attention_result(&states[0], y);
    for (size_t h = 0; h < heads; h++) {
        double scores[41], maximum = -INFINITY, sum = 0;
        for (size_t j = 0; j < keys; j++) {
            scores[j] = 0;
            for (size_t d = 0; d < head_dim; d++) {
                scores[j] += 0.7 * (double)query[h * head_dim + d] * key[j][d];
            }
            if (softcap != 0) {
                scores[j] = softcap * tanh(scores[j] / softcap);
            }
            maximum = fmax(maximum, scores[j]);
        }
        for (size_t j = 0; j < keys; j++) {
            sum += scores[j] = exp(scores[j] - maximum);
        }
        for (size_t d = 0; d < head_dim; d++) {
            double expected = 0;
            for (size_t j = 0; j < keys; j++) {
                expected += scores[j] / sum * value[j][d];
            }
            expect("attention", y[h * head_dim + d], expected, 2);
        }
    }
    for (size_t j = 0; j < keys; j++) {
        free(key[j]);
        free(value[j]);
    }
    for (size_t i = 0; i < 2; i++) {
        free(states[i].maximum);
        free(states[i].sum);
        free(states[i].values);
    }
    free(query);
    free(y);
}

int main(int argc, char **argv) {
    srand(argc > 1 ? (unsigned)atoi(argv[1]) : 0);
    int rounds = argc > 2 ? atoi(argv[2]) : 1000;
    for (int i = 0; i < rounds; i++) {
        matmul();
        elementwise();
        attention();
    }
    return 0;
}
