{#
    A table of weights: tensors of the checkpoint one below the other, rounded and laid out as
    their storage says. A select of (row_id, vector) with what else `quantized` gives, or of one row
    of blocks, see `matrix_blocks`; with a column bias where a part has one.

    parts        from top to bottom, mappings of tensor and bias, the sources `staged_weights` of
                 a matrix and of its bias, and rows, how many the tensor has; bias may be left out
    storage      how a row is stored, see `storage`
    blocks       into how many blocks the rows are cut; 0 for a table of rows
    num_experts  see `matrix_blocks`
#}
{% macro weight_table(parts, storage='float32', blocks=0, num_experts=0) -%}
    {%- set row_count = parts | sum(attribute='rows') -%}
    {%- set has_bias = parts | selectattr('bias', 'defined') | selectattr('bias') | list | length > 0 -%}
    {%- set offset = namespace(rows=0) -%}
with stacked as (
    {%- for part in parts %}

    select
        {{ 'w.row_id + ' ~ offset.rows ~ ' as row_id' if offset.rows else 'w.row_id' }},
        w.vector
        {%- if has_bias %},
        {{ 'b.value' if part.bias else 'cast(0 as real)' }} as bias
        {%- endif %}
    from {{ relama.staged(part.tensor) }} as w
        {%- if part.bias %}
    inner join {{ relama.staged(part.bias) }} as b
        on w.row_id = b.row_id
        {%- endif %}
        {%- if not loop.last %}

    union all
        {%- endif %}
        {%- set offset.rows = offset.rows + part.rows %}
    {%- endfor %}

)
    {%- set rows = 'stacked' -%}
    {%- if storage != 'float32' %},

quantized as (

    {{ relama.quantized(rows, storage, rows=row_count, bias=has_bias) | indent(4) }}

)
        {%- set rows = 'quantized' -%}
    {%- endif -%}
    {%- if blocks %},

blocks as (

    {{ relama.matrix_blocks(
        rows, rows=row_count, blocks=blocks, storage=storage, bias=has_bias,
        num_experts=num_experts
    ) | indent(4) }}

)
        {%- set rows = 'blocks' -%}
    {%- endif %}

select * from {{ rows }}
{%- endmacro %}
