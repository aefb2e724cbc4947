{# A constant or an expression as a 32-bit float. #}
{% macro real(expression) -%}
    cast({{ expression }} as real)
{%- endmacro %}
