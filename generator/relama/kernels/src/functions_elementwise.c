// relama_rms_norm, relama_rotary_embedding, relama_swiglu, relama_add: functions from vectors
// to a vector, one row after the other.

#include "extension.h"

// What one of the functions is given for a row.
struct operands {
    const float *x[3];
    idx_t length[3];
    double eps;
};

// The function's name, and what it does with the operands of a row: `check` returns the
// length of the result, or says what is wrong and returns false; `compute` fills the result.
struct operator {
    const char *name;
    size_t num_vectors;
    bool has_eps;
    bool (*check)(duckdb_function_info info, const struct operator *operator,
                  const struct operands *operands, idx_t *length);
    void (*compute)(const struct operands *operands, float *y);
};

static void apply(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
    const struct operator *operator = duckdb_scalar_function_get_extra_info(info);
    struct lists lists[3];
    for (size_t i = 0; i < operator->num_vectors; i++) {
        lists[i] = view_lists(duckdb_data_chunk_get_vector(input, i));
    }
    const double *eps = NULL;
    uint64_t *eps_validity = NULL;
    if (operator->has_eps) {
        duckdb_vector vector = duckdb_data_chunk_get_vector(input, operator->num_vectors);
        eps = duckdb_vector_get_data(vector);
        eps_validity = duckdb_vector_get_validity(vector);
    }

    idx_t size = 0;
    for (idx_t row = 0; row < duckdb_data_chunk_get_size(input); row++) {
        bool valid = is_valid(eps_validity, row);
        for (size_t i = 0; i < operator->num_vectors; i++) {
            valid = valid && is_valid(lists[i].validity, row);
        }
        if (!valid) {
            set_null(output, row);
            continue;
        }
        struct operands operands = {.eps = eps != NULL ? eps[row] : 0};
        for (size_t i = 0; i < operator->num_vectors; i++) {
            if (!is_complete(&lists[i], row)) {
                fail_scalar(info, operator->name, "argument %zu holds a NULL element", i + 1);
                return;
            }
            operands.x[i] = floats_of(&lists[i], row);
            operands.length[i] = lists[i].entries[row].length;
        }
        idx_t length;
        if (!operator->check(info, operator, &operands, &length)) {
            return;
        }
        float *y = append_list(output, row, length, &size);
        if (y == NULL) {
            fail_scalar(info, operator->name, "no memory for the result");
            return;
        }
        operator->compute(&operands, y);
    }
}

// relama_rms_norm(x FLOAT[], weight FLOAT[], eps DOUBLE) -> FLOAT[]
//
// Root mean square normalisation (Zhang and Sennrich, 2019). Each piece of len(weight)
// elements is normalised alone: a weight of hidden_size normalises x, one of head_dim every
// head. y = x / sqrt(mean(x^2) + eps) * weight
static bool check_rms_norm(duckdb_function_info info, const struct operator *operator,
                           const struct operands *operands, idx_t *length) {
    *length = operands->length[0];
    idx_t width = operands->length[1];
    if (width == 0 ? *length != 0 : *length % width != 0) {
        return fail_scalar(info, operator->name, "x has %llu elements, which is no multiple of the %llu of weight",
                    (unsigned long long)*length, (unsigned long long)width);
    }
    return true;
}

static void rms_norm(const struct operands *operands, float *y) {
    idx_t width = operands->length[1];
    for (idx_t i = 0; i < operands->length[0]; i += width) {
        kernels->rms_norm(operands->x[0] + i, operands->x[1], width, operands->eps, y + i);
    }
}

// relama_rotary_embedding(x FLOAT[], cosine FLOAT[], sine FLOAT[]) -> FLOAT[]
//
// Rotary position embedding (Su et al., 2021) in the halves of Hugging Face's rotate_half.
// x is [num_heads][2 * len(cosine)]; cosine and sine are those of the position.
static bool check_rotary_embedding(duckdb_function_info info, const struct operator *operator,
                                   const struct operands *operands, idx_t *length) {
    *length = operands->length[0];
    idx_t half = operands->length[1];
    if (operands->length[2] != half) {
        return fail_scalar(info, operator->name, "cosine has %llu elements, sine %llu; they must be as many",
                    (unsigned long long)half, (unsigned long long)operands->length[2]);
    }
    if (half == 0 ? *length != 0 : *length % (2 * half) != 0) {
        return fail_scalar(info, operator->name,
                    "x has %llu elements, which is no multiple of twice the %llu of cosine",
                    (unsigned long long)*length, (unsigned long long)half);
    }
    return true;
}

