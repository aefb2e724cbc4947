{#
    A number that must be one: the statement fails where it is NaN or infinite, and says
    so. An expression.

    x     an expression of type real or double precision
    what  what it is, a text
#}
{% macro finite(x, what) -%}
    {{ return(adapter.dispatch('finite', 'relama')(
        x, what ~ ': weights are damaged, or something overflows float32.'
    )) }}
{%- endmacro %}

{# A cast that fails is the only error that every database can be told to raise. #}
{% macro default__finite(x, sentence) -%}
    case
        when {{ x }} between -3.5e38 and 3.5e38 then {{ x }}
        else cast({{ relama.text_literal(sentence) }} || ' ' || {{ x }} as real)
    end
{%- endmacro %}

{% macro duckdb__finite(x, sentence) -%}
    case when isfinite({{ x }}) then {{ x }} else error({{ relama.text_literal(sentence) }}) end
{%- endmacro %}
