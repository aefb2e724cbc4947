{#
    Cosine and sine of the rotation angles of every position of this step
    (RoFormer, arXiv 2104.09864, section 3.2.2; LlamaRotaryEmbedding):

        angle[i] = position * inverse_frequency[i],  i < head_dim / 2

    A select of (position, cosine, sine).

    LongRoPE (arXiv 2402.13753; longrope_frequency_update of Hugging Face) has two sets of factors:
    all positions of a sequence that is longer than the context the model was first trained on are
    turned by the long ones, all of another by the short ones. So a position has angles for each
    sequence: a select of (sequence_id, position, cosine, sine).

    step_input           relation with a column position; for long_factors with sequence_id and
                         is_long too
    inverse_frequencies  relation of one row (row_id, vector); for long_factors of two, the short
                         ones before the long ones
    attention_factor     of cosine and sine, with which YaRN (arXiv 2309.00071) and LongRoPE
                         sharpen attention
    long_factors         whether there are two sets of factors
#}
{% macro rotary_angles(
    step_input, inverse_frequencies, attention_factor=1, long_factors=false
) -%}
    {{ return(adapter.dispatch('rotary_angles', 'relama')(
        relama._turned_positions(step_input, inverse_frequencies, long_factors),
        relama._sharpened('f', attention_factor),
        long_factors
    )) }}
{%- endmacro %}

{# The positions p of a step, each with the frequencies w that turn it. What follows a `from`. #}
{% macro _turned_positions(step_input, inverse_frequencies, long_factors) -%}
    {%- if long_factors -%}
{{ step_input }} as p
inner join {{ inverse_frequencies }} as w
    on w.row_id = case when p.is_long then 1 else 0 end
    {%- else -%}
(select distinct position from {{ step_input }}) as p
cross join {{ inverse_frequencies }} as w
    {%- endif -%}
{%- endmacro %}

{% macro default__rotary_angles(positions, times, long_factors) -%}
select
    {%- if long_factors %}
    p.sequence_id,
    {%- endif %}
    p.position,
    array(
        select {{ relama._narrowed('cos(e.f * cast(p.position as real))' ~ times) }}
        from unnest(w.vector) with ordinality as e (f, i)
        order by e.i
    ) as cosine,
    array(
        select {{ relama._narrowed('sin(e.f * cast(p.position as real))' ~ times) }}
        from unnest(w.vector) with ordinality as e (f, i)
        order by e.i
    ) as sine
from {{ positions }}
{%- endmacro %}

{# The angle is rounded to float32 first, as Hugging Face's is. #}
{% macro duckdb__rotary_angles(positions, times, long_factors) -%}
select
    {%- if long_factors %}
    p.sequence_id,
    {%- endif %}
    p.position,
    list_transform(
        w.vector, lambda f: {{ relama._as_real('cos(f * cast(p.position as real))', times) }}
    ) as cosine,
    list_transform(
        w.vector, lambda f: {{ relama._as_real('sin(f * cast(p.position as real))', times) }}
    ) as sine
from {{ positions }}
{%- endmacro %}

{% macro _as_real(value, times) -%}
    {%- if times -%}
    cast(
            {{ value }}
            {{ times | trim }} as real
        )
    {%- else -%}
    cast({{ value }} as real)
    {%- endif -%}
{%- endmacro %}

{% macro clickhouse__rotary_angles(positions, times, long_factors) -%}
select
    {%- if long_factors %}
    p.sequence_id as sequence_id,
    {%- endif %}
    p.position as position,
    arrayMap(f -> toFloat32(cos(toFloat32(f * toFloat32(p.position))){{ times }}), w.vector) as cosine,
    arrayMap(f -> toFloat32(sin(toFloat32(f * toFloat32(p.position))){{ times }}), w.vector) as sine
from {{ positions }}
{%- endmacro %}

{# What cosine or sine of a pair is multiplied by; a pair that does not turn passes as it is. #}
{% macro _sharpened(frequency, factor) -%}
    {{ return(
        '' if factor == 1
        else ' * case when ' ~ frequency ~ ' = 0 then 1 else ' ~ factor ~ ' end'
    ) }}
{%- endmacro %}
