// What the functions share: views of DuckDB's vectors, and errors.

#pragma once

#define DUCKDB_EXTENSION_NAME relama_kernels
#include "duckdb_extension.h"

#include "kernels.h"

DUCKDB_EXTENSION_EXTERN

// The kernels of the best level that this processor runs. Set when the extension is loaded.
extern const struct kernels *kernels;

bool register_linear(duckdb_connection connection);
bool register_elementwise(duckdb_connection connection);
bool register_attention(duckdb_connection connection);
bool register_logits(duckdb_connection connection);

// A vector of lists. Row i holds the elements of `child` from entries[i].offset on. DuckDB
// gives no promise about the order of the entries, nor that they differ: a constant list
// comes as the same entry for every row.
struct lists {
    const duckdb_list_entry *entries;
    uint64_t *validity; // null where every row is valid
    duckdb_vector child;
    uint64_t *child_validity;
    const void *data; // of the child; of no meaning for a child of structs or lists
};

struct lists view_lists(duckdb_vector vector);

static inline bool is_valid(uint64_t *validity, idx_t row) {
    return validity == NULL || (validity[row / 64] >> (row % 64) & 1);
}

bool all_valid(uint64_t *validity, idx_t offset, idx_t count);

// Whether the vector of a row has no NULL among its elements.
static inline bool is_complete(const struct lists *lists, idx_t row) {
    return all_valid(lists->child_validity, lists->entries[row].offset,
                     lists->entries[row].length);
}

static inline const float *floats_of(const struct lists *lists, idx_t row) {
    return (const float *)lists->data + lists->entries[row].offset;
}

void set_null(duckdb_vector vector, idx_t row);

// Ends the statement with an error, `name: ` and the formatted sentence. Always false.
bool fail_scalar(duckdb_function_info info, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool fail_aggregate(duckdb_function_info info, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Makes room for `length` more elements in a vector of lists of FLOAT, whose size is *size.
// Null where DuckDB has no memory for them.
float *append_list(duckdb_vector vector, idx_t row, idx_t length, idx_t *size);

// FLOAT[], TINYINT[] and the like. The caller destroys it.
duckdb_logical_type list_type(duckdb_type element);

// A scalar function that takes the types, which it destroys.
duckdb_scalar_function scalar_function(const char *name, duckdb_type element_of_result,
                                       bool returns_list, duckdb_scalar_function_t function,
                                       duckdb_logical_type *parameters, size_t count);
