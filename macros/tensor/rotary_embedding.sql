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
    single_token  see the macro of this name
#}
{% macro rotary_embedding(inputs, angles, head_dim, single_token=false) -%}
    {{ return(adapter.dispatch('rotary_embedding', 'relama')(
        inputs, angles, head_dim, single_token
    )) }}
{%- endmacro %}

{% macro default__rotary_embedding(inputs, angles, head_dim, single_token=false) -%}
    {%- set half = head_dim // 2 -%}
    {%- set heads = relama.split_heads(inputs, head_dim) -%}
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
    {{ heads | indent(4) }}
) as x
inner join {{ angles }} as a on x.position = a.position
{%- endmacro %}

{% macro duckdb__rotary_embedding(inputs, angles, head_dim, single_token) -%}
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
    {{ relama.split_heads(inputs, head_dim) | indent(4) }}
) as x
inner join {{ angles }} as a on {{ relama.same('x', 'a', ['position'], single_token) }}
{%- endmacro %}
