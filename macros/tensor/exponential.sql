{#
    exp(x) of a number that is 0 or negative; 0 where it would be too small to
    matter. An expression.
#}
{% macro exponential(x) -%}
    {{ return(adapter.dispatch('exponential', 'relama')(x)) }}
{%- endmacro %}

{# PostgreSQL raises an error where a result is too small for its type. #}
{% macro default__exponential(x) -%}
    case when {{ x }} > -60 then exp({{ x }}) else 0 end
{%- endmacro %}

{% macro duckdb__exponential(x) -%}
    exp({{ x }})
{%- endmacro %}
