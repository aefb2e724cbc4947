{#
    Rounds every row of an embedding, or of an output head, to 7, 6 or 5 bits:

        scale = max over i of |x[i]| / largest_code,  code[i] = round(x[i] / scale)

    A select of (row_id, vector, scale), as of `quantize_int8`. A row is a token, and
    tokenizers number tokens from the frequent to the rare ones: rare tokens bear
    coarser codes.

    relation  relation (row_id, vector)
    rows      number of rows
#}
{% macro quantize_int6(relation, rows) -%}
    {%- set with_codes -%}
(
            select
                *,
                {{ relama.int6_largest_code('row_id', rows) | indent(16) }} as largest_code
            from {{ relation }}
        ) as with_codes
    {%- endset -%}
    {{ relama.quantize_int8(with_codes, largest_code='largest_code') }}
{%- endmacro %}

{#
    The largest code of a row: 63 in the first sixth of `rows`, 31 up to two thirds,
    and 15 beyond. An expression.
#}
{% macro int6_largest_code(row_id, rows) -%}
case
    when {{ row_id }} * 6 < {{ rows }} then 63
    when {{ row_id }} * 3 < {{ rows }} * 2 then 31
    else 15
end
{%- endmacro %}
