{#
    Whether the statement is for a step that reads one token of one sequence and finds no
    other sequence in the state: every relation then has one row for the token, and joins need
    no condition. The variable `relama_decode`, which no other macro reads; whatever
    depends on it takes it as an argument of the same name.
#}
{% macro single_token() -%}
    {{ return(var('relama_decode', false)) }}
{%- endmacro %}
