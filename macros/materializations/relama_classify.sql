{#
    A model that a language model classifies: the columns of its query, which has a column
    `prompt`, and beside them

        label          the most likely label
        probability    its probability among the labels
        probabilities  those of all labels, a map
        prompt_tokens  tokens of the prompt, the chat template's included
        relama_hash    a digest of prompt, language model and settings

    With multi_label=true each label has a probability of its own, and in place of `label` and
    `probability` there is

        labels         those whose probability is at least `threshold`, the likeliest first and
                       at most `max_labels`, a list

    Config: labels, a list of texts, a mapping of texts to descriptions or
    relama.ref_to('a_table'), whose first column has them; multi_label, threshold, max_labels,
    instructions, examples, and what `_row_options` lists. See docs/llm-over-a-table.md.
#}
{% materialization relama_classify, default %}
    {%- set settings = relama._label_settings() -%}
    {%- set choice = relama._label_choice(settings) -%}
    {%- set answers = {'labels': 'varchar[]'} if choice else {
        'label': 'varchar',
        'probability': 'double',
    } -%}
    {%- do answers.update({
        'probabilities': 'map(varchar, double)',
        'prompt_tokens': 'bigint',
    }) -%}
    {%- set job = relama._ask_rows(['prompt'], answers, settings) -%}
    {%- if settings['chat'] -%}
        {%- call statement('chat', language='python') -%}
{{ relama._render_chat(job, settings) }}
        {%- endcall -%}
    {%- endif -%}
    {%- do relama._open_rows(job, settings) -%}
    {%- if choice -%}
        {%- call relama._run() -%} {{ relama._choose_labels(job, choice) }} {%- endcall -%}
    {%- endif -%}
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
