{#
    Rotary position embedding of queries and keys (RoFormer, arXiv 2104.09864;
    apply_rotary_pos_emb of Hugging Face, which pairs i with i + head_dim / 2):

        y[i]            = x[i] * cos[i] - x[i + half] * sin[i]
        y[i + half]     = x[i + half] * cos[i] + x[i] * sin[i],  i < half

    A select of (sequence_id, position, head, vector): the query heads come
    first, the key heads after them.

    inputs        list of (relation, number of heads); each relation is
                  (sequence_id, position, vector) with its heads at the front
    angles        relation (position, cosine, sine)
    head_dim      width of a head
    by_head       whether each relation is (sequence_id, position, head, vector) instead,
                  its heads numbered from 0: what a norm of each head gives
    single_token  see the macro of this name
#}
{% macro rotary_embedding(inputs, angles, head_dim, by_head=false, single_token=false) -%}
    {{ return(adapter.dispatch('rotary_embedding', 'relama')(
        inputs, angles, head_dim, by_head, single_token
    )) }}
{%- endmacro %}

{% macro default__rotary_embedding(inputs, angles, head_dim, by_head, single_token) -%}
    {%- set half = head_dim // 2 -%}
select
    x.sequence_id,
    x.position,
    x.head,
    array(
        select
            case
                when e.i <= {{ half }}
                    then e.value * a.cosine[e.i] - x.vector[e.i + {{ half }}] * a.sine[e.i]
                else
                    e.value * a.cosine[e.i - {{ half }}]
                    + x.vector[e.i - {{ half }}] * a.sine[e.i - {{ half }}]
            end
        from unnest(x.vector) with ordinality as e (value, i)
        order by e.i
    ) as vector
from (
    {{ relama._rotated_heads(inputs, head_dim, by_head) | indent(4) }}
) as x
inner join {{ angles }} as a on x.position = a.position
{%- endmacro %}

{% macro duckdb__rotary_embedding(inputs, angles, head_dim, by_head, single_token) -%}
    {%- set half = head_dim // 2 -%}
select
    x.sequence_id,
    x.position,
    x.head,
    list_transform(
        x.vector,
        lambda value, i: case
            when i <= {{ half }}
                then value * a.cosine[i] - x.vector[i + {{ half }}] * a.sine[i]
            else
                value * a.cosine[i - {{ half }}]
                + x.vector[i - {{ half }}] * a.sine[i - {{ half }}]
        end
    ) as vector
from (
    {{ relama._rotated_heads(inputs, head_dim, by_head) | indent(4) }}
) as x
inner join {{ angles }} as a on {{ relama._same('x', 'a', ['position'], single_token) }}
{%- endmacro %}

{# The heads to be turned, cut from vectors or as they are. A select. #}
{% macro _rotated_heads(inputs, head_dim, by_head) -%}
    {{ return(relama._stacked_heads(inputs) if by_head else relama.split_heads(inputs, head_dim)) }}
{%- endmacro %}

{# The heads of several relations, numbered through from the first to the last. A select. #}
{% macro _stacked_heads(inputs) -%}
    {%- set ns = namespace(first=0) -%}
    {%- for relation, heads in inputs -%}
        {%- if not loop.first %}

union all

{% endif -%}
select
    x.sequence_id,
    x.position,
    {% if ns.first %}{{ ns.first }} + x.head as head{% else %}x.head{% endif %},
    x.vector
from {{ relation }} as x
        {%- set ns.first = ns.first + heads -%}
    {%- endfor -%}
{%- endmacro %}
