{# Every row as a `halfvec` of PostgreSQL's extension pgvector: float16. See `_storage`. #}
{% macro _halfvec_storage() -%}
    {{ return({
        'quantized': relama._halfvec_quantized,
        'dequantized': adapter.dispatch('_halfvec_dequantized', 'relama'),
        'error_bound': adapter.dispatch('_halfvec_error_bound', 'relama'),
        'prepared_rows': relama._float32_prepared_rows,
        'row_product': relama._vector_row_product,
        'row_scale': '1',
    }) }}
{%- endmacro %}

{% macro _halfvec_quantized(relation, rows, bias) -%}
{{ relama._vector_quantized(relation, rows, bias, type='halfvec') }}
{%- endmacro %}

{% macro default___halfvec_dequantized(row, columns) -%}
    cast(cast({{ row }}.vector as vector) as real[])
{%- endmacro %}

{# A significand of 11 bits: half of the last one. #}
{% macro default___halfvec_error_bound(rows) -%}
    {{ 2 ** -11 }}
{%- endmacro %}
