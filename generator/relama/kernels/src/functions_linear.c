// relama_matmul and relama_inner_product: a matrix times vectors.
//
// Consecutive rows of a chunk that share the matrix are computed together, so that a prompt
// reads the matrix once.

#include "extension.h"

enum {
    MAX_POSITIONS = 256, // vectors that are computed together
    MAX_BLOCKS = 64,     // blocks of a matrix in one call
};

// A vector of blocks, which are lists of rows of a matrix. A row is, by storage,
//
//   float32  FLOAT[]
//   int8     STRUCT(vector TINYINT[], scale FLOAT)
//   int4     STRUCT(scale FLOAT, steps UTINYINT[], vector TINYINT[34][])
struct blocks {
    enum storage storage;
    struct lists blocks;
    uint64_t *row_validity;
    struct lists vectors;
    const float *scales;
    uint64_t *scale_validity;
    struct lists steps;
    const int8_t *groups; // int4: the elements of the arrays in `vectors`
    uint64_t *group_validity;
};

static struct blocks view_blocks(duckdb_vector vector, enum storage storage) {
    struct blocks view = {.storage = storage, .blocks = view_lists(vector)};
    duckdb_vector rows = view.blocks.child;
    view.row_validity = view.blocks.child_validity;
    duckdb_vector scales = NULL;
    switch (storage) {
    case STORAGE_FLOAT32:
        view.vectors = view_lists(rows);
        break;
    case STORAGE_INT8:
        view.vectors = view_lists(duckdb_struct_vector_get_child(rows, 0));
        scales = duckdb_struct_vector_get_child(rows, 1);
        break;
    case STORAGE_INT4:
        scales = duckdb_struct_vector_get_child(rows, 0);
        view.steps = view_lists(duckdb_struct_vector_get_child(rows, 1));
        view.vectors = view_lists(duckdb_struct_vector_get_child(rows, 2));
        duckdb_vector elements = duckdb_array_vector_get_child(view.vectors.child);
        view.groups = duckdb_vector_get_data(elements);
        view.group_validity = duckdb_vector_get_validity(elements);
        break;
    }
    if (scales != NULL) {
        view.scales = duckdb_vector_get_data(scales);
        view.scale_validity = duckdb_vector_get_validity(scales);
    }
    return view;
}

static const char matmul_name[] = "relama_matmul";

// Whether the rows of a block fit vectors of `columns` elements; sets *has_null where one of
// the rows is NULL, or a part of it, and otherwise leaves it.
static bool check_block(duckdb_function_info info, const struct blocks *view,
                        duckdb_list_entry block, idx_t columns, bool *has_null) {
    const struct lists *vectors = &view->vectors;
    bool int4 = view->storage == STORAGE_INT4;
    idx_t length = int4 ? (columns + INT4_GROUP - 1) / INT4_GROUP : columns;
    for (idx_t row = block.offset; row < block.offset + block.length; row++) {
        if (!is_valid(view->row_validity, row) || !is_valid(vectors->validity, row) ||
            (view->scales != NULL && !is_valid(view->scale_validity, row)) ||
            (int4 && !is_valid(view->steps.validity, row))) {
            *has_null = true;
            continue;
        }
        duckdb_list_entry entry = vectors->entries[row];
        if (int4 ? entry.length != length || view->steps.entries[row].length != length
                 : entry.length != length) {
            return int4 ? fail_scalar(info, matmul_name,
                                      "row %llu of the block has %llu groups of 32 and %llu "
                                      "steps, but x has %llu elements",
                                      (unsigned long long)(row - block.offset + 1),
                                      (unsigned long long)entry.length,
                                      (unsigned long long)view->steps.entries[row].length,
                                      (unsigned long long)columns)
                        : fail_scalar(info, matmul_name,
                                      "row %llu of the block has %llu elements, but x has %llu",
                                      (unsigned long long)(row - block.offset + 1),
                                      (unsigned long long)entry.length,
                                      (unsigned long long)columns);
        }
        bool complete = is_complete(vectors, row);
        if (int4) {
            complete = complete && is_complete(&view->steps, row) &&
                       all_valid(view->group_validity, entry.offset * INT4_GROUP_BYTES,
                                 length * INT4_GROUP_BYTES);
        }
        if (!complete) {
            return fail_scalar(info, matmul_name, "row %llu of the block holds a NULL element",
                               (unsigned long long)(row - block.offset + 1));
        }
    }
    return true;
}

