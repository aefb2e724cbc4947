{#
    Rounds every row of a matrix to 8 bits:

        scale = max over i of |x[i]| / 127,  code[i] = round(x[i] / scale)

    A select of (row_id, vector, scale) and, where there is one, bias. A row of
    zeros has the scale 0. x[i] is code[i] * scale to within scale / 2.

    relation  relation (row_id, vector), with bias where `bias` is true
#}
{% macro quantize_int8(relation, bias=false) -%}
    {{ return(adapter.dispatch('quantize_int8', 'relama')(relation, bias)) }}
{%- endmacro %}

{% macro duckdb__quantize_int8(relation, bias) -%}
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
        cast(largest / 127 as real) as scale,
        case when largest > 0 then 127 / largest else 0 end as inverse
    from (
        select
            *,
            cast(greatest(list_max(vector), -list_min(vector)) as double) as largest
        from {{ relation }}
    ) as measured
) as scaled
{%- endmacro %}
