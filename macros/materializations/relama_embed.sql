{#
    A model whose rows get an embedding: the columns of its query, which has a column
    `prompt`, and beside them

        embedding      the mean of the last hidden states, scaled to length 1, a list
        prompt_tokens  tokens of the prompt
        relama_hash    a digest of prompt, language model and settings

    Config: chat (false by default), system, parse_special, on_overflow, template_date, batch_size,
    max_batch_tokens, unique_key, model. See docs/llm-over-a-table.md.
#}
{% materialization relama_embed, default %}
    {%- set settings = relama.prompt_settings(chat=false) -%}
    {%- set job = relama.ask_rows(['prompt'], {
        'embedding': 'real[]',
        'prompt_tokens': 'bigint',
    }, settings) -%}
    {%- if settings['chat'] -%}
        {%- call statement('chat', language='python') -%}
{{ relama.render_chat(job, settings) }}
        {%- endcall -%}
    {%- endif -%}
    {%- do relama.open_rows(job, settings) -%}
    {%- set failure = none -%}
    {%- if job['waiting'] -%}
        {%- do relama.tokenize_prompts(job, settings) -%}
        {%- set room = job['language_model']['max_position_embeddings'] -%}
        {%- if relama.must_shorten(job, settings, room) -%}
            {%- call statement('shorten', language='python') -%}
{{ relama.shorten_chat(job, settings) }}
            {%- endcall -%}
        {%- endif -%}
        {%- set failure = relama.overflowing(job, settings, room) -%}
        {%- do relama.open_batch(job, relama.batch_settings()) -%}
        {%- do relama.embed_rows(job) -%}
    {%- endif -%}
    {{ return(relama.close_rows(job, failure)) }}
{% endmaterialization %}