static void take_rows(const struct blocks *view, idx_t first, size_t count,
                      struct weight_rows *rows) {
    rows->storage = view->storage;
    rows->count = count;
    for (size_t r = 0; r < count; r++) {
        idx_t offset = view->vectors.entries[first + r].offset;
        switch (view->storage) {
        case STORAGE_FLOAT32:
            rows->data[r] = (const float *)view->vectors.data + offset;
            break;
        case STORAGE_INT8:
            rows->data[r] = (const int8_t *)view->vectors.data + offset;
            rows->scales[r] = view->scales[first + r];
            break;
        case STORAGE_INT4:
            rows->data[r] = view->groups + offset * INT4_GROUP_BYTES;
            rows->steps[r] = (const uint8_t *)view->steps.data +
                             view->steps.entries[first + r].offset;
            rows->scales[r] = view->scales[first + r];
            break;
        }
    }
}

// Rows of the chunk with the same blocks, and vectors of the same length.
struct run {
    size_t count;
    idx_t rows[MAX_POSITIONS];
};

static bool same_entry(duckdb_list_entry a, duckdb_list_entry b) {
    return a.offset == b.offset && a.length == b.length;
}

static bool same_blocks(const struct blocks *views, size_t count, idx_t a, idx_t b) {
    for (size_t i = 0; i < count; i++) {
        if (!same_entry(views[i].blocks.entries[a], views[i].blocks.entries[b])) {
            return false;
        }
    }
    return true;
}

static bool all_blocks_valid(const struct blocks *views, size_t count, idx_t row) {
    for (size_t i = 0; i < count; i++) {
        if (!is_valid(views[i].blocks.validity, row)) {
            return false;
        }
    }
    return true;
}

static bool compute_run(duckdb_function_info info, const struct blocks *views, size_t num_blocks,
                        const struct lists *x, const struct run *run, duckdb_vector output,
                        idx_t *size) {
    if (run->count == 0) {
        return true;
    }
    idx_t columns = x->entries[run->rows[0]].length;
    idx_t length = 0;
    bool has_null = false;
    for (size_t b = 0; b < num_blocks; b++) {
        duckdb_list_entry block = views[b].blocks.entries[run->rows[0]];
        if (!check_block(info, &views[b], block, columns, &has_null)) {
            return false;
        }
        length += block.length;
    }
    if (has_null) {
        for (size_t i = 0; i < run->count; i++) {
            set_null(output, run->rows[i]);
        }
        return true;
    }

    // A constant vector comes as the same entry again: its result is shared too.
    const float *vectors[MAX_POSITIONS];
    idx_t results[MAX_POSITIONS];
    size_t positions = 0;
    duckdb_list_entry *entries = duckdb_vector_get_data(output);
    for (size_t i = 0; i < run->count; i++) {
        idx_t row = run->rows[i];
        if (i > 0 && same_entry(x->entries[row], x->entries[run->rows[i - 1]])) {
            entries[row] = entries[run->rows[i - 1]];
            continue;
        }
        if (!is_complete(x, row)) {
            return fail_scalar(info, matmul_name, "x holds a NULL element");
        }
        if (append_list(output, row, length, size) == NULL) {
            return fail_scalar(info, matmul_name, "no memory for the result");
        }
        vectors[positions] = floats_of(x, row);
        results[positions++] = entries[row].offset;
    }
    float *result = duckdb_vector_get_data(duckdb_list_vector_get_child(output));
    for (size_t b = 0; b < num_blocks; b++) {
        duckdb_list_entry block = views[b].blocks.entries[run->rows[0]];
        for (idx_t first = 0; first < block.length; first += MAX_ROWS) {
            idx_t left = block.length - first;
            struct weight_rows rows;
            take_rows(&views[b], block.offset + first, left < MAX_ROWS ? left : MAX_ROWS, &rows);
            float *y[MAX_POSITIONS];
            for (size_t p = 0; p < positions; p++) {
                y[p] = result + results[p] + first;
            }
            kernels->matmul(&rows, columns, vectors, positions, y);
        }
        result += block.length;
    }
    return true;
}

