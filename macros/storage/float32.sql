{# Every row as it is: vector FLOAT[]. In blocks, lists of rows. See `_storage`. #}
{% macro _float32_storage() -%}
    {{ return({
        'quantized': relama._float32_quantized,
        'dequantized': adapter.dispatch('_float32_dequantized', 'relama'),
        'error_bound': adapter.dispatch('_float32_error_bound', 'relama'),
        'prepared_rows': relama._float32_prepared_rows,
        'row_product': relama._float32_row_product,
        'row_scale': '1',
        'block_row': 'vector',
        'block_columns': {},
        'row_of_block': 'unnest(block) as vector',
        'block_input': relama._float32_block_input,
        'block_products': relama._float32_block_products,
        'block_matmul_many': none,
    }) }}
{%- endmacro %}

{% macro _float32_quantized(relation, rows, bias) -%}
select * from {{ relation }}
{%- endmacro %}

{% macro default___float32_dequantized(row, columns) -%}
    {{ row }}.vector
{%- endmacro %}

{% macro default___float32_error_bound(rows) -%}
    0
{%- endmacro %}

{% macro _float32_prepared_rows(weight) -%}
{{ weight }}
{%- endmacro %}

{% macro _float32_row_product(w, x, prepared=false, native=false) -%}
    {%- if native -%}
    relama_inner_product({{ w }}.vector, {{ x }}.vector)
    {%- else -%}
    {{ relama._inner_product(w ~ '.vector', x ~ '.vector') }}
    {%- endif -%}
{%- endmacro %}

{% macro _float32_block_input(input) -%}
{{ input }}
{%- endmacro %}

{% macro _float32_block_products(block, x) -%}
list_transform(
    {{ block }},
    lambda row: {{ relama._inner_product('row', x ~ '.vector') }}
)
{%- endmacro %}
