{#
    A linear layer whose weight is one row of a table, cut into blocks:

        y[row] = sum over i of weight[row][i] * x[i]  (+ bias[row])  (+ residual[row])

    A select of (sequence_id, position, vector). A block multiplies all its rows
    within one expression, so nothing is grouped; the blocks run at once, each on
    a thread of its own. The weight stands on the left of the join: it is streamed
    past the few rows of the hidden state, never copied.

    hidden        relation (sequence_id, position, vector)
    weight        relation of one row, see `matrix_blocks`
    blocks        number of blocks
    storage       float32, int8 or int4
    bias          whether the weight has a bias
    residual      relation (sequence_id, position, vector) to be added, or none
    single_token  see the macro of this name
#}
{% macro block_matmul(
    hidden, weight, blocks, storage='float32', bias=false, residual=none, single_token=false
) -%}
    {{ return(adapter.dispatch('block_matmul', 'relama')(
        hidden, weight, blocks, storage, bias, residual, single_token
    )) }}
{%- endmacro %}

{% macro duckdb__block_matmul(
    hidden, weight, blocks, storage, bias, residual, single_token
) -%}
    {%- if storage == 'int8' and not single_token -%}
{{ relama.block_matmul_pairs(hidden, weight, blocks, bias, residual) }}
    {%- elif blocks == 1 -%}
with x as (

    {{ relama.block_matmul_input(hidden, residual, storage, single_token) | indent(4) }}

),

block_0 as (

    select
        x.*,
        {%- if bias %}
        w.bias,
        {%- endif %}
        {{ relama.block_product('w', 0, 'x', storage) | indent(8) }} as products
    from {{ weight }} as w
    cross join x

)

select
    sequence_id,
    position,
    {{ relama.block_sum('products', 'bias' if bias, 'residual' if residual is not none) | indent(4) }} as vector
from block_0
    {%- else -%}
        {%- set vectors = [] -%}
        {%- for block in range(blocks) -%}
            {%- do vectors.append('block_' ~ block ~ '.vector') -%}
        {%- endfor -%}
with x as materialized (

    {{ relama.block_matmul_input(hidden, residual, storage, single_token) | indent(4) }}

)
{%- for block in range(blocks) %},

block_{{ block }} as (

    select
        x.sequence_id,
        x.position,
        {%- if bias and block == 0 %}
        w.bias,
        {%- endif %}
        {{ relama.block_product('w', block, 'x', storage) | indent(8) }} as vector
    from {{ weight }} as w
    cross join x

)
{%- endfor %}

select
    x.sequence_id,
    x.position,
    {{ relama.block_sum(
        vectors | join('\n|| '),
        'block_0.bias' if bias,
        'x.residual' if residual is not none
    ) | indent(4) }} as vector
from x
{%- for block in range(blocks) %}
inner join block_{{ block }}
    on {{ relama.same('x', 'block_' ~ block, ['sequence_id', 'position'], single_token) }}
{%- endfor %}
    {%- endif -%}
{%- endmacro %}

{# The products with bias and residual, whichever there are, added. An expression. #}
{% macro block_sum(products, bias, residual) -%}
    {%- if bias and residual -%}
list_transform(
    {{ products | indent(4) }},
    lambda y, i: y + {{ bias }}[i] + {{ residual }}[i]
)
    {%- elif bias or residual -%}
list_transform(
    {{ products | indent(4) }},
    lambda y, i: y + {{ bias or residual }}[i]
)
    {%- else -%}
{{ products }}
    {%- endif -%}
{%- endmacro %}

{#
    The input of a block. In storage int4 it is cut into groups, as the weight's rows
    are. A group ends in what the two digits of the weight's zero point are multiplied
    by: minus the sum of its elements, and a sixteenth of that.
#}
{% macro block_matmul_input(hidden, residual, storage, single_token) -%}
    {%- if storage != 'int4' -%}
{{ relama.matmul_input(hidden, residual, single_token) }}
    {%- else -%}
select
    * exclude (groups),
    list_transform(
        groups,
        lambda g: cast(g || [-list_sum(g), -list_sum(g) / 16] as real[34])
    ) as groups
from (
    select
        *,
        {{ relama.vector_groups('vector') | indent(8) }} as groups
    from (
        {{ relama.matmul_input(hidden, residual, single_token) | indent(8) }}
    ) as ungrouped
) as grouped
    {%- endif -%}
{%- endmacro %}

{# The products of all rows of a block with the input `x`, as a list. An expression. #}
{% macro block_product(weight, block, x, storage) -%}
    {%- set block = weight ~ '.block_' ~ block -%}
    {%- if storage == 'float32' -%}
list_transform(
    {{ block }},
    lambda row: {{ relama.inner_product('row', x ~ '.vector') }}
)
    {%- elif storage == 'int8' -%}
list_transform(
    cast({{ block }} as struct(vector real[], scale real)[]),
    lambda row: {{ relama.inner_product('row.vector', x ~ '.vector') }} * row.scale
)
    {%- else -%}
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
    {%- endif -%}
{%- endmacro %}
