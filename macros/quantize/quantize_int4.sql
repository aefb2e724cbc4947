{#
    Rounds every row of a matrix to 4 bits, in groups of 32 with a step and a zero
    point each (as Q4_1 of llama.cpp), the steps being rounded to 6 bits themselves
    (as those of its K-quants):

        x[i] = step * (code[i] - zero_point),  code[i] from -8 to 7,
        step = scale * steps[group],  zero_point = digit_1 + digit_2 / 16

    A select of (row_id, scale, steps, vector) and, where there is one, bias. `vector`
    holds a TINYINT[34] for each group: its 32 codes and the two digits of its zero
    point, from -8 to 7 too, so that DuckDB packs all of them into 4 bits. It stores
    no lengths of a fixed array.

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

-- A group's range holds 0, or its zero point might not fit into two digits.
measured as (

    select
        *,
        list_transform(groups, lambda g: least(list_min(g), 0.0)) as lows,
        list_transform(groups, lambda g: greatest(list_max(g), 0.0)) as highs
    from grouped

),

scaled as (

    select
        *,
        cast(list_max(list_transform(
            highs, lambda high, g: high - lows[g]
        )) / (15.0 * 63) as real) as scale
    from measured

),

stepped as (

    select
        *,
        list_transform(highs, lambda high, g: cast(
            case
                when high > lows[g] and scale > 0
                    then greatest(1, least(63, round((high - lows[g]) / 15.0 / scale)))
                else 0
            end as utinyint
        )) as steps
    from scaled

),

-- In sixteenths of a step; the middle of the range lies between the codes -1 and 0.
zeroed as (

    select
        *,
        list_transform(highs, lambda high, g: cast(
            case
                when steps[g] > 0
                    then greatest(-136, least(119, round(
                        -8 * (lows[g] + high) / (scale * steps[g]) - 8
                    )))
                else 0
            end as integer
        )) as zero_points
    from stepped

)

select
    row_id,
    scale,
    steps,
    list_transform(groups, lambda g, i: cast(
        list_transform(g, lambda x: cast(
            case
                when steps[i] > 0
                    then greatest(-8, least(7, round(
                        x / (scale * steps[i]) + zero_points[i] / 16
                    )))
                else 0
            end as tinyint
        ))
        || [
            cast((zero_points[i] + 136) // 16 - 8 as tinyint),
            cast((zero_points[i] + 136) % 16 - 8 as tinyint)
        ] as tinyint[34]
    )) as vector
    {%- if bias %},
    bias
    {%- endif %}
from zeroed
{%- endmacro %}
