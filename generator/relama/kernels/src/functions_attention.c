// relama_attention(query FLOAT[], query_position INTEGER, kv_head INTEGER, key_position INTEGER,
//                  key FLOAT[], value FLOAT[], num_kv_heads INTEGER, scaling DOUBLE) -> FLOAT[]
//
// Causal attention of grouped queries, as an aggregate over the rows of a cache, each of which
// holds one key-value head of one position. One group is one query.
//
//   query       [num_heads][head_dim], num_heads = g * num_kv_heads
//   key, value  [head_dim]
//   result      [num_heads][head_dim]
//
// The query heads kv_head * g to kv_head * g + g - 1 share the key and the value of a row:
//
//   result[h] = sum over keys of softmax(scaling * query[h] . key) * value
//
// Keys behind the query, key_position > query_position, are left out, and so are rows with
// a NULL. A group without keys is NULL. A group keeps num_heads * (head_dim + 2) doubles.

#include "extension.h"

#include <math.h>
#include <stdlib.h>

static const char name[] = "relama_attention";

enum { MAX_CACHE_ROWS = 512 }; // rows that are taken in together

struct arguments {
    struct lists query;
    struct lists key;
    struct lists value;
    const int32_t *query_position;
    const int32_t *kv_head;
    const int32_t *key_position;
    const int32_t *num_kv_heads;
    const double *scaling;
    uint64_t *validity[8];
};

static struct arguments view_arguments(duckdb_data_chunk input) {
    struct arguments arguments = {
        .query = view_lists(duckdb_data_chunk_get_vector(input, 0)),
        .query_position = duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 1)),
        .kv_head = duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 2)),
        .key_position = duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 3)),
        .key = view_lists(duckdb_data_chunk_get_vector(input, 4)),
        .value = view_lists(duckdb_data_chunk_get_vector(input, 5)),
        .num_kv_heads = duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 6)),
        .scaling = duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 7)),
    };
    for (size_t i = 0; i < 8; i++) {
        arguments.validity[i] =
            duckdb_vector_get_validity(duckdb_data_chunk_get_vector(input, i));
    }
    return arguments;
}

// Whether the query sees the key.
static bool is_seen(const struct arguments *arguments, idx_t row) {
    for (size_t i = 0; i < 8; i++) {
        if (!is_valid(arguments->validity[i], row)) {
            return false;
        }
    }
    return arguments->key_position[row] <= arguments->query_position[row];
}

static idx_t state_size(duckdb_function_info info) {
    (void)info;
    return sizeof(struct attention);
}

static void init(duckdb_function_info info, duckdb_aggregate_state state) {
    (void)info;
    *(struct attention *)state = (struct attention){0};
}

static void destroy(duckdb_aggregate_state *states, idx_t count) {
    for (idx_t i = 0; i < count; i++) {
        struct attention *state = (struct attention *)states[i];
        free(state->maximum);
        *state = (struct attention){0};
    }
}

// An empty state gets its memory, in one piece.
static bool start(struct attention *state, size_t num_heads, size_t head_dim) {
    double *memory = calloc(num_heads * (head_dim + 2), sizeof *memory);
    if (memory == NULL) {
        return false;
    }
    *state = (struct attention){
        .num_heads = num_heads,
        .head_dim = head_dim,
        .maximum = memory,
        .sum = memory + num_heads,
        .values = memory + 2 * num_heads,
    };
    for (size_t h = 0; h < num_heads; h++) {
        state->maximum[h] = -INFINITY;
    }
    return true;
}

// Whether the vectors of a row fit together and fit what the group has seen before.
static bool check(duckdb_function_info info, const struct arguments *arguments, idx_t row,
                  const struct attention *state) {
    idx_t query = arguments->query.entries[row].length;
    idx_t key = arguments->key.entries[row].length;
    idx_t value = arguments->value.entries[row].length;
    int32_t num_kv_heads = arguments->num_kv_heads[row];
    int32_t kv_head = arguments->kv_head[row];
    if (num_kv_heads <= 0 || kv_head < 0 || kv_head >= num_kv_heads) {
        return fail_aggregate(info, name, "there is no kv_head %d of %d", kv_head, num_kv_heads);
    }
    if (key != value) {
        return fail_aggregate(info, name,
                              "key has %llu elements, value %llu; they must be as many",
                              (unsigned long long)key, (unsigned long long)value);
    }
    if (key == 0 || query == 0 || query % (key * (idx_t)num_kv_heads) != 0) {
        return fail_aggregate(info, name,
                              "query has %llu elements, key %llu, num_kv_heads is %d; query must "
                              "be a multiple of all keys of a position",
                              (unsigned long long)query, (unsigned long long)key, num_kv_heads);
    }
    if (state->num_heads != 0 &&
        (state->head_dim != key || state->num_heads * state->head_dim != query)) {
        return fail_aggregate(info, name, "the length of query or key differs in a group");
    }
    if (!is_complete(&arguments->query, row) || !is_complete(&arguments->key, row) ||
        !is_complete(&arguments->value, row)) {
        return fail_aggregate(info, name, "query, key or value holds a NULL element");
    }
    return true;
}

