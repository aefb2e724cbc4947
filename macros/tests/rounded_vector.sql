{# A vector's elements rounded, zero without a sign. An expression, for tests. #}
{% macro _rounded_vector(vector, digits=4) -%}
    {{ return(adapter.dispatch('_rounded_vector', 'relama')(vector, digits)) }}
{%- endmacro %}

{% macro default___rounded_vector(vector, digits) -%}
    array(
        select cast(round(cast(e.x as numeric), {{ digits }}) as double precision)
        from unnest({{ vector }}) with ordinality as e (x, i)
        order by e.i
    )
{%- endmacro %}

{% macro duckdb___rounded_vector(vector, digits) -%}
    list_transform({{ vector }}, lambda x: round(cast(x as double), {{ digits }}) + 0)
{%- endmacro %}

{% macro clickhouse___rounded_vector(vector, digits) -%}
    arrayMap(x -> round(toFloat64(x), {{ digits }}) + 0, {{ vector }})
{%- endmacro %}
