// Linear layers: rows of a matrix times vectors.

#include "simd.h"

enum {
    // A tile is computed in registers: ROWS rows of the matrix, or one, times up to POSITIONS
    // vectors.
    ROWS = 4,
#if LANES == 16 || defined(__aarch64__)
    POSITIONS = 6,
#else
    POSITIONS = 2,
#endif
    // Columns are taken in panels, so that the tile's rows and vectors stay in the first cache.
    PANEL = 512,
};

// LANES weights of a row, or the `count` ones that are left.
INLINE vfloat load_weights(enum storage storage, const void *row, size_t i, size_t count) {
    if (storage == STORAGE_INT8) {
        const int8_t *p = (const int8_t *)row + i;
        return count == LANES ? load_int8(p) : load_int8_first(p, count);
    }
    const float *p = (const float *)row + i;
    return count == LANES ? load(p) : load_first(p, count);
}

// sums[p][r] += weights of LANES columns, or of `count`, times the same elements of x[p].
INLINE void add_columns(enum storage storage, const size_t num_rows, const size_t num_positions,
                        const void *const *rows, const float *const *x, size_t start, size_t i,
                        size_t count, vfloat sums[POSITIONS][ROWS]) {
    vfloat weights[ROWS];
    for (size_t r = 0; r < num_rows; r++) {
        weights[r] = load_weights(storage, rows[r], i, count);
    }
    for (size_t p = 0; p < num_positions; p++) {
        const float *element = x[p] + start + i;
        vfloat elements = count == LANES ? load(element) : load_first(element, count);
        for (size_t r = 0; r < num_rows; r++) {
            sums[p][r] += weights[r] * elements;
        }
    }
}

// sums[p][r] = rows[r] . (x[p] + start) over `columns` elements, scales aside. `storage` and
// the numbers of rows and positions are constants at the call, so that the loops unroll.
INLINE void tile(enum storage storage, const size_t num_rows, const size_t num_positions,
                 const void *const *rows, const float *const *x, size_t start, size_t columns,
                 float sums[POSITIONS][ROWS]) {
    vfloat lanes[POSITIONS][ROWS] = {{{0}}};
    size_t i = 0;
    for (; i + LANES <= columns; i += LANES) {
        add_columns(storage, num_rows, num_positions, rows, x, start, i, LANES, lanes);
    }
    if (i < columns) {
        add_columns(storage, num_rows, num_positions, rows, x, start, i, columns - i, lanes);
    }
    for (size_t p = 0; p < num_positions; p++) {
        if (num_rows == 4) {
            sum_lanes_of_four(lanes[p], sums[p]);
        } else {
            sums[p][0] = sum_lanes(lanes[p][0]);
        }
    }
}

INLINE void tile_of_rows(enum storage storage, const size_t num_rows, size_t num_positions,
                         const void *const *rows, const float *const *x, size_t start,
                         size_t columns, float sums[POSITIONS][ROWS]) {
    switch (num_positions) {
    case 1: tile(storage, num_rows, 1, rows, x, start, columns, sums); break;
    case 2: tile(storage, num_rows, 2, rows, x, start, columns, sums); break;
#if LANES == 16 || defined(__aarch64__)
    case 3: tile(storage, num_rows, 3, rows, x, start, columns, sums); break;
    case 4: tile(storage, num_rows, 4, rows, x, start, columns, sums); break;
    case 5: tile(storage, num_rows, 5, rows, x, start, columns, sums); break;
    case 6: tile(storage, num_rows, 6, rows, x, start, columns, sums); break;
#endif
    }
}

static void tile_any(enum storage storage, size_t num_rows, size_t num_positions,
                     const void *const *rows, const float *const *x, size_t start,
                     size_t columns, float sums[POSITIONS][ROWS]) {
    // A single row is not filled up to four: that is how an output head may be called.
    if (storage == STORAGE_INT8) {
        if (num_rows == 1) {
            tile_of_rows(STORAGE_INT8, 1, num_positions, rows, x, start, columns, sums);
        } else {
            tile_of_rows(STORAGE_INT8, ROWS, num_positions, rows, x, start, columns, sums);
        }
    } else {
        if (num_rows == 1) {
            tile_of_rows(STORAGE_FLOAT32, 1, num_positions, rows, x, start, columns, sums);
        } else {
            tile_of_rows(STORAGE_FLOAT32, ROWS, num_positions, rows, x, start, columns, sums);
        }
    }
}

