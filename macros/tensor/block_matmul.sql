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
    storage       one that has blocks: float32, int8 or int4
    bias          whether the weight has a bias
    residual      relation (sequence_id, position, vector) to be added, or none
    single_token  see the macro of this name
    small         whether native functions multiply a single token sooner than a second thread
                  could begin
#}
{% macro block_matmul(
    hidden, weight, blocks, storage='float32', bias=false, residual=none, single_token=false,
    small=false
) -%}
    {{ return(adapter.dispatch('block_matmul', 'relama')(
        hidden, weight, blocks, storage, bias, residual, single_token, small
    )) }}
{%- endmacro %}

{% macro duckdb__block_matmul(
    hidden, weight, blocks, storage, bias, residual, single_token, small
) -%}
    {%- set native = relama._native() -%}
    {%- set many = relama._storage(storage, 'block_matmul_many') -%}
    {%- if native and (blocks == 1 or small) -%}
{{ relama._small_matmul(hidden, weight, blocks, bias, residual, single_token) }}
    {%- elif many and not single_token and not native -%}
{{ many(hidden, weight, blocks, bias, residual) }}
    {%- else -%}
{{ relama._matmul_by_blocks(hidden, weight, blocks, storage, bias, residual, single_token) }}
    {%- endif -%}
{%- endmacro %}

{#
    Native, all blocks in one expression. Many positions are dealt out to as many parts as there
    are blocks, one for a thread; each reads the whole weight, which costs less than to put the
    rows of blocks together.
#}
{% macro _small_matmul(hidden, weight, blocks, bias, residual, single_token) -%}
    {%- set parts = 1 if single_token else blocks -%}
    {%- set all = [] -%}
    {%- for block in range(blocks) -%}
        {%- do all.append('w.block_' ~ block) -%}
    {%- endfor -%}
    {%- set products = relama._native_products(all | join(', '), 'x') -%}
with x as {% if parts > 1 %}materialized {% endif %}(

    {{ relama._matmul_input(hidden, residual, single_token) | indent(4) }}

)
{%- for part in range(parts) %}
{% if part %}
union all
{% endif %}
select
    x.sequence_id,
    x.position,
    {{ relama._block_sum(
        products, 'w.bias' if bias, 'x.residual' if residual is not none
    ) | indent(4) }} as vector
from {{ weight }} as w
cross join x
{%- if parts > 1 %}
where abs(x.sequence_id + x.position) % {{ parts }} = {{ part }}
{%- endif %}
{%- endfor -%}
{%- endmacro %}

{# Each block a relation of its own, which the rows of a position are put together from. #}
{% macro _matmul_by_blocks(hidden, weight, blocks, storage, bias, residual, single_token) -%}
    {%- set native = relama._native() -%}
    {%- set products = relama._storage(storage, 'block_products') -%}
    {%- set input = relama._matmul_input(hidden, residual, single_token) -%}
    {%- if native -%}
        {%- set products = relama._native_products -%}
    {%- else -%}
        {%- set input = relama._storage(storage, 'block_input')(input) -%}
    {%- endif -%}
    {%- if blocks == 1 -%}
with x as (

    {{ input | indent(4) }}

),

multiplied as (

    select
        x.*,
        {%- if bias %}
        w.bias,
        {%- endif %}
        {{ products('w.block_0', 'x') | indent(8) }} as products
    from {{ weight }} as w
    cross join x

)

select
    sequence_id,
    position,
    {{ relama._block_sum('products', 'bias' if bias, 'residual' if residual is not none) | indent(4) }} as vector
from multiplied
    {%- else -%}
        {%- set vectors = [] -%}
        {%- for block in range(blocks) -%}
            {%- do vectors.append('block_' ~ block ~ '.vector') -%}
        {%- endfor -%}
with x as materialized (

    {{ input | indent(4) }}

)
{%- for block in range(blocks) %},

block_{{ block }} as (

    select
        x.sequence_id,
        x.position,
        {%- if bias and block == 0 %}
        w.bias,
        {%- endif %}
        {{ products('w.block_' ~ block, 'x') | indent(8) }} as vector
    from {{ weight }} as w
    cross join x

)
{%- endfor %}

select
    x.sequence_id,
    x.position,
    {{ relama._block_sum(
        vectors | join('\n|| '),
        'block_0.bias' if bias,
        'x.residual' if residual is not none
    ) | indent(4) }} as vector
from x
{%- for block in range(blocks) %}
inner join block_{{ block }}
    on {{ relama._same('x', 'block_' ~ block, ['sequence_id', 'position'], single_token) }}
{%- endfor %}
    {%- endif -%}
{%- endmacro %}

{# The products of all rows of some blocks with `x`, whatever the storage. An expression. #}
{% macro _native_products(blocks, x) -%}
relama_matmul({{ x }}.vector, {{ blocks }})
{%- endmacro %}

{# The products with bias and residual, whichever there are, added. An expression. #}
{% macro _block_sum(products, bias, residual) -%}
    {%- if (bias or residual) and relama._native() -%}
relama_add(
    {{ products | indent(4) }},
    {{ [bias, residual] | select | join(',\n    ') }}
)
    {%- elif bias and residual -%}
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
