{#
    How an activation is materialised: not at all by default, so that a step is
    one statement; as a table where the variable `relama_trace` is true, so that it can
    be queried and tested.
#}
{% macro activation() -%}
    {{ return('table' if var('relama_trace', false) else 'ephemeral') }}
{%- endmacro %}
