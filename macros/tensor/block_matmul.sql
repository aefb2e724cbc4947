{#
    A linear layer whose weight is one row of a table, cut into blocks:

        y[row] = sum over i of weight[row][i] * x[i]  (+ bias[row])  (+ residual[row])

    A select of (sequence_id, position, vector). A block multiplies all its rows
    within one expression, so nothing is grouped; the blocks run at once, each on
    a thread of its own. The weight stands on the left of the join: it is streamed
    past the few rows of the hidden state, never copied.

    hidden    relation (sequence_id, position, vector)
    weight    relation of one row, see `matrix_blocks`
    blocks    number of blocks
    storage   float32, int8 or int4
    bias      whether the weight has a bias
    residual  relation (sequence_id, position, vector) to be added, or none
#}
{% macro block_matmul(
    hidden, weight, blocks, storage='float32', bias=false, residual=none
) -%}
    {{ return(adapter.dispatch('block_matmul', 'relama')(
        hidden, weight, blocks, storage, bias, residual
    )) }}
{%- endmacro %}

{#
    Every block reads the same `x` in the same order, so the rows of the blocks
    correspond one to one: a positional join puts them together at a fifth of the
    cost of a hash join. The check of the keys costs nothing.
#}
{% macro duckdb__block_matmul(hidden, weight, blocks, storage, bias, residual) -%}
    {%- if storage == 'int8' and not var('decode', false) -%}
{{ relama.block_matmul_pairs(hidden, weight, blocks, bias, residual) }}
    {%- elif blocks == 1 -%}
with x as (

    {{ relama.matmul_input(hidden, residual) | indent(4) }}

),

block_0 as (

    select
        x.*,
        {%- if bias %}
        w.bias,
        {%- endif %}
        {{ relama.block_product('w', 0, 'x.vector', storage) | indent(8) }} as products
    from {{ weight }} as w
    cross join x

)

select
    sequence_id,
    position,
    {{ relama.block_sum('products', 'bias' if bias, 'residual' if residual is not none) | indent(4) }} as vector
from block_0
    {%- else -%}
        {%- set vectors, checks = [], [] -%}
        {%- for block in range(blocks) -%}
            {%- do vectors.append('block_' ~ block ~ '.vector') -%}
            {%- do checks.append('block_' ~ block ~ '.sequence_id = x.sequence_id') -%}
            {%- do checks.append('block_' ~ block ~ '.position = x.position') -%}
        {%- endfor -%}
        {%- set sum = relama.block_sum(
            vectors | join(' || '),
            'block_0.bias' if bias,
            'x.residual' if residual is not none
        ) -%}
with x as materialized (

    {{ relama.matmul_input(hidden, residual) | indent(4) }}

)
{%- for block in range(blocks) %},

block_{{ block }} as (

    select
        x.sequence_id,
        x.position,
        {%- if bias and block == 0 %}
        w.bias,
        {%- endif %}
        {{ relama.block_product('w', block, 'x.vector', storage) | indent(8) }} as vector
    from {{ weight }} as w
    cross join x

)
{%- endfor %}

select
    x.sequence_id,
    x.position,
    case
        when
            {{ checks | join('\n            and ') }}
            then {{ sum | indent(12) }}
        else error('block_matmul: the rows of the blocks do not correspond')
    end as vector
from x
{%- for block in range(blocks) %}
positional join block_{{ block }}
{%- endfor %}
    {%- endif -%}
{%- endmacro %}

{# The products with bias and residual, whichever there are, added. An expression. #}
{% macro block_sum(products, bias, residual) -%}
    {%- if bias and residual -%}
list_transform({{ products }}, lambda y, i: y + {{ bias }}[i] + {{ residual }}[i])
    {%- elif bias or residual -%}
list_transform({{ products }}, lambda y, i: y + {{ bias or residual }}[i])
    {%- else -%}
{{ products }}
    {%- endif -%}
{%- endmacro %}

{# The products of all rows of a block with a vector, as a list. An expression. #}
{% macro block_product(weight, block, vector, storage) -%}
    {%- if storage == 'float32' -%}
list_transform(
    {{ weight }}.block_{{ block }},
    lambda row: {{ relama.inner_product('row', vector) }}
)
    {%- else -%}
list_transform(
    cast({{ weight }}.block_{{ block }} as struct(vector real[], scale real)[]),
    lambda row: {{ relama.inner_product('row.vector', vector) }} * row.scale
)
    {%- endif -%}
{%- endmacro %}
