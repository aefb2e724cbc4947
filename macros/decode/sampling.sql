{#
    How the next token is chosen, a select of one row (temperature, top_k, top_p, seed): the
    variable `relama_sampling` where it is given, else the relation.

    relation  the seed `sampling`
#}
{% macro sampling(relation) -%}
    {%- set given = var('relama_sampling', none) -%}
    {%- if given -%}
select
    cast('{{ given['temperature'] | float }}' as double precision) as temperature,
    {{ given['top_k'] | int }} as top_k,
    cast('{{ given['top_p'] | float }}' as double precision) as top_p,
    cast({{ given['seed'] | int }} as bigint) as seed
    {%- else -%}
select * from {{ relation }}
    {%- endif -%}
{%- endmacro %}
