{#
    The prompts of the table `request` as tokens: `head`, `content` and `tail`, of which
    `content` may be cut after its first `kept`. The model's chat template is put around a
    prompt where `chat` is true; the text of a prompt becomes tokens of text, whatever it
    says, unless `parse_special` is true.

    A select that becomes `prompted_request`; `target_ids` are the tokens of a target.
#}
{% macro prompted_requests(language_model, chat, system, parse_special, has_target=false) -%}
    {%- set opening = language_model['first_token_ids'] -%}
    {%- set form = {'trim': false, 'pieces': opening + [[{'content': 'user'}]]} -%}
    {%- if chat -%}
        {%- set form = relama.chat_form(language_model, system) -%}
    {%- endif -%}
    {%- set head, tail = [], [] -%}
    {%- set ns = namespace(content=none) -%}
    {%- for piece in form['pieces'] -%}
        {%- set side = tail if ns.content else head -%}
        {%- if piece is number -%}
            {%- do side.append('[' ~ piece ~ ']') -%}
        {%- elif {'content': 'user'} in piece -%}
            {%- set ns.content = piece -%}
        {%- else -%}
            {%- do side.append(relama.tokenize(relama.piece_text(piece, system, form['trim']))) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set prompt = relama.shortened('prompt', language_model) -%}
    {%- set text = relama.piece_text(ns.content, system, form['trim'], prompt) -%}
    {%- set before = ns.content[0] if ns.content[0] is string -%}
select
    *,
    {{ (head or ['cast([] as integer[])']) | join(' || ') }} as head,
    {{ relama.tokenize(text, parse_special) }} as content,
    {{ (tail or ['cast([] as integer[])']) | join(' || ') }} as tail,
    {{ 'len(' ~ relama.tokenize(relama.encoded_text(before)) ~ ')' if before else 0 }} as kept,
    {% if has_target -%}
    {{ relama.tokenize(relama.shortened('target', language_model)) }} as target_ids
    {%- else -%}
    cast([] as integer[]) as target_ids
    {%- endif %}
from request
{%- endmacro %}

{#
    The end of a text, where the text is so long that it cannot fit the context whatever its
    tokens are: what is before would be cut off anyway, or the row is an error.
#}
{% macro shortened(column, language_model) -%}
    {%- set longest -%}
select max(octet_length(bytes)) from {{ relama.tokenizer_table('vocabulary') }} where not is_added
    {%- endset -%}
    {%- set tokens = language_model['max_position_embeddings'] + 1 -%}
    right({{ column }}, {{ tokens * relama.value(longest) }})
{%- endmacro %}

{# The chat template, taken apart, with or without a system message. #}
{% macro chat_form(language_model, system) -%}
    {%- set forms = language_model['chat'] -%}
    {%- set form = (forms or {}).get('system' if system else 'user') -%}
    {%- if not form -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': ' ~ (
                "the chat template of " ~ language_model['package'] ~ ' takes no system message; '
                ~ 'put it into the prompt.' if forms and system
                else 'there is no chat template for ' ~ language_model['package']
                ~ ' that SQL can fill; set chat=false.'
            )
        ) -%}
    {%- endif -%}
    {{ return(form) }}
{%- endmacro %}

{# A piece of the chat template as an expression of type text. #}
{% macro piece_text(piece, system, trim, prompt=none) -%}
    {%- set texts = [] -%}
    {%- for part in piece -%}
        {%- if part is string -%}
            {%- do texts.append(relama.encoded_text(part)) -%}
        {%- elif part['content'] == 'system' -%}
            {%- do texts.append(relama.text_literal(system | trim if trim else system)) -%}
        {%- elif trim -%}
            {%- do texts.append("regexp_replace(" ~ prompt ~ ", '^\\s+|\\s+$', '', 'g')") -%}
        {%- else -%}
            {%- do texts.append(prompt) -%}
        {%- endif -%}
    {%- endfor -%}
    ({{ texts | join(' || ') }})
{%- endmacro %}

{# A text of the model's `meta`, which has it in hexadecimal digits. An expression. #}
{% macro encoded_text(text) -%}
    decode(unhex('{{ text[5:] }}'))
{%- endmacro %}

{#
    What is wrong with prompts, of those that are longer than there is room for: none where
    there are none, or where `on_overflow` is truncate and they have been cut. They are
    taken out of `prompted_request`: the others are answered.

    room   tokens that a prompt may have
#}
{% macro overflowing(language_model, room, on_overflow) -%}
    {%- set length = 'len(head) + len(content) + len(tail) + len(target_ids)' -%}
    {%- if on_overflow == 'truncate' -%}
        {%- call relama.run() -%}
update prompted_request
set content = content[1:kept] || content[kept + 1 + {{ length }} - {{ room }}:]
where {{ length }} > {{ room }}
        {%- endcall -%}
    {%- endif -%}
    {%- set counting -%}
select
    count(*),
    max({{ length }})
from prompted_request
where {{ length }} > {{ room }}
    {%- endset -%}
    {%- set count, longest = relama.rows(counting)[0].values() -%}
    {%- if not count -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set key = relama.unique_key() -%}
    {%- set too_long -%}
select {{ key | join(', ') if key else 'left(cast(prompt as varchar), 40)' }}
from input_row
where relama_hash in (
    select relama_hash from prompted_request where {{ length }} > {{ room }}
)
order by 1
limit 3
    {%- endset -%}
    {%- set names = [] -%}
    {%- for row in relama.rows(too_long) -%}
        {%- do names.append(row.values() | join(', ')) -%}
    {%- endfor -%}
    {%- call relama.run() -%}
delete from prompted_request where {{ length }} > {{ room }}
    {%- endcall -%}
    {{ return(
        model.name ~ ': ' ~ count ~ ' prompts are longer than the ' ~ room
        ~ ' tokens that there is room for, the longest has ' ~ longest ~ '; '
        ~ (key | join(', ') if key else 'prompt') ~ ': ' ~ names | join('; ')
        ~ (', ...' if count > 3 else '') ~ ". Every other row is answered. "
        ~ "on_overflow='truncate' cuts prompts from the left."
    ) }}
{%- endmacro %}
