{#
    The table of a weight of a language model that is a package, as it stands in SQL: the model
    `weights` of the package makes it, see `relama_weights`.

    name  of the table
#}
{% macro weight(name) -%}
    {{ return(relama._sibling(ref('weights'), name).render()) }}
{%- endmacro %}

{# A table beside another one. #}
{% macro _sibling(relation, identifier) -%}
    {{ return(api.Relation.create(
        database=relation.database, schema=relation.schema, identifier=identifier, type='table'
    )) }}
{%- endmacro %}
