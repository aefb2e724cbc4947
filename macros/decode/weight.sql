{#
    The table of a weight, as it stands in SQL. In a project of its own it is a model's, which
    `ref` gives. As a package, the model only says what the table is made of, and the model
    `weights` makes all of them, see `relama_weights`.

    name  of the model
#}
{% macro weight(name) -%}
    {%- if not execute or model.package_name == project_name -%}
        {{ return(ref(name).render()) }}
    {%- endif -%}
    {{ return(relama._weight_relation(model.package_name, name).render()) }}
{%- endmacro %}

{# The table of a weight of a package, which is where the package's model `weights` is. #}
{% macro _weight_relation(package, name) -%}
    {{ return(relama._sibling(
        relama._package_relation(package, 'weights'), relama._package_node(package, name).alias
    )) }}
{%- endmacro %}