static void rotary_embedding(const struct operands *operands, float *y) {
    idx_t half = operands->length[1];
    for (idx_t i = 0; i < operands->length[0]; i += 2 * half) {
        kernels->rotary_embedding(operands->x[0] + i, operands->x[1], operands->x[2], half, y + i);
    }
}

// relama_swiglu(x FLOAT[]) -> FLOAT[]
//
// The gated unit of a feed-forward layer (Shazeer, 2020). x is gate and up, one behind the
// other; y = gate * sigmoid(gate) * up
static bool check_swiglu(duckdb_function_info info, const struct operator *operator,
                         const struct operands *operands, idx_t *length) {
    *length = operands->length[0] / 2;
    if (operands->length[0] % 2 != 0) {
        return fail_scalar(info, operator->name,
                    "x has %llu elements; it must have an even number, gate and up side by side",
                    (unsigned long long)operands->length[0]);
    }
    return true;
}

static void swiglu(const struct operands *operands, float *y) {
    idx_t length = operands->length[0] / 2;
    kernels->swiglu(operands->x[0], operands->x[0] + length, length, y);
}

// relama_add(a FLOAT[], b FLOAT[]) -> FLOAT[] and relama_add(a, b, c): y = a + b (+ c)
static bool check_add(duckdb_function_info info, const struct operator *operator,
                      const struct operands *operands, idx_t *length) {
    *length = operands->length[0];
    for (size_t i = 1; i < operator->num_vectors; i++) {
        if (operands->length[i] != *length) {
            return fail_scalar(info, operator->name,
                        "argument 1 has %llu elements, argument %zu %llu; they must be as many",
                        (unsigned long long)*length, i + 1,
                        (unsigned long long)operands->length[i]);
        }
    }
    return true;
}

static void add_two(const struct operands *operands, float *y) {
    kernels->add(operands->x[0], operands->x[1], operands->length[0], y);
}

static void add_three(const struct operands *operands, float *y) {
    add_two(operands, y);
    kernels->add(y, operands->x[2], operands->length[0], y);
}

static const struct operator operators[] = {
    {"relama_rms_norm", 2, true, check_rms_norm, rms_norm},
    {"relama_rotary_embedding", 3, false, check_rotary_embedding, rotary_embedding},
    {"relama_swiglu", 1, false, check_swiglu, swiglu},
    {"relama_add", 2, false, check_add, add_two},
    {"relama_add", 3, false, check_add, add_three},
};

bool register_elementwise(duckdb_connection connection) {
    bool registered = true;
    duckdb_scalar_function_set additions = duckdb_create_scalar_function_set("relama_add");
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        const struct operator *operator = &operators[i];
        duckdb_logical_type parameters[4];
        size_t count = 0;
        for (; count < operator->num_vectors; count++) {
            parameters[count] = list_type(DUCKDB_TYPE_FLOAT);
        }
        if (operator->has_eps) {
            parameters[count++] = duckdb_create_logical_type(DUCKDB_TYPE_DOUBLE);
        }
        duckdb_scalar_function function =
            scalar_function(operator->name, DUCKDB_TYPE_FLOAT, true, apply, parameters, count);
        duckdb_scalar_function_set_extra_info(function, (void *)operator, NULL);
        duckdb_state state = operator->check == check_add
                                 ? duckdb_add_scalar_function_to_set(additions, function)
                                 : duckdb_register_scalar_function(connection, function);
        registered = registered && state == DuckDBSuccess;
        duckdb_destroy_scalar_function(&function);
    }
    registered = registered &&
                 duckdb_register_scalar_function_set(connection, additions) == DuckDBSuccess;
    duckdb_destroy_scalar_function_set(&additions);
    return registered;
}
