// relama_logits(row_id INTEGER, row FLOAT[], scale FLOAT, x FLOAT[][]) -> FLOAT[][]
// relama_logits(row_id INTEGER, row TINYINT[], scale FLOAT, x FLOAT[][]) -> FLOAT[][]
//
// A matrix times vectors, as an aggregate over the rows of the matrix, which are read once for
// all vectors. Each row says which one it is: 0, 1, 2 and so on, in any order.
//
//   row     [columns]
//   x       [vectors][columns]
//   result  [vectors][rows]: result[v][row_id] = scale * sum_i row[i] * x[v][i]
//
// Rows of a group with a NULL are left out. A group without rows is NULL.
//
// Memory: a group keeps its result and combines those of DuckDB's threads, from malloc: DuckDB's
// memory_limit does not count them.

#include "extension.h"

#include <stdlib.h>
#include <string.h>

static const char name[] = "relama_logits";

enum {
    ARGUMENTS = 4,
    MAX_VECTORS = 256, // vectors that are multiplied in one call
};

// The products of up to MAX_ROWS rows. Behind it, [vectors][MAX_ROWS].
struct piece {
    int32_t row_ids[MAX_ROWS];
    size_t count;
};

struct state {
    bool is_started; // a row has been seen
    size_t vectors;
    size_t count; // pieces
    size_t capacity;
    size_t rows;
    char *pieces;
};

struct arguments {
    const int32_t *row_id;
    struct lists row;
    const float *scale;
    struct lists x;
    struct lists vectors; // the elements of x
    uint64_t *validity[ARGUMENTS];
};

static size_t piece_size(size_t vectors) {
    return sizeof(struct piece) + vectors * MAX_ROWS * sizeof(float);
}

static struct piece *get_piece(const struct state *state, size_t i) {
    return (struct piece *)(state->pieces + i * piece_size(state->vectors));
}

static float *products_of(struct piece *piece) {
    return (float *)(piece + 1);
}

// Room for `count` more pieces.
static bool reserve(struct state *state, size_t count) {
    if (state->count + count <= state->capacity) {
        return true;
    }
    size_t capacity = state->capacity * 2 > state->count + count ? state->capacity * 2
                                                                 : state->count + count;
    char *pieces = realloc(state->pieces, capacity * piece_size(state->vectors));
    if (pieces == NULL) {
        return false;
    }
    state->pieces = pieces;
    state->capacity = capacity;
    return true;
}

static struct arguments view_arguments(duckdb_data_chunk input) {
    duckdb_vector vectors[ARGUMENTS];
    for (size_t i = 0; i < ARGUMENTS; i++) {
        vectors[i] = duckdb_data_chunk_get_vector(input, i);
    }
    struct arguments arguments = {
        .row_id = duckdb_vector_get_data(vectors[0]),
        .row = view_lists(vectors[1]),
        .scale = duckdb_vector_get_data(vectors[2]),
        .x = view_lists(vectors[3]),
    };
    arguments.vectors = view_lists(arguments.x.child);
    for (size_t i = 0; i < ARGUMENTS; i++) {
        arguments.validity[i] = duckdb_vector_get_validity(vectors[i]);
    }
    return arguments;
}

static bool has_null(const struct arguments *arguments, idx_t row) {
    for (size_t i = 0; i < ARGUMENTS; i++) {
        if (!is_valid(arguments->validity[i], row)) {
            return true;
        }
    }
    return false;
}

static idx_t state_size(duckdb_function_info info) {
    (void)info;
    return sizeof(struct state);
}

static void init(duckdb_function_info info, duckdb_aggregate_state state) {
    (void)info;
    *(struct state *)state = (struct state){0};
}

static void destroy(duckdb_aggregate_state *states, idx_t count) {
    for (idx_t i = 0; i < count; i++) {
        struct state *state = (struct state *)states[i];
        free(state->pieces);
        *state = (struct state){0};
    }
}

// Whether the vectors of x are whole, of the same length, and as many as the group's before.
static bool check_x(duckdb_function_info info, const struct arguments *arguments,
                    duckdb_list_entry x, struct state *state) {
    const struct lists *vectors = &arguments->vectors;
    if (state->is_started && state->vectors != x.length) {
        return fail_aggregate(info, name, "the number of vectors differs in a group");
    }
    for (idx_t v = x.offset; v < x.offset + x.length; v++) {
        if (!is_valid(vectors->validity, v) || !is_complete(vectors, v)) {
            return fail_aggregate(info, name, "x holds a NULL");
        }
        if (vectors->entries[v].length != vectors->entries[x.offset].length) {
            return fail_aggregate(info, name, "the vectors of x differ in length");
        }
    }
    state->is_started = true;
    state->vectors = x.length;
    return true;
}

