{#
    Rounds every row of a matrix to 4 bits, in groups of 32 with a step and an offset
    each, which are rounded to 8 bits themselves (as Q4_1 and the K-quants of
    llama.cpp):

        x[i] = code[i] * step + offset,  code[i] from -8 to 7,
        step = scale * steps[group],  offset = offset_scale * offsets[group]

    A select of (row_id, vector, steps, offsets, scale, offset_scale) and, where
    there is one, bias; `vector` holds the codes of each group. A group is a
    TINYINT[32], of which DuckDB stores no lengths.

    relation  relation (row_id, vector), with bias where `bias` is true
#}
{% macro quantize_int4(relation, bias=false) -%}
    {{ return(adapter.dispatch('quantize_int4', 'relama')(relation, bias)) }}
{%- endmacro %}

{% macro duckdb__quantize_int4(relation, bias) -%}
with grouped as (

    select
        *,
        {{ relama.vector_groups('vector') | indent(8) }} as groups
    from {{ relation }}

),

measured as (

    select
        *,
        list_transform(groups, lambda g: cast(list_min(g) as double)) as lows,
        list_transform(groups, lambda g: (list_max(g) - list_min(g)) / 15.0) as ideal_steps
    from grouped

),

scaled as (

    select
        *,
        cast(list_max(ideal_steps) / 255 as real) as scale
    from measured

),

stepped as (

    select
        *,
        list_transform(ideal_steps, lambda s: cast(
            case when scale > 0 then least(255, ceil(s / scale)) else 0 end as utinyint
        )) as steps
    from scaled

),

centred as (

    select
        *,
        list_transform(lows, lambda low, g: low + 8 * scale * steps[g]) as centres
    from stepped

),

centre_scaled as (

    select
        *,
        cast(greatest(list_max(centres), -list_min(centres)) / 127 as real) as offset_scale
    from centred

),

offsetted as (

    select
        *,
        list_transform(centres, lambda c: cast(
            case when offset_scale > 0 then round(c / offset_scale) else 0 end as tinyint
        )) as offsets
    from centre_scaled

)

select
    row_id,
    list_transform(groups, lambda g, i: cast(list_transform(g, lambda x: cast(
        case
            when steps[i] > 0
                then greatest(-8, least(7, round(
                    (x - offset_scale * offsets[i]) / (scale * steps[i])
                )))
            else 0
        end as tinyint
    )) as tinyint[32])) as vector,
    steps,
    offsets,
    scale,
    offset_scale
    {%- if bias %},
    bias
    {%- endif %}
from offsetted
{%- endmacro %}
