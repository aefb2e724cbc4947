{#
    A model that a language model scores: the columns of its query, which has the columns
    `prompt` and `target`, and beside them

        logprob        log-likelihood of the target after the prompt, in nats
        perplexity     exp(-logprob / target_tokens)
        prompt_tokens  tokens of the prompt
        target_tokens  tokens of the target
        relama_hash    a digest of prompt, target, language model and settings

    Config: chat (false by default), and what `_row_options` lists. See docs/llm-over-a-table.md.
#}
{% materialization relama_score, default %}
    {%- set settings = relama._prompt_settings(chat=false) -%}
    {%- set job = relama._ask_rows(['prompt', 'target'], {
        'logprob': 'double',
        'perplexity': 'double',
        'prompt_tokens': 'bigint',
        'target_tokens': 'bigint',
    }, settings) -%}
    {%- if settings['chat'] -%}
        {%- call statement('chat', language='python') -%}
{{ relama._render_chat(job, settings) }}
        {%- endcall -%}
    {%- endif -%}
    {%- do relama._open_rows(job, settings) -%}
    {%- if job['waiting'] -%}
        {%- do relama._tokenize_prompts(job, settings, has_target=true) -%}
        {%- set room = job['language_model']['max_position_embeddings'] -%}
        {%- if relama._must_shorten(job, settings, room) -%}
            {%- call statement('shorten', language='python') -%}
{{ relama._shorten_chat(job, settings) }}
            {%- endcall -%}
        {%- endif -%}
        {%- do relama._fit_prompts(job, settings, room) -%}
        {%- do relama._open_batch(job) -%}
        {%- do relama._score_rows(job) -%}
    {%- endif -%}
    {{ return(relama._close_rows(job)) }}
{% endmaterialization %}