static bool check_row(duckdb_function_info info, const struct arguments *arguments, idx_t row,
                      duckdb_list_entry x) {
    if (x.length == 0) {
        return true;
    }
    unsigned long long columns = arguments->vectors.entries[x.offset].length;
    unsigned long long length = arguments->row.entries[row].length;
    if (length != columns) {
        return fail_aggregate(info, name, "row has %llu elements, but x has %llu", length, columns);
    }
    if (!is_complete(&arguments->row, row)) {
        return fail_aggregate(info, name, "row holds a NULL element");
    }
    return true;
}

// Multiplies rows of a chunk that have the same x.
static void multiply(const struct weight_rows *rows, const struct lists *vectors,
                     duckdb_list_entry x, float *products) {
    for (idx_t first = 0; first < x.length; first += MAX_VECTORS) {
        size_t count = x.length - first < MAX_VECTORS ? x.length - first : MAX_VECTORS;
        const float *elements[MAX_VECTORS];
        float *y[MAX_VECTORS];
        for (size_t v = 0; v < count; v++) {
            elements[v] = floats_of(vectors, x.offset + first + v);
            y[v] = products + (first + v) * MAX_ROWS;
        }
        kernels->matmul(rows, vectors->entries[x.offset].length, elements, count, y);
    }
}

static void update(duckdb_function_info info, duckdb_data_chunk input,
                   duckdb_aggregate_state *states, enum storage storage) {
    const struct arguments arguments = view_arguments(input);
    const idx_t size = duckdb_data_chunk_get_size(input);
    const size_t element = storage == STORAGE_FLOAT32 ? sizeof(float) : sizeof(int8_t);
    for (idx_t row = 0; row < size;) {
        if (has_null(&arguments, row)) {
            row++;
            continue;
        }
        struct state *state = (struct state *)states[row];
        const idx_t first = row;
        const duckdb_list_entry x = arguments.x.entries[row];
        if (!check_x(info, &arguments, x, state)) {
            return;
        }
        if (!reserve(state, 1)) {
            fail_aggregate(info, name, "no memory for a group");
            return;
        }
        struct piece *piece = get_piece(state, state->count);
        struct weight_rows rows = {.storage = storage};
        for (; row < size && rows.count < MAX_ROWS && states[row] == states[first]; row++) {
            if (has_null(&arguments, row)) {
                continue;
            }
            if (arguments.x.entries[row].offset != x.offset ||
                arguments.x.entries[row].length != x.length) {
                break;
            }
            if (!check_row(info, &arguments, row, x)) {
                return;
            }
            piece->row_ids[rows.count] = arguments.row_id[row];
            rows.data[rows.count] = (const char *)arguments.row.data +
                                    arguments.row.entries[row].offset * element;
            rows.scales[rows.count++] = arguments.scale[row];
        }
        piece->count = rows.count;
        multiply(&rows, &arguments.vectors, x, products_of(piece));
        if (storage == STORAGE_FLOAT32) { // whose scales matmul leaves out
            for (size_t v = 0; v < x.length; v++) {
                for (size_t r = 0; r < rows.count; r++) {
                    products_of(piece)[v * MAX_ROWS + r] *= rows.scales[r];
                }
            }
        }
        state->rows += rows.count;
        state->count++;
    }
}

static void update_float32(duckdb_function_info info, duckdb_data_chunk input,
                           duckdb_aggregate_state *states) {
    update(info, input, states, STORAGE_FLOAT32);
}

static void update_int8(duckdb_function_info info, duckdb_data_chunk input,
                        duckdb_aggregate_state *states) {
    update(info, input, states, STORAGE_INT8);
}

static void combine(duckdb_function_info info, duckdb_aggregate_state *sources,
                    duckdb_aggregate_state *targets, idx_t count) {
    for (idx_t i = 0; i < count; i++) {
        const struct state *source = (const struct state *)sources[i];
        struct state *target = (struct state *)targets[i];
        if (!source->is_started) {
            continue;
        }
        if (!target->is_started) {
            target->is_started = true;
            target->vectors = source->vectors;
        }
        if (target->vectors != source->vectors) {
            fail_aggregate(info, name, "the number of vectors differs in a group");
            return;
        }
        if (!reserve(target, source->count)) {
            fail_aggregate(info, name, "no memory for a group");
            return;
        }
        if (source->count > 0) {
            memcpy(get_piece(target, target->count), source->pieces,
                   source->count * piece_size(source->vectors));
        }
        target->count += source->count;
        target->rows += source->rows;
    }
}

