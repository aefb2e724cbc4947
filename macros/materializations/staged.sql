{#
    Where a staged tensor lies: its Parquet file in the folder `weights` of the project that
    the running node belongs to, whatever directory dbt is run in. With --empty, dbt's own
    `source` would read none of it.

    relation  what `source('staged_weights', ...)` gives
#}
{% macro staged(relation) -%}
    {{ return(adapter.dispatch('staged', 'relama')(relation)) }}
{%- endmacro %}

{# The table that `relama load` has filled. #}
{% macro default__staged(relation) -%}
    {%- if execute and not load_relation(relation) -%}
        {%- do exceptions.raise_compiler_error(
            'relama: the staged weights are not in the database: there is no table '
            ~ relation.render() ~ '. Load them with: relama load DIR'
        ) -%}
    {%- endif -%}
    {{ return(relation.render()) }}
{%- endmacro %}

{% macro duckdb__staged(relation) -%}
    {%- if not execute or not relation.external -%}{{ return(relation) }}{%- endif -%}
    {{ return(
        "read_parquet('" ~ relama._staged_directory() ~ '/' ~ relation.identifier ~ ".parquet')"
    ) }}
{%- endmacro %}

{#
    The folder of the staged tensors, as it stands in a string of DuckDB: a quote is doubled,
    and what would be a pattern stands for itself.
#}
{% macro _staged_directory() -%}
    {%- set project = adapter.config.load_dependencies()[model.package_name] -%}
    {%- set path = project.project_root ~ '/weights' -%}
    {%- set path = path | replace('[', '[[]') | replace('*', '[*]') | replace('?', '[?]') -%}
    {{ return(path | replace("'", "''")) }}
{%- endmacro %}
