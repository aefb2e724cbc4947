{#
    A number in [0, 1) that depends on nothing but the seed and the place of the
    token: the same settings give the same text, on either engine. An expression.
#}
{% macro _uniform(seed, sequence_id, position) -%}
    {{ return(adapter.dispatch('_uniform', 'relama')(seed, sequence_id, position)) }}
{%- endmacro %}

{# The first 48 bits of an MD5 digest; PostgreSQL's spelling of hexadecimal to number. #}
{% macro default___uniform(seed, sequence_id, position) -%}
cast(cast(
    'x' || substr(md5(concat({{ seed }}, ':', {{ sequence_id }}, ':', {{ position }})), 1, 12)
    as bit(48)
) as bigint) / 281474976710656.0
{%- endmacro %}

{% macro duckdb___uniform(seed, sequence_id, position) -%}
cast(
    '0x' || substr(md5(concat({{ seed }}, ':', {{ sequence_id }}, ':', {{ position }})), 1, 12)
    as bigint
) / 281474976710656.0
{%- endmacro %}

{% macro clickhouse___uniform(seed, sequence_id, position) -%}
reinterpretAsUInt64(reverse(substring(
    MD5(concat({{ seed }}, ':', {{ sequence_id }}, ':', {{ position }})), 1, 6
))) / 281474976710656.0
{%- endmacro %}