static void decode_int8(const int8_t *row, size_t columns, float *out) {
    size_t i = 0;
    for (; i + LANES <= columns; i += LANES) {
        store(out + i, load_int8(row + i));
    }
    for (; i < columns; i++) {
        out[i] = row[i];
    }
}

// All but the row's scale, which is exact in float32: (code - zero point) * step.
static void decode_int4(const int8_t *groups, const uint8_t *steps, size_t columns, float *out) {
    for (size_t g = 0; g * INT4_GROUP < columns; g++) {
        const int8_t *codes = groups + g * INT4_GROUP_BYTES;
        float zero_point = (float)codes[32] + (float)codes[33] / 16;
        float step = steps[g];
        size_t left = columns - g * INT4_GROUP;
        if (left >= INT4_GROUP) {
            for (size_t i = 0; i < INT4_GROUP; i += LANES) {
                store(out + g * INT4_GROUP + i, (load_int8(codes + i) - zero_point) * step);
            }
        } else {
            for (size_t i = 0; i < left; i++) {
                out[g * INT4_GROUP + i] = ((float)codes[i] - zero_point) * step;
            }
        }
    }
}

// y[p][r] = rows[r] . x[p]. The rows of a tile are converted to float32 once for all vectors,
// or on the way into the registers where one tile takes all vectors.
void KERNEL(matmul)(const struct weight_rows *rows, size_t columns, const float *const *x,
                    size_t positions, float *const *y) {
    float decoded[ROWS][PANEL] __attribute__((aligned(64)));
    for (size_t first = 0; first < rows->count; first += ROWS) {
        size_t num_rows = rows->count - first < ROWS ? rows->count - first : ROWS;
        size_t start = 0;
        do {
            size_t width = columns - start < PANEL ? columns - start : PANEL;
            enum storage storage = rows->storage;
            const void *pointers[ROWS];
            for (size_t r = 0; r < ROWS; r++) {
                // A tile that is not full repeats its first row, and drops the results.
                size_t row = first + (r < num_rows ? r : 0);
                if (rows->storage == STORAGE_FLOAT32) {
                    pointers[r] = (const float *)rows->data[row] + start;
                } else if (rows->storage == STORAGE_INT8 && positions <= POSITIONS) {
                    pointers[r] = (const int8_t *)rows->data[row] + start;
                } else if (r >= num_rows) {
                    pointers[r] = decoded[0];
                } else if (rows->storage == STORAGE_INT8) {
                    decode_int8((const int8_t *)rows->data[row] + start, width, decoded[r]);
                    pointers[r] = decoded[r];
                    storage = STORAGE_FLOAT32;
                } else {
                    size_t group = start / INT4_GROUP;
                    decode_int4((const int8_t *)rows->data[row] + group * INT4_GROUP_BYTES,
                                rows->steps[row] + group, width, decoded[r]);
                    pointers[r] = decoded[r];
                    storage = STORAGE_FLOAT32;
                }
            }
            for (size_t p = 0; p < positions; p += POSITIONS) {
                size_t count = positions - p < POSITIONS ? positions - p : POSITIONS;
                float sums[POSITIONS][ROWS];
                tile_any(storage, num_rows, count, pointers, x + p, start, width, sums);
                for (size_t q = 0; q < count; q++) {
                    float *out = y[p + q] + first;
                    for (size_t r = 0; r < num_rows; r++) {
                        out[r] = start == 0 ? sums[q][r] : out[r] + sums[q][r];
                    }
                }
            }
            start += width;
        } while (start < columns);
        if (rows->storage != STORAGE_FLOAT32) {
            for (size_t p = 0; p < positions; p++) {
                for (size_t r = 0; r < num_rows; r++) {
                    y[p][first + r] *= rows->scales[first + r];
                }
            }
        }
    }
}
