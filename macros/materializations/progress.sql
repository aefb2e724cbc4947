{#
    How far a model is that takes long, in dbt's log: at most one line every few seconds, and none
    of what is soon done. Returns a mapping, for `_show_progress`.

    things  what is counted, in the plural
    total   how many there are
#}
{% macro _progress(things, total) -%}
    {%- set now = modules.datetime.datetime.now() -%}
    {{ return({'things': things, 'total': total, 'started': now, 'shown': now}) }}
{%- endmacro %}

{#
    Says how many are done, and how long the others will take.

    tokens  that have been read or generated for them; none where that is nothing to say of them
#}
{% macro _show_progress(progress, done, tokens=none) -%}
    {%- set now = modules.datetime.datetime.now() -%}
    {%- if (now - progress['shown']).total_seconds() >= 5 and done < progress['total'] -%}
        {%- set seconds = (now - progress['started']).total_seconds() -%}
        {%- set said = [done ~ ' of ' ~ progress['total'] ~ ' ' ~ progress['things']] -%}
        {%- if tokens is not none -%}
            {%- do said.append('%.1f' % (done / seconds) ~ ' ' ~ progress['things'] ~ ' per second') -%}
            {%- do said.append('%.0f' % (tokens / seconds) ~ ' tokens per second') -%}
        {%- endif -%}
        {%- if done -%}
            {%- set left = (progress['total'] - done) * seconds / done -%}
            {%- do said.append(
                'about ' ~ ('%.0f s' % left if left < 120 else '%.0f min' % (left / 60)) ~ ' left'
            ) -%}
        {%- endif -%}
        {%- do log(model.name ~ ': ' ~ said | join(', '), info=true) -%}
        {%- do progress.update({'shown': now}) -%}
    {%- endif -%}
{%- endmacro %}