static bool same_query(const struct arguments *arguments, idx_t a, idx_t b) {
    return arguments->query.entries[a].offset == arguments->query.entries[b].offset &&
           arguments->key.entries[a].length == arguments->key.entries[b].length &&
           arguments->num_kv_heads[a] == arguments->num_kv_heads[b] &&
           arguments->scaling[a] == arguments->scaling[b];
}

// Takes in the rows from `first` up to `last`, which have the same query, head by head:
// the keys of one key-value head are handed over together.
static void take_in(struct attention *state, const struct arguments *arguments, idx_t first,
                    idx_t last) {
    const size_t num_kv_heads = (size_t)arguments->num_kv_heads[first];
    const size_t heads = state->num_heads / num_kv_heads;
    const float *query = floats_of(&arguments->query, first);
    const float *keys[MAX_CACHE_ROWS];
    const float *values[MAX_CACHE_ROWS];
    for (size_t kv_head = 0; kv_head < num_kv_heads; kv_head++) {
        size_t count = 0;
        for (idx_t row = first; row < last; row++) {
            if (is_seen(arguments, row) && (size_t)arguments->kv_head[row] == kv_head) {
                keys[count] = floats_of(&arguments->key, row);
                values[count] = floats_of(&arguments->value, row);
                count++;
            }
        }
        kernels->attend(state, query, keys, values, count, kv_head * heads,
                        (kv_head + 1) * heads, arguments->scaling[first]);
    }
}

static void update(duckdb_function_info info, duckdb_data_chunk input,
                   duckdb_aggregate_state *states) {
    const struct arguments arguments = view_arguments(input);
    const idx_t size = duckdb_data_chunk_get_size(input);
    for (idx_t row = 0; row < size;) {
        if (!is_seen(&arguments, row)) {
            row++;
            continue;
        }
        struct attention *state = (struct attention *)states[row];
        const idx_t first = row;
        // The rows that follow with the same query.
        for (; row < size && row - first < MAX_CACHE_ROWS && states[row] == states[first]; row++) {
            if (!is_seen(&arguments, row)) {
                continue;
            }
            if (!same_query(&arguments, row, first)) {
                break;
            }
            if (!check(info, &arguments, row, state)) {
                return;
            }
        }
        const size_t head_dim = arguments.key.entries[first].length;
        if (state->num_heads == 0 &&
            !start(state, arguments.query.entries[first].length / head_dim, head_dim)) {
            fail_aggregate(info, name, "no memory for a group");
            return;
        }
        take_in(state, &arguments, first, row);
    }
}

static void combine(duckdb_function_info info, duckdb_aggregate_state *sources,
                    duckdb_aggregate_state *targets, idx_t count) {
    for (idx_t i = 0; i < count; i++) {
        const struct attention *source = (const struct attention *)sources[i];
        struct attention *target = (struct attention *)targets[i];
        if (source->num_heads == 0) {
            continue;
        }
        if (target->num_heads == 0 && !start(target, source->num_heads, source->head_dim)) {
            fail_aggregate(info, name, "no memory for a group");
            return;
        }
        if (target->num_heads != source->num_heads || target->head_dim != source->head_dim) {
            fail_aggregate(info, name, "the length of query or key differs in a group");
            return;
        }
        kernels->attention_combine(target, source);
    }
}

static void finalize(duckdb_function_info info, duckdb_aggregate_state *states,
                     duckdb_vector result, idx_t count, idx_t offset) {
    idx_t size = duckdb_list_vector_get_size(result);
    for (idx_t i = 0; i < count; i++) {
        const struct attention *state = (const struct attention *)states[i];
        if (state->num_heads == 0) {
            set_null(result, offset + i);
            continue;
        }
        float *y = append_list(result, offset + i, state->num_heads * state->head_dim, &size);
        if (y == NULL) {
            fail_aggregate(info, name, "no memory for the result");
            return;
        }
        kernels->attention_result(state, y);
    }
}

bool register_attention(duckdb_connection connection) {
    duckdb_logical_type vector = list_type(DUCKDB_TYPE_FLOAT);
    duckdb_logical_type integer = duckdb_create_logical_type(DUCKDB_TYPE_INTEGER);
    duckdb_logical_type real = duckdb_create_logical_type(DUCKDB_TYPE_DOUBLE);
    duckdb_logical_type parameters[] = {vector, integer, integer, integer,
                                        vector, vector,  integer, real};

    duckdb_aggregate_function function = duckdb_create_aggregate_function();
    duckdb_aggregate_function_set_name(function, name);
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        duckdb_aggregate_function_add_parameter(function, parameters[i]);
    }
    duckdb_aggregate_function_set_return_type(function, vector);
    duckdb_aggregate_function_set_functions(function, state_size, init, update, combine,
                                            finalize);
    duckdb_aggregate_function_set_destructor(function, destroy);
    duckdb_aggregate_function_set_special_handling(function);
    duckdb_state state = duckdb_register_aggregate_function(connection, function);

    duckdb_destroy_aggregate_function(&function);
    duckdb_destroy_logical_type(&vector);
    duckdb_destroy_logical_type(&integer);
    duckdb_destroy_logical_type(&real);
    return state == DuckDBSuccess;
}
