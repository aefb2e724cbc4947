{# Whether a vector holds `length` numbers, none of them NULL, NaN or infinite. #}
{% macro _is_finite_vector(vector, length) -%}
    {{ return(adapter.dispatch('_is_finite_vector', 'relama')(vector, length)) }}
{%- endmacro %}

{% macro default___is_finite_vector(vector, length) -%}
coalesce(
    cardinality({{ vector }}) = {{ length }}
    and not exists (
        select 1 from unnest({{ vector }}) as e (x)
        where e.x is null or e.x in ('NaN', 'Infinity', '-Infinity')
    ),
    false
)
{%- endmacro %}

{% macro duckdb___is_finite_vector(vector, length) -%}
coalesce(
    len({{ vector }}) = {{ length }}
    and len(list_filter({{ vector }}, lambda x: isfinite(x))) = {{ length }},
    false
)
{%- endmacro %}

{% macro clickhouse___is_finite_vector(vector, length) -%}
length({{ vector }}) = {{ length }} and arrayAll(x -> isFinite(x), {{ vector }})
{%- endmacro %}
