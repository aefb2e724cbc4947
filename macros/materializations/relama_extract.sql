{#
    A model for which a language model writes fields with types: the columns of its query, which
    has a column `prompt`, and beside them

        completion         the answer as JSON, an object with the fields
        finish_reason      stop, or length where max_tokens or the context left no choice but
                           to close the object
        prompt_tokens      tokens of the prompt, the chat template's included
        completion_tokens  tokens that were generated
        logprob            the sum of their log-probabilities, among what the fields allow
        (the fields)       each of its type
        relama_hash        a digest of prompt, language model and settings

    Config: fields, a mapping from names to types of SQL, lists of texts or JSON schemas, or
    json_schema; and what `_row_options` lists. See docs/llm-over-a-table.md.
#}
{% materialization relama_extract, default %}
    {%- set settings = relama._completion_settings() -%}
    {%- if relama._open_form(settings, with_columns=true) -%}
        {%- call statement('form', language='python') -%}
{{ relama._read_form(settings, with_columns=true) }}
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
