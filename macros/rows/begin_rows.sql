{#
    What `dbt run` and `dbt build` begin with where a language model is a package: the log of what
    is asked of it is there. Commands that only read change nothing.

    package  name of the language model's package
#}
{% macro begin_rows(package) -%}
    {%- if execute and flags.WHICH in ['run', 'build', 'retry'] -%}
        {%- do relama._check_materializations(package, {
            'layers': 'ephemeral',
            'tokenizer': 'relama_weight',
            'weights': 'relama_weights',
            'forward_pass': 'relama_function',
        }) -%}
        {{ relama._create_usage() }}
    {%- endif -%}
{%- endmacro %}
