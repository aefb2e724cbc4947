{# The settings that completions depend on, checked; a mapping. #}
{% macro completion_settings() -%}
    {%- set settings = relama.prompt_settings(chat=relama.has_chat()) -%}
    {%- do settings.update({
        'max_tokens': relama.number_setting('max_tokens', 128, 1),
        'temperature': relama.number_setting('temperature', 0, 0, whole=false),
        'top_k': relama.number_setting('top_k', 0, 0, 2147483647),
        'top_p': relama.number_setting('top_p', 1, 0, 1, whole=false),
        'seed': relama.number_setting('seed', 0, 0, 9223372036854775807),
        'stop': relama.texts_setting('stop'),
        'allowed': relama.texts_setting('allowed'),
        'grammar': relama.setting('grammar', none),
    }) -%}
    {%- if settings['grammar'] -%}
        {%- set digest -%}
select md5(string_agg(
    concat(state, ' ', token_id, ' ', next_state), ',' order by state, token_id, next_state
))
from {{ relama.grammar_relation(settings['grammar']) }}
        {%- endset -%}
        {%- do settings.update({'transitions': relama.value(digest)}) -%}
    {%- endif -%}
    {{ return(settings) }}
{%- endmacro %}

{# The settings of how a prompt is put: chat, system, parse_special, on_overflow, template_date. #}
{% macro prompt_settings(chat) -%}
    {%- do relama.check_adapter() -%}
    {%- do relama.check_names() -%}
    {%- set system = relama.setting('system', none) -%}
    {%- if system is not none and system is not string -%}
        {%- do relama.bad_setting('system', system, 'a text') -%}
    {%- endif -%}
    {%- set on_overflow = relama.setting('on_overflow', 'error') -%}
    {%- if on_overflow not in ['error', 'truncate'] -%}
        {%- do relama.bad_setting('on_overflow', on_overflow, "'error' or 'truncate'") -%}
    {%- endif -%}
    {%- set chat = relama.flag_setting('chat', chat) -%}
    {%- if chat and not relama.has_chat() -%}
        {%- do relama.bad_setting('chat', chat, 'false: the language model has no chat template') -%}
    {%- endif -%}
    {%- if system and not chat -%}
        {%- do relama.bad_setting('system', system, 'absent where chat is false') -%}
    {%- endif -%}
    {{ return({
        'chat': chat,
        'system': system or none,
        'parse_special': relama.flag_setting('parse_special', false),
        'on_overflow': on_overflow,
        'template_date': relama.template_date(),
    }) }}
{%- endmacro %}

{# The day that a chat template takes for today, YYYY-MM-DD; none is today. #}
{% macro template_date() -%}
    {%- set date = relama.setting('template_date', none) -%}
    {%- if date is none -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set date = date | string -%}
    {%- set is_day -%}
select
    regexp_full_match(date, '[0-9]{4}-[0-9]{2}-[0-9]{2}')
    and date >= '0001'
    and try_cast(date as date) is not null
from (select {{ relama.hexadecimal_literal(date) }} as date)
    {%- endset -%}
    {%- if not relama.value(is_day) -%}
        {%- do relama.bad_setting('template_date', date, "a day as '2026-11-26'") -%}
    {%- endif -%}
    {{ return(date) }}
{%- endmacro %}

{% macro has_chat() -%}
    {{ return(relama.language_model()['chat'] is not none) }}
{%- endmacro %}

{# The settings that answers do not depend on. #}
{% macro batch_settings() -%}
    {{ return({
        'batch_size': relama.number_setting('batch_size', 16, 1),
        'max_batch_tokens': relama.number_setting('max_batch_tokens', 512, 1),
        'share_prefix': relama.flag_setting('share_prefix', true),
    }) }}
{%- endmacro %}
