{#
    What a storage can do: the one place that tells storages apart by name. Each is a file
    of this folder, whose macro `<name>_storage` gives a mapping:

    quantized(relation, rows, bias)   a select of the rows as they are stored
    dequantized(row, columns)         a stored row as float32, see `_dequantized`
    error_bound(rows)                 how far an element may be off, as a share of the
                                      largest of its row
    prepared_rows(weight)             a relation of rows that many inputs are multiplied with
    row_product(w, x, prepared, native)  the product of a row and an input
    row_scale                         what a native product of a row `w` is multiplied by
    block_row                         a row as it stands in a block
    block_columns                     columns beside the blocks, by name
    row_of_block                      select items that give the rows of `block`
    block_input(input)                the input of `block_products`, a select
    block_products(block, x)          the products of all rows of a block with `x`, a list
    block_matmul_many(...)            `block_matmul` for many positions, where it differs

    A storage without rows has no `row_product` and no `row_scale`, one without blocks no
    `block_products`.
    dbt follows calls by name only: a lookup `relama[name]` would leave out what generic tests
    need while they are parsed, and what `state:modified` compares.
#}
{% macro _storage(name, face) -%}
    {%- if name == 'float32' -%}
        {%- set storage = relama._float32_storage() -%}
    {%- elif name == 'int8' -%}
        {%- set storage = relama._int8_storage() -%}
    {%- elif name == 'int567' -%}
        {%- set storage = relama._int567_storage() -%}
    {%- elif name == 'int4' -%}
        {%- set storage = relama._int4_storage() -%}
    {%- elif name == 'vector' -%}
        {%- set storage = relama._vector_storage() -%}
    {%- elif name == 'halfvec' -%}
        {%- set storage = relama._halfvec_storage() -%}
    {%- else -%}
        {%- do exceptions.raise_compiler_error(
            "relama: there is no storage '" ~ name ~ "'; storages: float32, int8, int567, int4, "
            ~ 'vector, halfvec.'
        ) -%}
    {%- endif -%}
    {%- if face not in storage -%}
        {%- do exceptions.raise_compiler_error(
            'relama: the storage ' ~ name ~ " has no '" ~ face ~ "'; it has "
            ~ storage | join(', ') ~ '.'
        ) -%}
    {%- endif -%}
    {{ return(storage[face]) }}
{%- endmacro %}
