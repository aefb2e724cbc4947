{# The settings that completions depend on, checked; a mapping. #}
{% macro _completion_settings() -%}
    {%- set settings = relama._prompt_settings(chat=relama._has_chat()) -%}
    {%- do settings.update({
        'max_tokens': relama._number_setting('max_tokens', 128, 1),
        'temperature': relama._number_setting('temperature', 0, 0, whole=false),
        'top_k': relama._number_setting('top_k', 0, 0, 2147483647),
        'top_p': relama._number_setting('top_p', 1, 0, 1, whole=false),
        'seed': relama._number_setting('seed', 0, 0, 9223372036854775807),
        'stop': relama._texts_setting('stop'),
        'allowed': relama._texts_setting('allowed'),
        'grammar': relama._setting('grammar', none),
    }) -%}
    {%- set examples = relama._examples_setting('completion') -%}
    {%- for _, completion in examples if completion is not string -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': examples have a completion that is no text: ' ~ (completion | tojson)
            ~ '.'
        ) -%}
    {%- endfor -%}
    {%- do settings.update(relama._frame('', examples, '\nAnswer:\n' if examples else '')) -%}
    {%- do relama._check_one_grammar() -%}
    {%- if settings['grammar'] -%}
        {%- set digest -%}
select md5(string_agg(
    concat(state, ' ', token_id, ' ', next_state), ',' order by state, token_id, next_state
))
from {{ relama._grammar_relation(settings['grammar']) }}
        {%- endset -%}
        {%- do settings.update({'transitions': relama._value(digest)}) -%}
    {%- endif -%}
    {{ return(settings) }}
{%- endmacro %}

{#
    The settings of how a prompt is put: chat, system, parse_special, on_overflow, template_args,
    template_date.
#}
{% macro _prompt_settings(chat) -%}
    {%- do relama._check_adapter() -%}
    {%- do relama._check_options() -%}
    {%- set system = relama._setting('system', none) -%}
    {%- if system is not none and system is not string -%}
        {%- do relama._bad_setting('system', system, 'a text') -%}
    {%- endif -%}
    {%- set on_overflow = relama._setting('on_overflow', 'error') -%}
    {%- if on_overflow not in ['error', 'truncate'] -%}
        {%- do relama._bad_setting('on_overflow', on_overflow, "'error' or 'truncate'") -%}
    {%- endif -%}
    {%- set chat = relama._flag_setting('chat', chat) -%}
    {%- if chat and not relama._has_chat() -%}
        {%- do relama._bad_setting('chat', chat, 'false: the language model has no chat template') -%}
    {%- endif -%}
    {%- if system and not chat -%}
        {%- do relama._bad_setting('system', system, 'absent where chat is false') -%}
    {%- endif -%}
    {{ return({
        'chat': chat,
        'system': system or none,
        'parse_special': relama._flag_setting('parse_special', false),
        'on_overflow': on_overflow,
        'template_args': relama._template_args(chat),
        'template_date': relama._template_date(),
    }) }}
{%- endmacro %}

{#
    The arguments of the chat template as JSON, such as {"enable_thinking": false}: names that it
    takes, which `relama new` has found in it.

    chat  whether there is a template
#}
{% macro _template_args(chat) -%}
    {%- set args = relama._setting('template_args', {}) -%}
    {%- if args is not mapping or not relama._is_json(args) -%}
        {%- do relama._bad_setting(
            'template_args', args | string,
            'a mapping of names to values of JSON, such as {"enable_thinking": false}'
        ) -%}
    {%- endif -%}
    {%- if args and not chat -%}
        {%- do relama._bad_setting('template_args', args, 'absent where chat is false') -%}
    {%- endif -%}
    {%- set taken = relama._language_model()['chat']['template_args'] if args else [] -%}
    {%- for name in args if name not in taken -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ": template_args has '" ~ name ~ "', which is no argument of the chat "
            ~ 'template; it takes ' ~ (taken | join(', ') or 'none') ~ '.'
        ) -%}
    {%- endfor -%}
    {{ return(tojson(args)) }}
{%- endmacro %}

{# Whether a value is one of JSON: YAML has dates too. #}
{% macro _is_json(value) -%}
    {%- if value is mapping -%}
        {{ return(not value | reject('string') | list and relama._is_json(value.values() | list)) }}
    {%- elif value is sequence and value is not string -%}
        {%- for item in value if not relama._is_json(item) -%}
            {{ return(false) }}
        {%- endfor -%}
        {{ return(true) }}
    {%- endif -%}
    {{ return(value is none or value is string or value is number) }}
{%- endmacro %}

{# The day that a chat template takes for today, YYYY-MM-DD; none is today. #}
{% macro _template_date() -%}
    {%- set date = relama._setting('template_date', none) -%}
    {%- if date is none -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set date = date | string -%}
    {%- set is_day -%}
select
    regexp_full_match(date, '[0-9]{4}-[0-9]{2}-[0-9]{2}')
    and date >= '0001'
    and try_cast(date as date) is not null
from (select {{ relama._hexadecimal_literal(date) }} as date)
    {%- endset -%}
    {%- if not relama._value(is_day) -%}
        {%- do relama._bad_setting('template_date', date, "a day as '2026-11-26'") -%}
    {%- endif -%}
    {{ return(date) }}
{%- endmacro %}

{% macro _has_chat() -%}
    {{ return(relama._language_model()['chat'] is not none) }}
{%- endmacro %}

{# The settings that answers do not depend on. #}
{% macro _batch_settings() -%}
    {{ return({
        'batch_size': relama._number_setting('batch_size', 16, 1),
        'max_batch_tokens': relama._number_setting('max_batch_tokens', 512, 1),
        'share_prefix': relama._flag_setting('share_prefix', true),
        'max_rows': relama._limit_setting('max_rows', 1),
        'max_seconds': relama._limit_setting('max_seconds', 0, whole=false),
    }) }}
{%- endmacro %}
