{{ config(materialized=relama.activation()) }}

-- The tokens that no step has read yet: the prompt at first, then the last token.
{#- With dbt's option --empty a step reads nothing; the function of a package is there to stay. #}
{%- set tokens = source('state', 'tokens') %}
with tokens as (

    select * from {{ tokens if model.package_name == project_name else tokens.render() }}

),

step_input as (

    {{ relama.step_input('tokens') | indent(4) }}

)

select * from step_input
