{#
    The options of each materialization whose rows a language model answers, a mapping of lists:
    a new one is a line here. `_setting` and its kin read them.
#}
{% macro _row_options() -%}
    {%- set every = [
        'batch_size',
        'max_batch_tokens',
        'max_rows',
        'max_seconds',
        'model',
        'on_error',
        'on_overflow',
        'parse_special',
        'share_prefix',
        'unique_key',
    ] -%}
    {%- set chat = [
        'chat',
        'system',
        'template_args',
        'template_date',
    ] -%}
    {%- set completion = [
        'examples',
        'instructions',
        'max_tokens',
        'seed',
        'temperature',
        'top_k',
        'top_p',
    ] -%}
    {{ return({
        'relama_complete': every + chat + completion + [
            'allowed',
            'grammar',
            'json_schema',
            'regex',
            'stop',
        ],
        'relama_aggregate': every | reject('equalto', 'unique_key') | list + chat + [
            'group_by',
            'instructions',
            'max_tokens',
            'order_by',
            'seed',
            'stop',
            'temperature',
            'top_k',
            'top_p',
        ],
        'relama_extract': every + chat + completion + [
            'fields',
            'json_schema',
        ],
        'relama_classify': every + chat + [
            'examples',
            'instructions',
            'labels',
            'max_labels',
            'multi_label',
            'threshold',
        ],
        'relama_filter': every + chat + [
            'examples',
            'instructions',
            'keep',
            'predicate',
            'threshold',
        ],
        'relama_score': every + chat,
        'relama_embed': every + chat + [
            'pooling',
        ],
        'relama_similarity': every + [
            'pooling',
        ],
    }) }}
{%- endmacro %}

{# Keys of a config that are dbt's own or dbt-duckdb's, whether or not they do something here. #}
{% macro _foreign_options() -%}
    {#- The fields of ModelConfig in dbt-core's artifacts/resources/v1/model.py, and what its macros read. -#}
    {%- set dbt = [
        'access', 'alias', 'batch_size', 'begin', 'column_types', 'concurrent_batches', 'contract',
        'database', 'docs', 'enabled', 'event_time', 'freshness', 'full_refresh', 'grants', 'group',
        'incremental_predicates', 'incremental_strategy', 'lookback', 'materialized',
        'merge_exclude_columns', 'merge_update_columns', 'meta', 'on_configuration_change',
        'on_schema_change', 'packages', 'persist_docs', 'post-hook', 'post_hook', 'pre-hook',
        'pre_hook', 'predicates', 'quoting', 'schema', 'sql_header', 'static_analysis', 'tags',
        'unique_key',
    ] -%}
    {#- What the macros and plugins of dbt-duckdb read of a model. -#}
    {%- set duckdb = [
        'csv_read_options', 'delimiter', 'format', 'glue_database', 'glue_register', 'indexes',
        'json_read_options', 'location', 'merge_clauses', 'merge_insert_condition',
        'merge_on_using_columns', 'merge_returning_columns', 'merge_update_condition',
        'merge_update_set_expressions', 'options', 'overrides', 'parameters',
        'parquet_read_options', 'partition_by', 'partition_columns', 'partitioned_by', 'plugin',
        'sort_by', 'sorted_by', 'submission_method',
    ] -%}
    {{ return(dbt + duckdb) }}
{%- endmacro %}

{#
    Fails where a key of the config is none of the materialization's options and none of dbt's: an
    option of another materialization, a mistake, which the sentence says where it is nearly one,
    or the user's own, which stands in `meta`.
#}
{% macro _check_options() -%}
    {%- set materialized = model.config.materialized -%}
    {%- set every = relama._row_options() -%}
    {%- set taken = every.get(materialized, []) -%}
    {#- A key without a value says nothing: dbt makes one of a project's name with nothing below it. -#}
    {%- for key, value in model.config.items()
        if value is not none and key not in taken + relama._foreign_options()
    -%}
        {%- set takers = [] -%}
        {%- for other in every if key in every[other] -%}
            {%- do takers.append(other) -%}
        {%- endfor -%}
        {%- if takers -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ": '" ~ key ~ "' is no setting of " ~ materialized ~ ', but of '
                ~ takers | join(', ') ~ '.'
            ) -%}
        {%- endif -%}
        {%- set nearly -%}
select name
from unnest({{ taken }}) as names (name)
where jaro_winkler_similarity(lower({{ relama._text_literal(key) }}), name) >= 0.85
order by jaro_winkler_similarity(lower({{ relama._text_literal(key) }}), name) desc, name
limit 1
        {%- endset -%}
        {%- set found = relama._rows(nearly) -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ": there is no setting '" ~ key ~ "'"
            ~ ('; is it ' ~ found[0][0] ~ '?' if found | length else '.')
            ~ ' A key of your own stands in meta.'
        ) -%}
    {%- endfor -%}
{%- endmacro %}
