{#
    How much a model may do in one run: `max_rows` prompts, `max_seconds` from its beginning. What
    is left waits for the next run; what is finished is in the table. Asked before each step.
#}
{% macro _is_over(job) -%}
    {%- if job['max_seconds'] is not none and not job['is_stopped'] -%}
        {%- set seconds = (modules.datetime.datetime.now() - job['began']).total_seconds() -%}
        {%- if seconds >= job['max_seconds'] -%}
            {%- do job.update({'is_stopped': true}) -%}
        {%- endif -%}
    {%- endif -%}
    {{ return(job['is_stopped']) }}
{%- endmacro %}

{# Why rows are left for the next run; none where none are. #}
{% macro _budget(job) -%}
    {%- if job['is_stopped'] -%}
        {{ return(
            'max_seconds is ' ~ job['max_seconds']
            ~ ('' if job['done'] else ', in which none was finished; raise it, or lower batch_size')
        ) }}
    {%- endif -%}
    {{ return('max_rows is ' ~ job['max_rows'] if job['left_out'] else none) }}
{%- endmacro %}
