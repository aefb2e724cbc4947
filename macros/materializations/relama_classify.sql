{#
    A model that a language model classifies: the columns of its query, which has a column
    `prompt`, and beside them

        label          the most likely label
        probability    its probability among the labels
        probabilities  those of all labels, a map
        prompt_tokens  tokens of the prompt, the chat template's included
        relama_hash    a digest of prompt, language model and settings

    Config: labels, a list of texts or relama.ref_to('a_table'), whose first column has them;
    system, chat, parse_special, on_overflow, template_date, batch_size, max_batch_tokens, share_prefix,
    unique_key, model. See docs/llm-over-a-table.md.
#}
{% materialization relama_classify, default %}
    {%- set settings = relama._prompt_settings(chat=relama._has_chat()) -%}
    {%- set labels = relama._open_labels() -%}
    {%- do settings.update({'labels': labels}) -%}
    {%- set job = relama._ask_rows(['prompt'], {
        'label': 'varchar',
        'probability': 'double',
        'probabilities': 'map(varchar, double)',
        'prompt_tokens': 'bigint',
    }, settings) -%}
    {%- if settings['chat'] -%}
        {%- call statement('chat', language='python') -%}
{{ relama._render_chat(job, settings) }}
        {%- endcall -%}
    {%- endif -%}
    {%- do relama._open_rows(job, settings) -%}
    {%- if job['waiting'] -%}
        {%- do relama._tokenize_labels(labels) -%}
        {%- set longest = relama._value('select max(len(token_ids)) from label') -%}
        {%- do relama._tokenize_prompts(job, settings) -%}
        {%- set room = job['language_model']['max_position_embeddings'] - longest + 1 -%}
        {%- if relama._must_shorten(job, settings, room) -%}
            {%- call statement('shorten', language='python') -%}
{{ relama._shorten_chat(job, settings) }}
            {%- endcall -%}
        {%- endif -%}
        {%- do relama._fit_prompts(job, settings, room) -%}
        {%- do relama._open_batch(job) -%}
        {%- do relama._classify_rows(job) -%}
    {%- endif -%}
    {{ return(relama._close_rows(job)) }}
{% endmaterialization %}
