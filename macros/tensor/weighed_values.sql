{#
    Weighs the values by the attention weights (arXiv 1706.03762, equation 1):

        y[head, i] = sum over k of weight[head, k] * value[k, i]

    A select of (sequence_id, position, vector): the heads side by side. The
    values are turned by dimension first, so that weighing is an inner product.

    weights   relation (sequence_id, position, head, vector)
    cache     relation (sequence_id, position, kv_head, value) of earlier steps
    appended  the same of this step
#}
{% macro _weighed_values(weights, cache, appended, num_heads, num_kv_heads, head_dim) -%}
    {%- set values -%}
(
    select
        sequence_id,
        position,
        kv_head,
        value
    from {{ cache }}

    union all

    select
        sequence_id,
        position,
        kv_head,
        value
    from {{ appended }}
)
    {%- endset -%}
    {%- set weighed -%}
(
    select
        p.sequence_id,
        p.position,
        p.head * {{ head_dim }} + v.dimension as row_id,
        {{ relama._inner_product('p.vector', 'v.vector') }} as y
    from {{ weights }} as p
    inner join (
        {{ relama._values_by_dimension(values, head_dim) | indent(8) }}
    ) as v
        on
            p.sequence_id = v.sequence_id
            and {{ relama._integer_divide('p.head', num_heads // num_kv_heads) }} = v.kv_head
)
    {%- endset -%}
    {{- relama._collect_vector(weighed, ['sequence_id', 'position'], 'y', 'row_id') -}}
{%- endmacro %}
