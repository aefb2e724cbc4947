{#
    The state of a batch: what the layers read as the source `state`, in temporary
    tables, which each dbt node has for itself and which are gone when it ends.
#}
{% macro create_batch_state(num_hidden_layers=none) -%}
    {%- for name, columns in relama.state_tables(num_hidden_layers).items() %}
    create temporary table {{ name }} (
        {{ columns | indent(4) }}
    );
    {%- endfor %}
{%- endmacro %}
