{#
    A model that a language model completes: the columns of its query, which has a column
    `prompt`, and beside them

        completion         the text that follows the prompt
        finish_reason      stop (an end token or stop text) or length
        prompt_tokens      tokens of the prompt, the chat template's included
        completion_tokens  tokens that were generated, the end token included
        logprob            the sum of their log-probabilities
        relama_hash        a digest of prompt, language model and settings: a row that has
                           been answered before is not computed again

    Config: max_tokens, temperature, top_k, top_p, seed, stop, one of allowed, grammar, regex and
    json_schema, and what `_row_options` lists. See docs/llm-over-a-table.md.
#}
{% materialization relama_complete, default %}
    {%- set settings = relama._completion_settings() -%}
    {%- if relama._open_form(settings) -%}
        {%- call statement('form', language='python') -%}
{{ relama._read_form(settings) }}
        {%- endcall -%}
        {%- do relama._close_form(settings) -%}
    {%- endif -%}
    {%- set job = relama._ask_rows(['prompt'], relama._completion_columns(settings), settings) -%}
    {%- if settings['chat'] -%}
        {%- call statement('chat', language='python') -%}
{{ relama._render_chat(job, settings) }}
        {%- endcall -%}
    {%- endif -%}
    {%- do relama._open_rows(job, settings) -%}
    {%- if job['waiting'] -%}
        {%- if settings['form'] -%}
            {%- do relama._open_transitions(settings) -%}
            {%- call statement('transitions', language='python') -%}
{{ relama._compile_form(job, settings) }}
            {%- endcall -%}
        {%- endif -%}
        {%- set least = relama._open_grammar(job, settings) -%}
        {%- do relama._tokenize_prompts(job, settings) -%}
        {%- set room = job['language_model']['max_position_embeddings'] - least + 1 -%}
        {%- if relama._must_shorten(job, settings, room) -%}
            {%- call statement('shorten', language='python') -%}
{{ relama._shorten_chat(job, settings) }}
            {%- endcall -%}
        {%- endif -%}
        {%- do relama._fit_prompts(job, settings, room) -%}
        {%- do relama._open_batch(job) -%}
        {%- do relama._complete_rows(job, settings) -%}
    {%- endif -%}
    {{ return(relama._close_rows(job)) }}
{% endmaterialization %}
