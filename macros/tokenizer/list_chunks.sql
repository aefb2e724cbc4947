{# A list in pieces of at most 256 elements. A select of (column, place). #}
{% macro list_chunks(list, column) -%}
select
    unnest(list_transform(
        range(0, len(elements), 256), lambda i: elements[i + 1:i + 256]
    )) as {{ column }},
    unnest(range(0, len(elements), 256)) as place
from (select {{ list | indent(4) }} as elements) as whole
{%- endmacro %}
