{#
    A vector cut into groups of 32, the last one filled up with zeros. An expression.
#}
{% macro vector_groups(vector) -%}
list_transform(
    range((len({{ vector }}) + 31) // 32),
    lambda g: list_resize({{ vector }}[g * 32 + 1:g * 32 + 32], 32, 0)
)
{%- endmacro %}
