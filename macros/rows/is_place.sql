{#
    A condition on one of DuckDB's catalogs: that a row is of a relation, whatever letters are
    capital. DuckDB tells no names apart by that, and keeps the first spelling.

    name  the catalog's column that has the relation's identifier
#}
{% macro _is_place(relation, name) -%}
    {%- set conditions = [] -%}
    {%- for column, value in [
        ('database_name', relation.database),
        ('schema_name', relation.schema),
        (name, relation.identifier),
    ] -%}
        {%- do conditions.append('lower(' ~ column ~ ') = lower(' ~ relama._text_literal(value) ~ ')') -%}
    {%- endfor -%}
    {{ return(conditions | join(' and ')) }}
{%- endmacro %}
