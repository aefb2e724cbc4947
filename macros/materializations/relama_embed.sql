{#
    A model whose rows get an embedding: the columns of its query, which has a column
    `prompt`, and beside them

        embedding      the mean of the last hidden states, or with pooling='last' that of the
                       last token, scaled to length 1, a list
        prompt_tokens  tokens of the prompt
        relama_hash    a digest of prompt, language model and settings

    Config: pooling, chat (false by default), and what `_row_options` lists. See
    docs/llm-over-a-table.md.
#}
{% materialization relama_embed, default %}
    {%- set settings = relama._embedding_settings() -%}
    {%- set job = relama._ask_rows(['prompt'], {
        'embedding': 'real[]',
        'prompt_tokens': 'bigint',
    }, settings) -%}
    {%- if settings['chat'] -%}
        {%- call statement('chat', language='python') -%}
{{ relama._render_chat(job, settings) }}
        {%- endcall -%}
    {%- endif -%}
    {%- do relama._open_rows(job, settings) -%}
    {%- if job['waiting'] -%}
        {%- do relama._tokenize_prompts(job, settings) -%}
        {%- set room = job['language_model']['max_position_embeddings'] -%}
        {%- if relama._must_shorten(job, settings, room) -%}
            {%- call statement('shorten', language='python') -%}
{{ relama._shorten_chat(job, settings) }}
            {%- endcall -%}
        {%- endif -%}
        {%- do relama._fit_prompts(job, settings, room) -%}
        {%- do relama._open_batch(job) -%}
        {%- do relama._embed_rows(job, settings) -%}
    {%- endif -%}
    {{ return(relama._close_rows(job)) }}
{% endmaterialization %}
