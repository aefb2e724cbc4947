{#
    A model that keeps the rows of its query, which has a column `prompt`, of which a language model
    says that a condition in words is true. Beside the columns of the query there are

        probability    that of Yes, where the answer is Yes or No
        is_match       whether it is at least `threshold`; with keep='all' only
        prompt_tokens  tokens of the prompt, the question's and the chat template's included
        relama_hash    a digest of prompt, language model and settings

    The model is a view of a table `<name>__relama_answers`, which has the rows that are left out as
    well: they are not asked again, and another threshold asks nothing.

    Config: predicate, threshold, keep ('matching' or 'all'), instructions, examples, and what
    `_row_options` lists. See docs/llm-over-a-table.md.
#}
{% materialization relama_filter, default %}
    {%- set settings = relama._filter_settings() -%}
    {%- set choice = relama._filter_choice() -%}
    {%- set job = relama._ask_rows(
        ['prompt'],
        {'probability': 'double', 'prompt_tokens': 'bigint'},
        settings,
        computed={'is_match': 'boolean'} if choice['keep'] == 'all' else {}
    ) -%}
    {%- do relama._store_apart(job) -%}
    {%- if settings['chat'] -%}
        {%- call statement('chat', language='python') -%}
{{ relama._render_chat(job, settings) }}
        {%- endcall -%}
    {%- endif -%}
    {%- do relama._open_rows(job, settings) -%}
    {%- do relama._create_filter(job, choice) -%}
    {%- if job['waiting'] -%}
        {%- do relama._tokenize_labels(settings) -%}
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
        {%- do relama._classify_rows(job, choice) -%}
    {%- endif -%}
    {{ return(relama._close_rows(job)) }}
{% endmaterialization %}
