{#
    A list in pieces of at most 256 elements, one at least. A select of (relama__words,
    relama__place); of NULL, both are NULL.

    list    an expression of `relama__text`
    column  what `relama__text` is
#}
{% macro _list_chunks(list, column) -%}
select
    unnest(list_transform(
        range(0, coalesce(greatest(len(relama__list), 1), 1), 256),
        lambda i: relama__list[i + 1:i + 256]
    )) as relama__words,
    unnest(
        case
            when relama__list is null then [null]
            else range(0, greatest(len(relama__list), 1), 256)
        end
    ) as relama__place
from (
    select {{ list | indent(4) }} as relama__list
    from (select {{ column | indent(4) }} as relama__text) as relama__given
) as relama__whole
{%- endmacro %}
