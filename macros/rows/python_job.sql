{#
    The Python of a job: modules, and what dbt-duckdb calls. All texts are in hexadecimal digits,
    so that none becomes part of the program.

    modules   their texts
    function  of the last, which takes a connection and settings
    given     mapping of settings, whose texts are encoded
#}
{% macro _python_job(modules, function, given) -%}
{{ (modules + [relama._job_settings()]) | join('\n\n') }}


def model(dbt, con):
    {{ function }}(con, decoded_settings('{{ given | tojson }}'))
    return con.sql("select 1")


class dbtObj:
    def __init__(self, load_df_function):
        pass


def materialize(df, con):
    pass
{%- endmacro %}

{# A text in hexadecimal digits, as the model's `meta` has texts. #}
{% macro _encoded(text) -%}
    {{ return('utf8:' ~ text.encode('utf-8').hex()) }}
{%- endmacro %}
