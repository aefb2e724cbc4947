{#
    What every prompt is put between, two texts of the settings `before` and `after`:

        instructions

        Labels:                       what the answer may be, see `_listed_labels`
        - billing: about money

        The prompt of an example      each example ends as a row's prompt does,
        Label:                        and then has its answer
        billing

        The prompt of the row         the one that is put in
        Label:

    Without instructions, examples and the like there is nothing around a prompt. Settings that
    are there only where they differ from nothing leave the digest of older rows as it was.

    listed    the text between instructions and examples
    examples  list of (prompt, answer)
    after     what follows a prompt
#}
{% macro _frame(listed, examples, after) -%}
    {%- set instructions = relama._setting('instructions', none) -%}
    {%- if instructions is not none and (instructions is not string or not instructions | trim) -%}
        {%- do relama._bad_setting('instructions', instructions, 'a text that is not empty') -%}
    {%- endif -%}
    {%- set before = [instructions ~ '\n\n' if instructions else '', listed] -%}
    {%- for prompt, answer in examples -%}
        {%- do before.append(prompt ~ after ~ answer ~ '\n\n') -%}
    {%- endfor -%}
    {%- set before = before | join -%}
    {{ return({'before': before, 'after': after} if before or after else {}) }}
{%- endmacro %}

{#
    The setting `examples`, a list of mappings or a table of a `ref_to`, as a list of
    [prompt, answer]. The rows of a table come in the order of all its columns.

    name  of the answer in a mapping, or of its column
#}
{% macro _examples_setting(name) -%}
    {%- set value = relama._setting('examples', []) -%}
    {%- set examples = [] -%}
    {%- if relama._is_reference(value) -%}
        {%- set relation = relama._referenced(value) -%}
        {%- set columns = [] -%}
        {%- for row in relama._rows('describe ' ~ relation) -%}
            {%- do columns.append(row[0]) -%}
        {%- endfor -%}
        {%- for column in ['prompt', name] if column not in columns | map('lower') -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ": the examples '" ~ value['ref'] ~ "' must have the columns prompt "
                ~ 'and ' ~ name ~ '; they have ' ~ columns | join(', ') ~ '.'
            ) -%}
        {%- endfor -%}
        {%- set listed -%}
select cast(prompt as varchar), cast({{ name }} as varchar)
from {{ relation }}
order by {% for column in columns %}{{ relama._quoted(column) }}{{ ', ' if not loop.last }}{% endfor %}
        {%- endset -%}
        {%- for row in relama._rows(listed) -%}
            {%- do examples.append([row[0], row[1]]) -%}
        {%- endfor -%}
        {%- if not examples and not flags.EMPTY -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ": the examples '" ~ value['ref'] ~ "' have no rows."
            ) -%}
        {%- endif -%}
    {%- else -%}
        {%- set wanted = (
            'a list of mappings with a prompt and a ' ~ name ~ ", or relama.ref_to('a_table') that "
            ~ 'has these columns'
        ) -%}
        {%- if value is string or value is mapping or value is not iterable -%}
            {%- do relama._bad_setting('examples', value, wanted) -%}
        {%- endif -%}
        {%- for example in value -%}
            {%- if example is not mapping or example | sort != ['prompt', name] | sort -%}
                {%- do relama._bad_setting('examples', example, wanted) -%}
            {%- endif -%}
            {%- do examples.append([example['prompt'], example[name]]) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- for prompt, answer in examples -%}
        {%- if prompt is not string or not prompt | trim -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ': examples have a prompt that is empty or no text: '
                ~ (prompt | tojson) ~ '.'
            ) -%}
        {%- endif -%}
        {%- if answer is none or (answer is string and not answer | trim) -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ': examples have a prompt without a ' ~ name ~ '; it begins '
                ~ (prompt[:40] | tojson) ~ '.'
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(examples) }}
{%- endmacro %}

{# A column of prompts with what is around each of them. An expression. #}
{% macro _framed(settings, column) -%}
    {%- if settings.get('before') or settings.get('after') -%}
        {{ return(
            '(' ~ relama._hexadecimal_literal(settings['before']) ~ ' || ' ~ column ~ ' || '
            ~ relama._hexadecimal_literal(settings['after']) ~ ')'
        ) }}
    {%- endif -%}
    {{ return(column) }}
{%- endmacro %}

{#
    The statement that takes what is around a prompt out of `content`, which may be cut, where its
    tokens are known: those that the text before the prompt, or after it, has alone as well.

    which  the condition of the rows of `prompted_request`
#}
{% macro _keep_frame(settings, which) -%}
    {%- set before = relama._hexadecimal_literal(settings['before']) -%}
    {%- set after = relama._hexadecimal_literal(settings['after']) -%}
update prompted_request as p
set
    head = head || content[:s.before_count],
    content = content[s.before_count + 1:len(content) - s.after_count],
    tail = content[len(content) - s.after_count + 1:] || tail
from (
    select
        relama_hash,
        before_count,
        least(after_count, len(content) - before_count) as after_count
    from (
        select
            relama_hash,
            content,
            {{ relama._common_length('before_ids', 'content') | indent(12) }} as before_count,
            {{ relama._common_length('after_ids', 'reversed') | indent(12) }} as after_count
        from (
            select
                relama_hash,
                content,
                list_reverse(content) as reversed,
                (select {{ relama.tokenize(before) | indent(16) }}) as before_ids,
                (select list_reverse({{ relama.tokenize(after) | indent(16) }})) as after_ids
            from prompted_request
            where {{ which }}
        ) as beside
    ) as measured
) as s
where p.relama_hash = s.relama_hash
{%- endmacro %}

{# How many elements two lists have in common before the first that differs. An expression. #}
{% macro _common_length(list, other) -%}
coalesce(
    list_min(list_filter(
        range(1, len({{ list }}) + 1),
        lambda i: {{ list }}[i] is distinct from {{ other }}[i]
    )) - 1,
    len({{ list }})
)
{%- endmacro %}
