{# Every row as a `vector` of PostgreSQL's extension pgvector: float32. See `_storage`. #}
{% macro _vector_storage() -%}
    {{ return({
        'quantized': relama._vector_quantized,
        'dequantized': adapter.dispatch('_vector_dequantized', 'relama'),
        'error_bound': adapter.dispatch('_vector_error_bound', 'relama'),
        'prepared_rows': relama._float32_prepared_rows,
        'row_product': relama._vector_row_product,
        'row_scale': '1',
    }) }}
{%- endmacro %}

{% macro _vector_quantized(relation, rows, bias, type='vector') -%}
select
    row_id,
    cast(vector as {{ type }}) as vector{{ ',\n    bias' if bias }}
from {{ relation }}
{%- endmacro %}

{% macro default___vector_dequantized(row, columns) -%}
    cast({{ row }}.vector as real[])
{%- endmacro %}

{% macro default___vector_error_bound(rows) -%}
    0
{%- endmacro %}

{# `<#>` is the negative inner product: https://github.com/pgvector/pgvector#vector-operators #}
{% macro _vector_row_product(w, x, prepared=false, native=false) -%}
    -({{ w }}.vector <#> {{ x }}.vector)
{%- endmacro %}
