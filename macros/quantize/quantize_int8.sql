{#
    Rounds every row of a matrix to 8 bits:

        scale = max over i of |x[i]| / 127,  code[i] = round(x[i] / scale)

    A select of (row_id, vector, scale) and, where there is one, bias. A row of
    zeros has the scale 0. x[i] is code[i] * scale to within scale / 2.

    relation      relation (row_id, vector), with bias where `bias` is true
    largest_code  what the largest element of a row becomes, an expression
#}
{% macro quantize_int8(relation, bias=false, largest_code=127) -%}
    {{ return(adapter.dispatch('quantize_int8', 'relama')(relation, bias, largest_code)) }}
{%- endmacro %}

{% macro duckdb__quantize_int8(relation, bias, largest_code) -%}
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
