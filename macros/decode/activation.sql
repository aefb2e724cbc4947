{#
    How an activation is materialised: not at all by default, so that a step is
    one statement; as a table where the variable `relama_trace` is true, so that it can
    be queried and tested. A package of another project takes no steps.
#}
{% macro activation() -%}
    {{ return('table' if relama._is_traced() else 'ephemeral') }}
{%- endmacro %}

{% macro _is_traced() -%}
    {{ return(var('relama_trace', false) and model.package_name == project_name) }}
{%- endmacro %}
