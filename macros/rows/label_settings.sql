{# What a label, or a predicate, is answered with where each has a probability of its own. #}
{% macro _yes_and_no() -%}
    {{ return(['Yes', 'No']) }}
{%- endmacro %}

{# The settings that the probabilities of labels depend on, checked; a mapping. #}
{% macro _label_settings() -%}
    {%- set settings = relama._prompt_settings(chat=relama._has_chat()) -%}
    {%- set many = relama._flag_setting('multi_label', false) -%}
    {%- set labels = relama._labels_setting(1 if many else 2) -%}
    {%- set texts = labels | map('first') | list -%}
    {%- set examples = relama._examples_setting('label') -%}
    {%- for prompt, answer in examples -%}
        {%- for label in ([answer] if answer is string or not many else answer) -%}
            {%- if label not in texts and not flags.EMPTY -%}
                {%- do exceptions.raise_compiler_error(
                    model.name ~ ': examples have the label ' ~ (label | tojson)
                    ~ ', which is not among the labels ' ~ (texts | tojson) ~ '.'
                ) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set listed = relama._listed_labels(labels, many) -%}
    {%- do settings.update({'labels': texts}) -%}
    {%- if many -%}
        {%- do settings.update({'multi_label': true}) -%}
        {%- do settings.update(relama._frame(
            listed, relama._examples_of_many(texts, examples), '\nLabels:\n'
        )) -%}
    {%- else -%}
        {%- do settings.update(relama._frame(
            listed, examples, '\nLabel:\n' if listed or examples else ''
        )) -%}
    {%- endif -%}
    {{ return(settings) }}
{%- endmacro %}

{#
    Which labels of many a row has: threshold and max_labels. They choose among probabilities
    that are in the table, so that no row's digest depends on them.
#}
{% macro _label_choice(settings) -%}
    {%- if not settings.get('multi_label') -%}
        {%- for name in ['threshold', 'max_labels'] -%}
            {%- if relama._setting(name, none) is not none -%}
                {%- do relama._bad_setting(
                    name, relama._setting(name, none), 'absent where multi_label is not true'
                ) -%}
            {%- endif -%}
        {%- endfor -%}
        {{ return({}) }}
    {%- endif -%}
    {{ return({
        'threshold': relama._number_setting('threshold', 0.5, 0, 1, whole=false),
        'max_labels': relama._number_setting('max_labels', settings['labels'] | length or 1, 1),
    }) }}
{%- endmacro %}

{#
    The labels as they stand before the examples: where they have descriptions, and where any
    number of them may be right, which has to be said.
#}
{% macro _listed_labels(labels, many) -%}
    {%- if not many and not labels | selectattr(1) | list -%}
        {{ return('') }}
    {%- endif -%}
    {%- set lines = ['Labels:'] -%}
    {%- for label, description in labels -%}
        {%- do lines.append('- ' ~ label ~ (': ' ~ description if description else '')) -%}
    {%- endfor -%}
    {%- if many -%}
        {%- do lines.extend(
            ['', 'Say of each label whether it is right for the text: Yes or No.']
        ) -%}
    {%- endif -%}
    {{ return(lines | join('\n') ~ '\n\n') }}
{%- endmacro %}

{#
    Examples of a text that may have any number of labels, as a list of [prompt, answer]: a prompt
    that is there several times has all of their labels.
#}
{% macro _examples_of_many(texts, examples) -%}
    {%- set by_prompt = {} -%}
    {%- for prompt, answer in examples -%}
        {%- do by_prompt.setdefault(prompt, []).extend([answer] if answer is string else answer) -%}
    {%- endfor -%}
    {%- set answered = [] -%}
    {%- for prompt in by_prompt -%}
        {%- set lines = [] -%}
        {%- for text in texts -%}
            {%- do lines.append(
                text ~ ': ' ~ relama._yes_and_no()[0 if text in by_prompt[prompt] else 1]
            ) -%}
        {%- endfor -%}
        {%- do answered.append([prompt, lines | join('\n')]) -%}
    {%- endfor -%}
    {{ return(answered) }}
{%- endmacro %}

{#
    The setting `labels` as a list of [label, description], from a list, from a mapping of labels
    to descriptions, or from the first column of a table. One clear sentence for labels that
    cannot be told apart.

    least  how many there must be
#}
{% macro _labels_setting(least) -%}
    {%- set value = relama._setting('labels', none) -%}
    {%- set labels = [] -%}
    {%- if relama._is_reference(value) -%}
        {%- set relation = relama._referenced(value) -%}
        {%- set column = relama._quoted(relama._rows('describe ' ~ relation)[0][0]) -%}
        {%- for row in relama._rows(
            'select distinct cast(' ~ column ~ ' as varchar) from ' ~ relation ~ ' order by 1'
        ) -%}
            {%- do labels.append([row[0], none]) -%}
        {%- endfor -%}
        {%- if flags.EMPTY -%}
            {{ return(labels) }}
        {%- endif -%}
    {%- elif value is none or value is string or value is not iterable -%}
        {%- do relama._bad_setting(
            'labels', value,
            'a list of texts, a mapping of texts to descriptions, '
            ~ "or relama.ref_to('a_table') whose first column has them"
        ) -%}
    {%- else -%}
        {%- for text in value -%}
            {%- set description = value[text] if value is mapping else none -%}
            {%- if description is not none and description is not string -%}
                {%- do relama._bad_setting('labels', value, 'a mapping of texts to texts') -%}
            {%- endif -%}
            {%- do labels.append([text, description]) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set trimmed = [] -%}
    {%- for text, _ in labels -%}
        {%- if text is not string or not text | trim -%}
            {%- do relama._bad_setting('labels', text, 'texts, none of them empty') -%}
        {%- endif -%}
        {%- do trimmed.append(text | trim) -%}
    {%- endfor -%}
    {%- if labels | length < least or trimmed | unique | list | length != labels | length -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': labels must be at least ' ~ ('one text' if least == 1 else 'two different texts')
            ~ ', all different without the white space around them, not '
            ~ (labels | map('first') | list | tojson) ~ '.'
        ) -%}
    {%- endif -%}
    {{ return(labels) }}
{%- endmacro %}

{# The settings that the probability of a predicate depends on, checked; a mapping. #}
{% macro _filter_settings() -%}
    {%- set settings = relama._prompt_settings(chat=relama._has_chat()) -%}
    {%- set predicate = relama._setting('predicate', none) -%}
    {%- if predicate is not string or not predicate | trim -%}
        {%- do relama._bad_setting(
            'predicate', predicate, "a text such as 'the customer asks for a refund'"
        ) -%}
    {%- endif -%}
    {%- set yes, no = relama._yes_and_no() -%}
    {%- set answers = {'yes': yes, 'true': yes, 'no': no, 'false': no} -%}
    {%- set examples = [] -%}
    {%- for prompt, answer in relama._examples_setting('label') -%}
        {%- if answer | string | lower not in answers -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ': examples have the label ' ~ (answer | tojson)
                ~ ', which is not among true, false, Yes and No.'
            ) -%}
        {%- endif -%}
        {%- do examples.append([prompt, answers[answer | string | lower]]) -%}
    {%- endfor -%}
    {%- do settings.update({'labels': [yes, no]}) -%}
    {%- do settings.update(relama._frame(
        '', examples, '\nIs it true that ' ~ predicate | trim ~ '? Answer Yes or No:\n'
    )) -%}
    {{ return(settings) }}
{%- endmacro %}

{# Which rows a filter keeps; no row's digest depends on it. #}
{% macro _filter_choice() -%}
    {%- set keep = relama._setting('keep', 'matching') -%}
    {%- if keep not in ['matching', 'all'] -%}
        {%- do relama._bad_setting('keep', keep, "'matching' or 'all'") -%}
    {%- endif -%}
    {{ return({
        'keep': keep,
        'threshold': relama._number_setting('threshold', 0.5, 0, 1, whole=false),
    }) }}
{%- endmacro %}
