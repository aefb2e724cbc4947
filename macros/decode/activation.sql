{#
    How an activation is materialised: not at all by default, so that a step is
    one statement; as a table where the variable `relama_trace` is true, so that it can
    be queried and tested. A package of another project takes no steps.
#}
{% macro activation() -%}
    {%- set is_traced = var('relama_trace', false) and model.package_name == project_name -%}
    {{ return('table' if is_traced else 'ephemeral') }}
{%- endmacro %}
