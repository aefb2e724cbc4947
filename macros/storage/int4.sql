{#
    Every row in 4 bits, in groups of 32: scale FLOAT, steps UTINYINT[], vector
    TINYINT[34][], see `_grouped_rows`. In blocks, lists of structs of the three, the small
    ones before the large one: DuckDB fills its blocks in that order. It has no rows: the
    last group of a row is filled up. See `_storage`.
#}
{% macro _int4_storage() -%}
    {{ return({
        'quantized': relama._int4_quantized,
        'dequantized': adapter.dispatch('_int4_dequantized', 'relama'),
        'error_bound': adapter.dispatch('_int4_error_bound', 'relama'),
        'block_row': '{scale: scale, steps: steps, vector: vector}',
        'block_columns': {},
        'row_of_block': 'unnest(block, recursive := true)',
        'block_input': relama._int4_block_input,
        'block_products': relama._int4_block_products,
        'block_matmul_many': none,
    }) }}
{%- endmacro %}

{% macro _int4_quantized(relation, rows, bias) -%}
    {{- relama._grouped_rows(relation, bias) -}}
{%- endmacro %}

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
{% macro _grouped_rows(relation, bias) -%}
    {{ return(adapter.dispatch('_grouped_rows', 'relama')(relation, bias)) }}
{%- endmacro %}

{% macro duckdb___grouped_rows(relation, bias) -%}
with grouped as (

    select
        *,
        {{ relama._vector_groups('vector') | indent(8) }} as groups
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

{% macro duckdb___int4_dequantized(row, columns) -%}
    flatten(list_transform({{ row }}.vector, lambda g, i: list_transform(
            cast(g as tinyint[])[:32],
            lambda code: cast(
                (code - g[33] - g[34] / 16) * {{ row }}.scale * {{ row }}.steps[i]
                as real
            )
        ))){% if columns is not none %}[1:{{ columns }}]{% endif %}
{%- endmacro %}

{# Half a step, which is at most 2/15 of the largest element. #}
{% macro default___int4_error_bound(rows) -%}
    1 / 15
{%- endmacro %}

{#
    The input cut into groups, as the weight's rows are. A group ends in what the two digits
    of the weight's zero point are multiplied by: minus the sum of its elements, and a
    sixteenth of that.
#}
{% macro _int4_block_input(input) -%}
select
    * exclude (groups),
    list_transform(
        groups,
        lambda g: cast(g || [-list_sum(g), -list_sum(g) / 16] as real[34])
    ) as groups
from (
    select
        *,
        {{ relama._vector_groups('vector') | indent(8) }} as groups
    from (
        {{ input | indent(8) }}
    ) as ungrouped
) as grouped
{%- endmacro %}

{% macro _int4_block_products(block, x) -%}
list_transform(
    cast({{ block }} as struct(
        scale real, steps real[], vector real[34][]
    )[]),
    lambda row: list_inner_product(
        row.steps,
        list_transform(
            row.vector, lambda g, i: array_inner_product(g, {{ x }}.groups[i])
        )
    ) * row.scale
)
{%- endmacro %}

{# A vector cut into groups of 32, the last one filled up with zeros. An expression. #}
{% macro _vector_groups(vector) -%}
list_transform(
    range((len({{ vector }}) + 31) // 32),
    lambda g: list_resize({{ vector }}[g * 32 + 1:g * 32 + 32], 32, 0)
)
{%- endmacro %}
