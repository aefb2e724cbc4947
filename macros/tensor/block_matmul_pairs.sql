{#
    `block_matmul` for many positions and a weight in storage int8: two positions
    share one inner product, at half the multiplications.

    The vectors a and b of two positions are rounded to integers and packed into
    one vector of doubles, a[i] + 2^26 * b[i]. Codes are integers too, so

        code . (a + 2^26 b) = code . a + 2^26 (code . b)

    is exact in the 53 bits of a double, and falls apart into its two halves again,
    as long as |code . a| and |code . b| are below 2^25. By Cauchy and Schwarz they
    are where |a| <= 2^25 / norm, norm being that of the longest row of codes. So
    far a and b are scaled up before they are rounded, less 4 % for the rounding.

    A last position that has no other beside it makes a second of zeros, which is left out at the
    end. It is none of NULL: where what reads the result is joined on the position, DuckDB leaves
    it out behind what that computes.

    The codes are cast within the expression: rows between operators would count within
    DuckDB's memory limit, and be no faster.
#}
{% macro _block_matmul_pairs(hidden, weight, blocks, bias, residual) -%}
    {%- set firsts, seconds = [], [] -%}
    {%- set columns = ['factor'] -%}
    {%- if residual is not none -%}
        {%- do columns.append('residual') -%}
    {%- endif -%}
    {%- for block in range(blocks) -%}
        {%- do firsts.append('block_' ~ block ~ '.first_vector') -%}
        {%- do seconds.append('block_' ~ block ~ '.second_vector') -%}
    {%- endfor -%}
with x as (

    {{ relama._matmul_input(hidden, residual) | indent(4) }}

),

scaled as materialized (

    select
        x.*,
        row_number() over (order by x.sequence_id, x.position) as place,
        32212254 / (greatest(w.norm, 1) * greatest(sqrt(
            cast({{ relama._inner_product('x.vector', 'x.vector') }} as double)
        ), 1e-30)) as factor
    from x
    cross join {{ weight }} as w

),

pair as materialized (

    select
        a.place,
        {%- for column in ['sequence_id', 'position'] %}
        a.{{ column }} as first_{{ column }},
        b.{{ column }} as second_{{ column }},
        {%- endfor %}
        {%- for column in columns %}
        a.{{ column }} as first_{{ column }},
        coalesce(b.{{ column }}, a.{{ column }}) as second_{{ column }},
        {%- endfor %}
        case
            when b.place is null then list_transform(a.vector, lambda v: round(v * a.factor))
            else list_transform(
                a.vector,
                lambda v, i: round(v * a.factor) + 67108864 * round(b.vector[i] * b.factor)
            )
        end as vector
    from scaled as a
    left join scaled as b on a.place + 1 = b.place
    where a.place % 2 = 1

)
{%- for block in range(blocks) %},

block_{{ block }} as (

    select
        place,
        {%- if bias and block == 0 %}
        bias,
        {%- endif %}
        list_transform(
            products,
            lambda p: cast(
                (p.product - 67108864 * round(p.product / 67108864))
                * p.scale / first_factor as real
            )
        ) as first_vector,
        list_transform(
            products,
            lambda p: cast(
                round(p.product / 67108864) * p.scale / second_factor as real
            )
        ) as second_vector
    from (
        select
            pair.place,
            pair.first_factor,
            pair.second_factor,
            {%- if bias and block == 0 %}
            w.bias,
            {%- endif %}
            list_transform(
                cast(w.block_{{ block }} as struct(vector double[], scale real)[]),
                lambda row: {
                    product: {{ relama._inner_product('row.vector', 'pair.vector') }},
                    scale: row.scale
                }
            ) as products
        from {{ weight }} as w
        cross join pair
    ) as multiplied

)
{%- endfor %},

product as materialized (

    select
        pair.* exclude (vector),
        {%- if bias %}
        block_0.bias,
        {%- endif %}
        {{ firsts | join('\n        || ') }} as first_vector,
        {{ seconds | join('\n        || ') }} as second_vector
    from pair
    {%- for block in range(blocks) %}
    inner join block_{{ block }} on pair.place = block_{{ block }}.place
    {%- endfor %}

)
{%- for half in ('first', 'second') %}
{% if not loop.first %}
union all
{% endif %}
select
    {{ half }}_sequence_id as sequence_id,
    {{ half }}_position as position,
    {{ relama._block_sum(
        half ~ '_vector', 'bias' if bias, half ~ '_residual' if residual is not none
    ) | indent(4) }} as vector
from product
    {%- if half == 'second' %}
where second_position is not null
    {%- endif %}
{%- endfor %}
{%- endmacro %}
