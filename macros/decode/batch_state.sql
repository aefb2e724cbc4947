{#
    The state of a batch: what the layers read as the source `state`, in temporary
    tables, which each dbt node has for itself and which are gone when it ends.
#}
{% macro create_batch_state(num_hidden_layers=none) -%}
    {%- set layers = num_hidden_layers or var('relama_num_hidden_layers') -%}
    create temporary table tokens (
        sequence_id bigint, position integer, token_id integer, is_prompt boolean, logprob real
    );
    {%- for name in relama.kv_cache_names(layers) %}
    create temporary table {{ name }} (
        sequence_id bigint, position integer, kv_head integer, key real[], value real[]
    );
    {%- endfor %}
    {%- for name in relama.kv_pages_names(layers) %}
    create temporary table {{ name }} (
        sequence_id bigint, kv_head integer, first_position integer,
        keys real[][], dimensions real[][]
    );
    {%- endfor %}
{%- endmacro %}
