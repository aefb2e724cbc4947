// relama_attention(query FLOAT[], query_position INTEGER, kv_head INTEGER, key_position INTEGER,
//                  key FLOAT[], value FLOAT[], num_kv_heads INTEGER, scaling DOUBLE
//                  [, softcap DOUBLE]) -> FLOAT[]
//
// Causal attention of grouped queries, as an aggregate over the rows of a KV cache: one group is
// one query. A row of the cache is one key-value head of one position.
//
//   query       [num_heads][head_dim]
//   key, value  [head_dim]
//   result      [num_heads][head_dim]
//
// Head h attends with the keys and values of kv_head = h / (num_heads / num_kv_heads):
//
//   result[h] = sum over keys of softmax(score[h]) * value,  score[h] = scaling * query[h] . key
//
// With a softcap, a score is softcap * tanh(score / softcap): none is further from 0 than it.
//
// Keys behind the query, key_position > query_position, are left out, and so are rows with
// a NULL. A group without keys is NULL.
//
// Memory: a group keeps num_heads * (head_dim + 2) doubles, however many keys it sees. Each of
// DuckDB's threads has groups of its own until they are combined, so a statement keeps at most
// threads * queries of them, from malloc: DuckDB's memory_limit does not count them.

#include "extension.h"

#include <math.h>
#include <stdlib.h>

static const char name[] = "relama_attention";

enum {
    ARGUMENTS = 9, // the last may be left out
    MAX_CACHE_ROWS = 512, // rows that are taken in together
};

struct arguments {
    struct lists query;
    struct lists key;
    struct lists value;
    const int32_t *query_position;
    const int32_t *key_position;
    const int32_t *kv_head;
    const int32_t *num_kv_heads;
    const double *scaling;
    const double *softcap; // null where there is none
    size_t count;
    uint64_t *validity[ARGUMENTS];
};

static struct arguments view_arguments(duckdb_data_chunk input) {
    duckdb_vector vectors[ARGUMENTS];
    const size_t count = duckdb_data_chunk_get_column_count(input);
    for (size_t i = 0; i < count; i++) {
        vectors[i] = duckdb_data_chunk_get_vector(input, i);
    }
    struct arguments arguments = {
        .query = view_lists(vectors[0]),
        .query_position = duckdb_vector_get_data(vectors[1]),
        .kv_head = duckdb_vector_get_data(vectors[2]),
        .key_position = duckdb_vector_get_data(vectors[3]),
        .key = view_lists(vectors[4]),
        .value = view_lists(vectors[5]),
        .num_kv_heads = duckdb_vector_get_data(vectors[6]),
        .scaling = duckdb_vector_get_data(vectors[7]),
        .softcap = count == ARGUMENTS ? duckdb_vector_get_data(vectors[8]) : NULL,
        .count = count,
    };
    for (size_t i = 0; i < count; i++) {
        arguments.validity[i] = duckdb_vector_get_validity(vectors[i]);
    }
    return arguments;
}

// Whether the query sees the key.
static bool is_seen(const struct arguments *arguments, idx_t row) {
    for (size_t i = 0; i < arguments->count; i++) {
        if (!is_valid(arguments->validity[i], row)) {
            return false;
        }
    }
    return arguments->key_position[row] <= arguments->query_position[row];
}