// Puts the products where they belong: [vectors][rows]. False where a row is there twice or
// missing.
static bool place(const struct state *state, float *result, uint8_t *seen) {
    for (size_t i = 0; i < state->count; i++) {
        struct piece *piece = get_piece(state, i);
        for (size_t r = 0; r < piece->count; r++) {
            int32_t row_id = piece->row_ids[r];
            if (row_id < 0 || (size_t)row_id >= state->rows || seen[row_id]) {
                return false;
            }
            seen[row_id] = 1;
        }
        for (size_t v = 0; v < state->vectors; v++) {
            for (size_t r = 0; r < piece->count; r++) {
                result[v * state->rows + (size_t)piece->row_ids[r]] =
                    products_of(piece)[v * MAX_ROWS + r];
            }
        }
    }
    return true;
}

static void finalize(duckdb_function_info info, duckdb_aggregate_state *states,
                     duckdb_vector result, idx_t count, idx_t offset) {
    duckdb_vector vectors = duckdb_list_vector_get_child(result);
    idx_t size = duckdb_list_vector_get_size(result);
    idx_t elements = duckdb_list_vector_get_size(vectors);
    for (idx_t i = 0; i < count; i++) {
        const struct state *state = (const struct state *)states[i];
        if (!state->is_started) {
            set_null(result, offset + i);
            continue;
        }
        uint8_t *seen = calloc(state->rows, 1);
        idx_t first = elements;
        bool has_memory =
            seen != NULL &&
            duckdb_list_vector_reserve(result, size + state->vectors) != DuckDBError &&
            duckdb_list_vector_set_size(result, size + state->vectors) != DuckDBError;
        for (size_t v = 0; has_memory && v < state->vectors; v++) {
            has_memory = append_list(vectors, size + v, state->rows, &elements) != NULL;
        }
        if (!has_memory) {
            free(seen);
            fail_aggregate(info, name, "no memory for the result");
            return;
        }
        duckdb_list_entry *entries = duckdb_vector_get_data(result);
        entries[offset + i] = (duckdb_list_entry){.offset = size, .length = state->vectors};
        size += state->vectors;
        float *data = duckdb_vector_get_data(duckdb_list_vector_get_child(vectors));
        bool is_whole = place(state, data + first, seen);
        free(seen);
        if (!is_whole) {
            fail_aggregate(info, name, "the row_id of %llu rows are not the numbers from 0 on",
                           (unsigned long long)state->rows);
            return;
        }
    }
}

static bool add_to_set(duckdb_aggregate_function_set set, duckdb_type element,
                       duckdb_aggregate_update_t update_of_storage) {
    duckdb_logical_type vector = list_type(DUCKDB_TYPE_FLOAT);
    duckdb_logical_type parameters[ARGUMENTS] = {
        duckdb_create_logical_type(DUCKDB_TYPE_INTEGER), list_type(element),
        duckdb_create_logical_type(DUCKDB_TYPE_FLOAT), duckdb_create_list_type(vector)};
    duckdb_aggregate_function function = duckdb_create_aggregate_function();
    duckdb_aggregate_function_set_name(function, name);
    for (size_t i = 0; i < ARGUMENTS; i++) {
        duckdb_aggregate_function_add_parameter(function, parameters[i]);
    }
    duckdb_aggregate_function_set_return_type(function, parameters[ARGUMENTS - 1]);
    duckdb_aggregate_function_set_functions(function, state_size, init, update_of_storage,
                                            combine, finalize);
    duckdb_aggregate_function_set_destructor(function, destroy);
    duckdb_aggregate_function_set_special_handling(function);
    duckdb_state state = duckdb_add_aggregate_function_to_set(set, function);
    duckdb_destroy_aggregate_function(&function);
    for (size_t i = 0; i < ARGUMENTS; i++) {
        duckdb_destroy_logical_type(&parameters[i]);
    }
    duckdb_destroy_logical_type(&vector);
    return state == DuckDBSuccess;
}

bool register_logits(duckdb_connection connection) {
    duckdb_aggregate_function_set set = duckdb_create_aggregate_function_set(name);
    bool registered = add_to_set(set, DUCKDB_TYPE_FLOAT, update_float32) &&
                      add_to_set(set, DUCKDB_TYPE_TINYINT, update_int8) &&
                      duckdb_register_aggregate_function_set(connection, set) == DuckDBSuccess;
    duckdb_destroy_aggregate_function_set(&set);
    return registered;
}
