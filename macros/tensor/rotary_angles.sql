{#
    Cosine and sine of the rotation angles of every position of this step
    (RoFormer, arXiv 2104.09864, section 3.2.2; LlamaRotaryEmbedding):

        angle[i] = position * inverse_frequency[i],  i < head_dim / 2

    A select of (position, cosine, sine).

    step_input           relation with a column position
    inverse_frequencies  relation of one row (row_id, vector)
    attention_factor     of cosine and sine, with which YaRN (arXiv 2309.00071) and LongRoPE
                         sharpen attention
#}
{% macro rotary_angles(step_input, inverse_frequencies, attention_factor=1) -%}
    {{ return(adapter.dispatch('rotary_angles', 'relama')(
        step_input, inverse_frequencies, relama._sharpened('f', attention_factor)
    )) }}
{%- endmacro %}

{% macro default__rotary_angles(step_input, inverse_frequencies, times) -%}
select
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
from (select distinct position from {{ step_input }}) as p
cross join {{ inverse_frequencies }} as w
{%- endmacro %}

{# The angle is rounded to float32 first, as Hugging Face's is. #}
{% macro duckdb__rotary_angles(step_input, inverse_frequencies, times) -%}
select
    p.position,
    list_transform(
        w.vector, lambda f: cast(cos(f * cast(p.position as real)){{ times }} as real)
    ) as cosine,
    list_transform(
        w.vector, lambda f: cast(sin(f * cast(p.position as real)){{ times }} as real)
    ) as sine
from (select distinct position from {{ step_input }}) as p
cross join {{ inverse_frequencies }} as w
{%- endmacro %}

{% macro clickhouse__rotary_angles(step_input, inverse_frequencies, times) -%}
select
    p.position as position,
    arrayMap(f -> toFloat32(cos(toFloat32(f * toFloat32(p.position))){{ times }}), w.vector) as cosine,
    arrayMap(f -> toFloat32(sin(toFloat32(f * toFloat32(p.position))){{ times }}), w.vector) as sine
from (select distinct position from {{ step_input }}) as p
cross join {{ inverse_frequencies }} as w
{%- endmacro %}

{# What cosine or sine of a pair is multiplied by; a pair that does not turn passes as it is. #}
{% macro _sharpened(frequency, factor) -%}
    {{ return(
        '' if factor == 1
        else ' * case when ' ~ frequency ~ ' = 0 then 1 else ' ~ factor ~ ' end'
    ) }}
{%- endmacro %}
