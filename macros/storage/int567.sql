{#
    Every row in 7, 6 or 5 bits with one scale, of an embedding or of an output head:
    vector TINYINT[], scale FLOAT, as in int8. A row is a token, and tokenizers number tokens
    from the frequent to the rare ones: rare tokens bear coarser codes. It has no blocks. See
    `_storage`.
#}
{% macro _int567_storage() -%}
    {{ return({
        'quantized': relama._int567_quantized,
        'dequantized': adapter.dispatch('_int8_dequantized', 'relama'),
        'error_bound': adapter.dispatch('_int567_error_bound', 'relama'),
        'prepared_rows': relama._int8_prepared_rows,
        'row_product': adapter.dispatch('_int8_row_product', 'relama'),
        'row_scale': 'w.scale',
    }) }}
{%- endmacro %}

{# See `_rounded_rows`. `rows` is the number of rows of the matrix. #}
{% macro _int567_quantized(relation, rows, bias) -%}
    {%- set with_codes -%}
(
            select
                *,
                {{ relama._int567_largest_code('row_id', rows) | indent(16) }} as largest_code
            from {{ relation }}
        ) as with_codes
    {%- endset -%}
    {{- relama._rounded_rows(with_codes, 'largest_code', bias) -}}
{%- endmacro %}

{#
    The largest code of a row: 63 in the first sixth of `rows`, 31 up to two thirds,
    and 15 beyond. An expression.
#}
{% macro _int567_largest_code(row_id, rows) -%}
case
    when {{ row_id }} * 6 < {{ rows }} then 63
    when {{ row_id }} * 3 < {{ rows }} * 2 then 31
    else 15
end
{%- endmacro %}

{# Half a step of 1/63, 1/31 or 1/15. #}
{% macro default___int567_error_bound(rows) -%}
    0.5 / {{ relama._int567_largest_code('row_id', rows) | indent(4) }}
{%- endmacro %}