// 0 where there is none.
static double softcap_of(const struct arguments *arguments, idx_t row) {
    return arguments->softcap == NULL ? 0 : arguments->softcap[row];
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
    unsigned long long query = arguments->query.entries[row].length;
    unsigned long long key = arguments->key.entries[row].length;
    unsigned long long value = arguments->value.entries[row].length;
    int32_t kv_head = arguments->kv_head[row];
    int32_t num_kv_heads = arguments->num_kv_heads[row];
    if (kv_head < 0 || kv_head >= num_kv_heads) {
        return fail_aggregate(info, name, "there is no kv_head %d of %d", kv_head, num_kv_heads);
    }
    if (key != value) {
        return fail_aggregate(info, name,
                              "key has %llu elements, value %llu; they must be as many", key,
                              value);
    }
    if (key == 0 || query == 0 || query % (key * (unsigned)num_kv_heads) != 0) {
        return fail_aggregate(info, name,
                              "query has %llu elements, key %llu, num_kv_heads is %d; query must "
                              "be a multiple of the keys of all key-value heads",
                              query, key, num_kv_heads);
    }
    if (arguments->softcap != NULL &&
        !(arguments->softcap[row] > 0 && isfinite(arguments->softcap[row]))) {
        return fail_aggregate(info, name, "softcap is %g; it must be a number above 0",
                              arguments->softcap[row]);
    }
    if (state->num_heads != 0 &&
        (state->head_dim != key || state->num_heads * state->head_dim != query)) {
        return fail_aggregate(info, name, "the length of key or query differs in a group");
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
           arguments->scaling[a] == arguments->scaling[b] &&
           softcap_of(arguments, a) == softcap_of(arguments, b);
}

// Takes in rows of the chunk that have the same query, one key-value head after the other.
static void take_in(struct attention *state, const struct arguments *arguments,
                    const uint16_t *rows, size_t num_rows) {
    const idx_t first = rows[0];
    const size_t num_kv_heads = (size_t)arguments->num_kv_heads[first];
    const size_t heads = state->num_heads / num_kv_heads;
    const float *keys[MAX_CACHE_ROWS];
    const float *values[MAX_CACHE_ROWS];
    for (size_t kv_head = 0; kv_head < num_kv_heads; kv_head++) {
        size_t count = 0;
        for (size_t i = 0; i < num_rows; i++) {
            if ((size_t)arguments->kv_head[rows[i]] == kv_head) {
                keys[count] = floats_of(&arguments->key, rows[i]);
                values[count] = floats_of(&arguments->value, rows[i]);
                count++;
            }
        }
        kernels->attend(state, floats_of(&arguments->query, first), keys, values, count,
                        kv_head * heads, (kv_head + 1) * heads, arguments->scaling[first],
                        softcap_of(arguments, first));
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
        uint16_t rows[MAX_CACHE_ROWS]; // a chunk has 2,048 rows
        size_t count = 0;
        const idx_t first = row;
        for (; row < size && count < MAX_CACHE_ROWS && states[row] == states[first]; row++) {
            if (!is_seen(&arguments, row)) {
                continue;
            }
            if (!same_query(&arguments, row, first)) {
                break;
            }
            if (!check(info, &arguments, row, state)) {
                return;
            }
            rows[count++] = (uint16_t)row;
        }
        const size_t head_dim = arguments.key.entries[first].length;
        if (state->num_heads == 0 &&
            !start(state, arguments.query.entries[first].length / head_dim, head_dim)) {
            fail_aggregate(info, name, "no memory for a group");
            return;
        }
        take_in(state, &arguments, rows, count);
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
            fail_aggregate(info, name, "the length of key or query differs in a group");
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

static bool add_to_set(duckdb_aggregate_function_set set, size_t arguments) {
    duckdb_logical_type vector = list_type(DUCKDB_TYPE_FLOAT);
    duckdb_logical_type integer = duckdb_create_logical_type(DUCKDB_TYPE_INTEGER);
    duckdb_logical_type real = duckdb_create_logical_type(DUCKDB_TYPE_DOUBLE);
    duckdb_logical_type parameters[ARGUMENTS] = {vector, integer, integer, integer, vector,
                                                 vector, integer, real,    real};

    duckdb_aggregate_function function = duckdb_create_aggregate_function();
    duckdb_aggregate_function_set_name(function, name);
    for (size_t i = 0; i < arguments; i++) {
        duckdb_aggregate_function_add_parameter(function, parameters[i]);
    }
    duckdb_aggregate_function_set_return_type(function, vector);
    duckdb_aggregate_function_set_functions(function, state_size, init, update, combine, finalize);
    duckdb_aggregate_function_set_destructor(function, destroy);
    duckdb_aggregate_function_set_special_handling(function);
    duckdb_state state = duckdb_add_aggregate_function_to_set(set, function);

    duckdb_destroy_aggregate_function(&function);
    duckdb_destroy_logical_type(&vector);
    duckdb_destroy_logical_type(&integer);
    duckdb_destroy_logical_type(&real);
    return state == DuckDBSuccess;
}

bool register_attention(duckdb_connection connection) {
    duckdb_aggregate_function_set set = duckdb_create_aggregate_function_set(name);
    bool registered = add_to_set(set, ARGUMENTS - 1) && add_to_set(set, ARGUMENTS) &&
                      duckdb_register_aggregate_function_set(connection, set) == DuckDBSuccess;
    duckdb_destroy_aggregate_function_set(&set);
    return registered;
}
