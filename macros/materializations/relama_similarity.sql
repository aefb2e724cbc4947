{#
    A model that says how near two texts are: the columns of its query, which has the columns
    `prompt` and `target`, and beside them

        similarity     the cosine of their embeddings, which `relama_embed` says more of
        relama_hash    a digest of prompt, target, language model and settings

    A text that several rows have is read once in a run.

    Config: pooling, and what `_row_options` lists. See docs/llm-over-a-table.md.
#}
{% materialization relama_similarity, default %}
    {%- set settings = relama._embedding_settings() -%}
    {%- set job = relama._ask_rows(['prompt', 'target'], {'similarity': 'double'}, settings) -%}
    {%- do relama._open_rows(job, settings) -%}
    {%- if job['waiting'] -%}
        {%- do relama._open_pairs(job) -%}
        {%- do relama._tokenize_prompts(job, settings) -%}
        {%- set room = job['language_model']['max_position_embeddings'] -%}
        {%- do relama._fit_prompts(job, settings, room) -%}
        {%- do relama._open_batch(job) -%}
        {%- do relama._embed_rows(job, settings) -%}
    {%- endif -%}
    {{ return(relama._close_rows(job)) }}
{% endmaterialization %}