static void matmul(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output,
                   enum storage storage) {
    size_t num_blocks = duckdb_data_chunk_get_column_count(input) - 1;
    if (num_blocks > MAX_BLOCKS) {
        fail_scalar(info, matmul_name, "%zu blocks, at most %d at once", num_blocks, MAX_BLOCKS);
        return;
    }
    struct lists x = view_lists(duckdb_data_chunk_get_vector(input, 0));
    struct blocks views[MAX_BLOCKS];
    for (size_t b = 0; b < num_blocks; b++) {
        views[b] = view_blocks(duckdb_data_chunk_get_vector(input, b + 1), storage);
    }
    idx_t size = 0;
    struct run run = {0};
    for (idx_t row = 0; row < duckdb_data_chunk_get_size(input); row++) {
        if (!all_blocks_valid(views, num_blocks, row) || !is_valid(x.validity, row)) {
            set_null(output, row);
            continue;
        }
        if (run.count == MAX_POSITIONS ||
            (run.count > 0 && (!same_blocks(views, num_blocks, row, run.rows[0]) ||
                               x.entries[row].length != x.entries[run.rows[0]].length))) {
            if (!compute_run(info, views, num_blocks, &x, &run, output, &size)) {
                return;
            }
            run.count = 0;
        }
        run.rows[run.count++] = row;
    }
    compute_run(info, views, num_blocks, &x, &run, output, &size);
}

// relama_matmul(x FLOAT[], block FLOAT[][], ...) -> FLOAT[]
//
// A block is [rows][columns], x [columns]; the result has the rows of all blocks, one below the
// other: y[r] = sum_i block[r][i] * x[i]
static void matmul_float32(duckdb_function_info info, duckdb_data_chunk input,
                           duckdb_vector output) {
    matmul(info, input, output, STORAGE_FLOAT32);
}

// relama_matmul(x FLOAT[], block STRUCT(vector TINYINT[], scale FLOAT)[], ...) -> FLOAT[]
//
// y[r] = scale[r] * sum_i vector[r][i] * x[i]
static void matmul_int8(duckdb_function_info info, duckdb_data_chunk input,
                        duckdb_vector output) {
    matmul(info, input, output, STORAGE_INT8);
}

// relama_matmul(x FLOAT[], block STRUCT(scale FLOAT, steps UTINYINT[], vector TINYINT[34][])[],
// ...) -> FLOAT[]
//
// The rows of relama's int4 storage, see struct weight_rows; the last group is filled up.
static void matmul_int4(duckdb_function_info info, duckdb_data_chunk input,
                        duckdb_vector output) {
    matmul(info, input, output, STORAGE_INT4);
}

static const char inner_product_name[] = "relama_inner_product";

// The rows from `first` on that can be computed together: one vector for up to MAX_ROWS rows
// of the matrix, or up to MAX_ROWS vectors for one.
static idx_t shared_rows(const struct lists *shared, const struct lists *other, idx_t first,
                         idx_t end) {
    idx_t row = first + 1;
    while (row < end && row < first + MAX_ROWS && is_valid(shared->validity, row) &&
           is_valid(other->validity, row) &&
           same_entry(shared->entries[row], shared->entries[first]) &&
           other->entries[row].length == other->entries[first].length) {
        row++;
    }
    return row - first;
}

static void inner_product(duckdb_function_info info, duckdb_data_chunk input,
                          duckdb_vector output, enum storage storage) {
    struct lists weights = view_lists(duckdb_data_chunk_get_vector(input, 0));
    struct lists x = view_lists(duckdb_data_chunk_get_vector(input, 1));
    float *result = duckdb_vector_get_data(output);
    idx_t count = duckdb_data_chunk_get_size(input);
    for (idx_t row = 0, next; row < count; row = next) {
        next = row + 1;
        if (!is_valid(weights.validity, row) || !is_valid(x.validity, row)) {
            set_null(output, row);
            continue;
        }
        idx_t columns = x.entries[row].length;
        if (weights.entries[row].length != columns) {
            fail_scalar(info, inner_product_name, "row has %llu elements, but x has %llu",
                        (unsigned long long)weights.entries[row].length,
                        (unsigned long long)columns);
            return;
        }
        bool one_vector = true;
        next = row + shared_rows(&x, &weights, row, count);
        if (next == row + 1) {
            one_vector = false;
            next = row + shared_rows(&weights, &x, row, count);
        }
        struct weight_rows rows = {.storage = storage};
        const float *vectors[MAX_ROWS];
        float *y[MAX_ROWS];
        size_t positions = 0;
        for (idx_t i = row; i < next; i++) {
            if (!is_complete(&weights, i) || !is_complete(&x, i)) {
                fail_scalar(info, inner_product_name, "an argument holds a NULL element");
                return;
            }
            if (one_vector || i == row) {
                idx_t offset = weights.entries[i].offset;
                rows.data[rows.count] = storage == STORAGE_FLOAT32
                                            ? (const void *)((const float *)weights.data + offset)
                                            : (const int8_t *)weights.data + offset;
                rows.scales[rows.count++] = 1;
            }
            if (!one_vector || i == row) {
                vectors[positions] = floats_of(&x, i);
                y[positions++] = result + i;
            }
        }
        kernels->matmul(&rows, columns, vectors, positions, y);
    }
}

