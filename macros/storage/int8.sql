{#
    Every row in 8 bits with one scale: vector TINYINT[], scale FLOAT. In blocks, lists of
    structs of the two; `norm` is the length of the longest row of codes, which
    `_block_matmul_pairs` needs. See `_storage`.
#}
{% macro _int8_storage() -%}
    {{ return({
        'quantized': relama._int8_quantized,
        'dequantized': adapter.dispatch('_int8_dequantized', 'relama'),
        'error_bound': adapter.dispatch('_int8_error_bound', 'relama'),
        'prepared_rows': relama._int8_prepared_rows,
        'row_product': adapter.dispatch('_int8_row_product', 'relama'),
        'row_scale': 'w.scale',
        'block_row': '{vector: vector, scale: scale}',
        'block_columns': {
            'norm': 'max(sqrt('
            ~ relama._inner_product('cast(vector as double[])', 'cast(vector as double[])')
            ~ '))',
        },
        'row_of_block': 'unnest(block, recursive := true)',
        'block_input': relama._float32_block_input,
        'block_products': relama._int8_block_products,
        'block_matmul_many': relama._block_matmul_pairs,
    }) }}
{%- endmacro %}

{% macro _int8_quantized(relation, rows, bias) -%}
    {{- relama._rounded_rows(relation, 127, bias) -}}
{%- endmacro %}

{#
    Rounds every row of a matrix to integers with one scale:

        scale = max over i of |x[i]| / largest_code,  code[i] = round(x[i] / scale)

    A select of (row_id, vector, scale) and, where there is one, bias. A row of
    zeros has the scale 0. x[i] is code[i] * scale to within scale / 2.

    relation      relation (row_id, vector), with bias where `bias` is true
    largest_code  what the largest element of a row becomes, an expression
#}
{% macro _rounded_rows(relation, largest_code, bias) -%}
    {{ return(adapter.dispatch('_rounded_rows', 'relama')(relation, largest_code, bias)) }}
{%- endmacro %}

{% macro duckdb___rounded_rows(relation, largest_code, bias) -%}
select
    row_id,
    list_transform(vector, lambda x: cast(round(x * inverse) as tinyint)) as vector,
    scale
    {%- if bias %},
    bias
    {%- endif %}
from (
    select
        *,
        cast(largest / {{ largest_code }} as real) as scale,
        case when largest > 0 then {{ largest_code }} / largest else 0 end as inverse
    from (
        select
            *,
            cast(greatest(list_max(vector), -list_min(vector)) as double) as largest
        from {{ relation }}
    ) as measured
) as scaled
{%- endmacro %}

{% macro clickhouse___rounded_rows(relation, largest_code, bias) -%}
select
    row_id,
    arrayMap(x -> toInt8(round(x * inverse)), vector) as vector,
    scale
    {%- if bias %},
    bias
    {%- endif %}
from (
    select
        *,
        toFloat32(largest / {{ largest_code }}) as scale,
        if(largest > 0, {{ largest_code }} / largest, 0) as inverse
    from (
        select
            *,
            toFloat64(arrayMax(x -> abs(x), vector)) as largest
        from {{ relation }}
    ) as measured
) as scaled
{%- endmacro %}

{% macro duckdb___int8_dequantized(row, columns) -%}
    list_transform({{ row }}.vector, lambda code: code * {{ row }}.scale)
{%- endmacro %}

{% macro clickhouse___int8_dequantized(row, columns) -%}
    arrayMap(code -> toFloat32(code * {{ row }}.scale), {{ row }}.vector)
{%- endmacro %}

{# Half a step of 1/127. #}
{% macro default___int8_error_bound(rows) -%}
    0.5 / 127
{%- endmacro %}

{# The codes cast once for all inputs, into rows that DuckDB counts within its memory limit. #}
{% macro _int8_prepared_rows(weight) -%}
(
    select
        row_id,
        cast(vector as real[]) as vector,
        scale
    from {{ weight }}
)
{%- endmacro %}

{% macro default___int8_row_product(w, x, prepared=false, native=false) -%}
    {%- set vector = w ~ '.vector' -%}
    {%- if native -%}
    relama_inner_product({{ vector }}, {{ x }}.vector) * {{ w }}.scale
    {%- else -%}
    {{ relama._inner_product(vector if prepared else 'cast(' ~ vector ~ ' as real[])', x ~ '.vector') }} * {{ w }}.scale
    {%- endif -%}
{%- endmacro %}

{# A product of codes and real is double precision. #}
{% macro clickhouse___int8_row_product(w, x, prepared=false, native=false) -%}
    arrayDotProduct({{ w }}.vector, {{ x }}.vector) * {{ w }}.scale
{%- endmacro %}

{% macro _int8_block_products(block, x) -%}
list_transform(
    cast({{ block }} as struct(vector real[], scale real)[]),
    lambda row: {{ relama._inner_product('row.vector', x ~ '.vector') }} * row.scale
)
{%- endmacro %}
