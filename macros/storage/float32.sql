{# Every row as it is: vector FLOAT[]. In blocks, lists of rows. See `storage`. #}
{% macro float32_storage() -%}
    {{ return({
        'quantized': relama.float32_quantized,
        'dequantized': adapter.dispatch('float32_dequantized', 'relama'),
        'error_bound': adapter.dispatch('float32_error_bound', 'relama'),
        'prepared_rows': relama.float32_prepared_rows,
        'row_product': relama.float32_row_product,
        'block_row': 'vector',
        'block_columns': {},
        'row_of_block': 'unnest(block) as vector',
        'block_input': relama.float32_block_input,
        'block_products': relama.float32_block_products,
        'block_matmul_many': none,
    }) }}
{%- endmacro %}

{% macro float32_quantized(relation, rows, bias) -%}
select * from {{ relation }}
{%- endmacro %}

{% macro default__float32_dequantized(row, columns) -%}
    {{ row }}.vector
{%- endmacro %}

{% macro default__float32_error_bound(rows) -%}
    0
{%- endmacro %}

{% macro float32_prepared_rows(weight) -%}
{{ weight }}
{%- endmacro %}

{% macro float32_row_product(w, x, prepared=false) -%}
    {{ relama.inner_product(w ~ '.vector', x ~ '.vector') }}
{%- endmacro %}

{% macro float32_block_input(input) -%}
{{ input }}
{%- endmacro %}

{% macro float32_block_products(block, x) -%}
list_transform(
    {{ block }},
    lambda row: {{ relama.inner_product('row', x ~ '.vector') }}
)
{%- endmacro %}
