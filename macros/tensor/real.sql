{# A constant or an expression as a 32-bit float. #}
{% macro _real(expression) -%}
    cast({{ expression }} as real)
{%- endmacro %}
