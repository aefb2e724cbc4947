{#
    The state of a batch: what the layers read as the source `state`, in temporary
    tables, which each dbt node has for itself and which are gone when it ends.

    num_hidden_layers  number of layers of the model; none for those of this project
#}
{% macro create_batch_state(num_hidden_layers=none) -%}
    {%- for name, columns in relama._state_tables(num_hidden_layers).items() %}
    create or replace temporary table {{ name }} (
        {{ columns | indent(4) }}
    );
    {%- endfor %}
{%- endmacro %}