// relama_inner_product(row FLOAT[], x FLOAT[]) -> FLOAT: sum_i row[i] * x[i]
static void inner_product_float32(duckdb_function_info info, duckdb_data_chunk input,
                                  duckdb_vector output) {
    inner_product(info, input, output, STORAGE_FLOAT32);
}

// relama_inner_product(row TINYINT[], x FLOAT[]) -> FLOAT: the same
static void inner_product_int8(duckdb_function_info info, duckdb_data_chunk input,
                               duckdb_vector output) {
    inner_product(info, input, output, STORAGE_INT8);
}

static duckdb_logical_type list_of(duckdb_logical_type element) {
    duckdb_logical_type list = duckdb_create_list_type(element);
    duckdb_destroy_logical_type(&element);
    return list;
}

static duckdb_logical_type struct_of(duckdb_logical_type *members, const char **names,
                                     idx_t count) {
    duckdb_logical_type type = duckdb_create_struct_type(members, names, count);
    for (idx_t i = 0; i < count; i++) {
        duckdb_destroy_logical_type(&members[i]);
    }
    return type;
}

static duckdb_logical_type block_type(enum storage storage) {
    switch (storage) {
    case STORAGE_INT8: {
        duckdb_logical_type members[] = {list_type(DUCKDB_TYPE_TINYINT),
                                         duckdb_create_logical_type(DUCKDB_TYPE_FLOAT)};
        return list_of(struct_of(members, (const char *[]){"vector", "scale"}, 2));
    }
    case STORAGE_INT4: {
        duckdb_logical_type code = duckdb_create_logical_type(DUCKDB_TYPE_TINYINT);
        duckdb_logical_type group = duckdb_create_array_type(code, INT4_GROUP_BYTES);
        duckdb_destroy_logical_type(&code);
        duckdb_logical_type members[] = {duckdb_create_logical_type(DUCKDB_TYPE_FLOAT),
                                         list_type(DUCKDB_TYPE_UTINYINT), list_of(group)};
        return list_of(struct_of(members, (const char *[]){"scale", "steps", "vector"}, 3));
    }
    default:
        return list_of(list_type(DUCKDB_TYPE_FLOAT));
    }
}

static bool add_matmul(duckdb_scalar_function_set set, duckdb_scalar_function_t function,
                       enum storage storage) {
    duckdb_logical_type parameters[] = {list_type(DUCKDB_TYPE_FLOAT), block_type(storage)};
    duckdb_scalar_function overload =
        scalar_function(matmul_name, DUCKDB_TYPE_FLOAT, true, function, parameters, 2);
    duckdb_logical_type others = block_type(storage);
    duckdb_scalar_function_set_varargs(overload, others);
    duckdb_destroy_logical_type(&others);
    duckdb_state state = duckdb_add_scalar_function_to_set(set, overload);
    duckdb_destroy_scalar_function(&overload);
    return state == DuckDBSuccess;
}

static bool add_inner_product(duckdb_scalar_function_set set, duckdb_scalar_function_t function,
                              duckdb_type element) {
    duckdb_logical_type parameters[] = {list_type(element), list_type(DUCKDB_TYPE_FLOAT)};
    duckdb_scalar_function overload =
        scalar_function(inner_product_name, DUCKDB_TYPE_FLOAT, false, function, parameters, 2);
    duckdb_state state = duckdb_add_scalar_function_to_set(set, overload);
    duckdb_destroy_scalar_function(&overload);
    return state == DuckDBSuccess;
}

bool register_linear(duckdb_connection connection) {
    duckdb_scalar_function_set products = duckdb_create_scalar_function_set(matmul_name);
    bool registered = add_matmul(products, matmul_float32, STORAGE_FLOAT32) &&
                      add_matmul(products, matmul_int8, STORAGE_INT8) &&
                      add_matmul(products, matmul_int4, STORAGE_INT4) &&
                      duckdb_register_scalar_function_set(connection, products) == DuckDBSuccess;
    duckdb_destroy_scalar_function_set(&products);

    duckdb_scalar_function_set inner = duckdb_create_scalar_function_set(inner_product_name);
    registered = registered &&
                 add_inner_product(inner, inner_product_float32, DUCKDB_TYPE_FLOAT) &&
                 add_inner_product(inner, inner_product_int8, DUCKDB_TYPE_TINYINT) &&
                 duckdb_register_scalar_function_set(connection, inner) == DuckDBSuccess;
    duckdb_destroy_scalar_function_set(&inner);
    return registered;
}
