{#
    The state of a batch: what the layers read as the source `state`, in temporary
    tables, which each dbt node has for itself and which are gone when it ends.

    num_hidden_layers  number of layers of the model; none for those of this project
    long_factors       whether its rotary embedding has two sets of factors, see `rotary_angles`
#}
{% macro create_batch_state(num_hidden_layers=none, long_factors=false) -%}
    {%- for name, columns in relama._state_tables(num_hidden_layers, long_factors).items() %}
    create or replace temporary table {{ name }} (
        {{ columns | indent(4) }}
    );
    {%- endfor %}
{%- endmacro %}
