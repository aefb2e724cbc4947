{#
    A model that a language model scores: the columns of its query, which has the columns
    `prompt` and `target`, and beside them

        logprob        log-likelihood of the target after the prompt, in nats
        perplexity     exp(-logprob / target_tokens)
        prompt_tokens  tokens of the prompt
        target_tokens  tokens of the target
        relama_hash    a digest of prompt, target, language model and settings

    Config: chat (false by default), system, parse_special, on_overflow, batch_size,
    max_batch_tokens, share_prefix, unique_key, model. See docs/llm-over-a-table.md.
#}
{% materialization relama_score, default %}
    {%- set settings = relama.prompt_settings(chat=false) -%}
    {%- set job = relama.open_rows(['prompt', 'target'], {
        'logprob': 'double',
        'perplexity': 'double',
        'prompt_tokens': 'bigint',
        'target_tokens': 'bigint',
    }, settings) -%}
    {%- set failure = none -%}
    {%- if job['waiting'] -%}
        {%- set failure = relama.open_prompts(job, settings, has_target=true) -%}
        {%- do relama.open_batch(job, relama.batch_settings()) -%}
        {%- do relama.score_rows(job) -%}
    {%- endif -%}
    {{ return(relama.close_rows(job, failure)) }}
{% endmaterialization %}
