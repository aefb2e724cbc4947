{#
    How an activation is materialised: not at all by default, so that a step is
    one statement; as a table where the variable `trace` is true, so that it can
    be queried and tested.
#}
{% macro activation() -%}
    {{ return('table' if var('trace', false) else 'ephemeral') }}
{%- endmacro %}
