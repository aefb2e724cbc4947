{#
    Causal attention weights (arXiv 1706.03762, equation 1), query heads sharing
    key heads in groups (arXiv 2305.13245):

        weight[k] = softmax over k of (query . key[k] / sqrt(head_dim)),
        a key after the query's position counting as -infinity

    A select of (sequence_id, position, head, vector): a vector holds one weight
    for each position that its sequence has a key for, in order.

    rotated       relation (sequence_id, position, vector), its query heads first
    cache         relation (sequence_id, position, kv_head, key) of earlier steps
    appended      the same of this step
    num_heads     number of query heads
    num_kv_heads  number of heads that have a key
    head_dim      width of a head
    scaling       what query . key is multiplied by in place of 1 / sqrt(head_dim)
    softcap       see `attention`
    sliding_window  see `attention`
#}
{% macro attention_weights(
    rotated, cache, appended, num_heads, num_kv_heads, head_dim, scaling=none, softcap=none,
    sliding_window=none
) -%}
    {%- set keys = ['sequence_id', 'position', 'head'] -%}
    {%- set scale = relama._real(scaling if scaling is not none else 1 / head_dim ** 0.5) -%}
    {%- set scores -%}
(
    select
        q.sequence_id as sequence_id,
        q.position as position,
        q.head as head,
        k.position as key_position,
        case
            when
                k.position <= q.position
                {%- if sliding_window is not none %}
                and k.position > q.position - {{ sliding_window }}
                {%- endif %}
                then
                    {{ relama._softcapped(
                        relama._inner_product(relama._from_cache('k.key'), 'q.vector')
                        ~ '\n                    * ' ~ scale,
                        softcap
                    ) }}
            else {{ relama._real("'-infinity'") }}
        end as score
    from (
        select
            sequence_id,
            position,
            kv_head,
            key
        from {{ cache }}

        union all

        select
            sequence_id,
            position,
            kv_head,
            key
        from {{ appended }}
    ) as k
    inner join (
        {{ relama._heads(rotated, num_heads, head_dim) | indent(8) }}
    ) as q
        on
            k.sequence_id = q.sequence_id
            and k.kv_head = {{ relama._integer_divide('q.head', num_heads // num_kv_heads) }}
)
    {%- endset -%}
    {%- set packed = relama._collect_vector(scores, keys, 'score', 'key_position') -%}
    {{- relama._softmax('(\n    ' ~ packed | indent(4) ~ '\n)', keys) -}}
{%- endmacro %}
