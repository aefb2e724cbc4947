// relama's kernels as functions of DuckDB: the entry point and what the functions share.
//
// Only the part of DuckDB's C API that is stable since 1.2.0 is used, so that one binary
// loads in every later version.

#include "extension.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct kernels *kernels;

// The levels that this processor runs, best first; RELAMA_KERNELS_LEVEL names the best one
// to be used.
static const struct kernels *choose_kernels(void) {
    const struct kernels *runnable[3];
    size_t count = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        runnable[count++] = &kernels_avx512;
    }
    if (avx2) {
        runnable[count++] = &kernels_avx2;
    }
#endif
    runnable[count++] = &kernels_baseline;

    const char *wanted = getenv("RELAMA_KERNELS_LEVEL");
    for (size_t i = 0; wanted != NULL && i < count; i++) {
        if (strcmp(runnable[i]->level, wanted) == 0) {
            return runnable[i];
        }
    }
    return runnable[0];
}

struct lists view_lists(duckdb_vector vector) {
    duckdb_vector child = duckdb_list_vector_get_child(vector);
    return (struct lists){
        .entries = duckdb_vector_get_data(vector),
        .validity = duckdb_vector_get_validity(vector),
        .child = child,
        .child_validity = duckdb_vector_get_validity(child),
        .data = duckdb_vector_get_data(child),
    };
}

bool all_valid(uint64_t *validity, idx_t offset, idx_t count) {
    if (validity == NULL) {
        return true;
    }
    for (idx_t i = offset; i < offset + count;) {
        if (i % 64 == 0 && i + 64 <= offset + count) {
            if (validity[i / 64] != UINT64_MAX) {
                return false;
            }
            i += 64;
        } else {
            if (!is_valid(validity, i)) {
                return false;
            }
            i++;
        }
    }
    return true;
}

void set_null(duckdb_vector vector, idx_t row) {
    duckdb_vector_ensure_validity_writable(vector);
    duckdb_validity_set_row_invalid(duckdb_vector_get_validity(vector), row);
}

#define MESSAGE_LENGTH 512

static void format_message(char *message, const char *name, const char *format,
                           va_list arguments) {
    int length = snprintf(message, MESSAGE_LENGTH, "%s: ", name);
    vsnprintf(message + length, MESSAGE_LENGTH - (size_t)length, format, arguments);
}

bool fail_scalar(duckdb_function_info info, const char *name, const char *format, ...) {
    char message[MESSAGE_LENGTH];
    va_list arguments;
    va_start(arguments, format);
    format_message(message, name, format, arguments);
    va_end(arguments);
    duckdb_scalar_function_set_error(info, message);
    return false;
}

bool fail_aggregate(duckdb_function_info info, const char *name, const char *format, ...) {
    char message[MESSAGE_LENGTH];
    va_list arguments;
    va_start(arguments, format);
    format_message(message, name, format, arguments);
    va_end(arguments);
    duckdb_aggregate_function_set_error(info, message);
    return false;
}

float *append_list(duckdb_vector vector, idx_t row, idx_t length, idx_t *size) {
    if (duckdb_list_vector_reserve(vector, *size + length) == DuckDBError ||
        duckdb_list_vector_set_size(vector, *size + length) == DuckDBError) {
        return NULL;
    }
    duckdb_list_entry *entries = duckdb_vector_get_data(vector);
    entries[row] = (duckdb_list_entry){.offset = *size, .length = length};
    float *data = duckdb_vector_get_data(duckdb_list_vector_get_child(vector));
    *size += length;
    return data + entries[row].offset;
}

duckdb_logical_type list_type(duckdb_type element) {
    duckdb_logical_type child = duckdb_create_logical_type(element);
    duckdb_logical_type list = duckdb_create_list_type(child);
    duckdb_destroy_logical_type(&child);
    return list;
}

duckdb_scalar_function scalar_function(const char *name, duckdb_type element_of_result,
                                       bool returns_list, duckdb_scalar_function_t function,
                                       duckdb_logical_type *parameters, size_t count) {
    duckdb_scalar_function result = duckdb_create_scalar_function();
    duckdb_scalar_function_set_name(result, name);
    for (size_t i = 0; i < count; i++) {
        duckdb_scalar_function_add_parameter(result, parameters[i]);
        duckdb_destroy_logical_type(&parameters[i]);
    }
    duckdb_logical_type type = returns_list ? list_type(element_of_result)
                                            : duckdb_create_logical_type(element_of_result);
    duckdb_scalar_function_set_return_type(result, type);
    duckdb_destroy_logical_type(&type);
    duckdb_scalar_function_set_function(result, function);
    return result;
}

// relama_kernels_level() -> VARCHAR: the instructions in use, baseline, avx2 or avx512.
static void kernels_level(duckdb_function_info info, duckdb_data_chunk input,
                          duckdb_vector output) {
    (void)info;
    for (idx_t row = 0; row < duckdb_data_chunk_get_size(input); row++) {
        duckdb_vector_assign_string_element(output, row, kernels->level);
    }
}

static bool register_level(duckdb_connection connection) {
    duckdb_scalar_function function = scalar_function("relama_kernels_level", DUCKDB_TYPE_VARCHAR,
                                                      false, kernels_level, NULL, 0);
    duckdb_state state = duckdb_register_scalar_function(connection, function);
    duckdb_destroy_scalar_function(&function);
    return state == DuckDBSuccess;
}

DUCKDB_EXTENSION_ENTRYPOINT(duckdb_connection connection, duckdb_extension_info info,
                            struct duckdb_extension_access *access) {
    kernels = choose_kernels();
    if (!register_linear(connection) || !register_elementwise(connection) ||
        !register_attention(connection) || !register_logits(connection) ||
        !register_level(connection)) {
        access->set_error(info, "relama_kernels: DuckDB did not take the functions");
        return false;
    }
    return true;
}
