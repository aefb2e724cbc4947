{#
    A vector cut into groups of 32, the last one shorter where its length is no
    multiple of 32. An expression.
#}
{% macro vector_groups(vector) -%}
    list_transform(
        range((len({{ vector }}) + 31) // 32),
        lambda g: {{ vector }}[g * 32 + 1:g * 32 + 32]
    )
{%- endmacro %}
