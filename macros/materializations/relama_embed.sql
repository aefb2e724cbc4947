{#
    A model whose rows get an embedding: the columns of its query, which has a column
    `prompt`, and beside them

        embedding      the mean of the last hidden states, scaled to length 1, a list
        prompt_tokens  tokens of the prompt
        relama_hash    a digest of prompt, language model and settings

    Config: chat (false by default), system, parse_special, on_overflow, batch_size,
    max_batch_tokens, unique_key, model. See docs/llm-over-a-table.md.
#}
{% materialization relama_embed, default %}
    {%- set settings = relama.prompt_settings(chat=false) -%}
    {%- set job = relama.open_rows(['prompt'], {
        'embedding': 'real[]',
        'prompt_tokens': 'bigint',
    }, settings) -%}
    {%- set failure = none -%}
    {%- if job['waiting'] -%}
        {%- set failure = relama.open_prompts(job, settings) -%}
        {%- do relama.open_batch(job, relama.batch_settings()) -%}
        {%- do relama.embed_rows(job) -%}
    {%- endif -%}
    {{ return(relama.close_rows(job, failure)) }}
{% endmaterialization %}
