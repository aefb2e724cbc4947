{#
    A model that has one answer for each group of the rows of its query, which has a column
    `prompt`. Beside the columns of `group_by` there are

        row_count          rows of the group
        completion         what a language model answers to the instructions and the texts of the
                           group
        finish_reason, prompt_tokens, completion_tokens, logprob
                           as in `relama_complete`, of the last prompt
        levels             1 where the texts fit into one prompt; each more is one of prompts that
                           have the answers of the level before in place of texts
        relama_hash        a digest of the texts, the language model and the settings

    The prompts of all levels and their answers are in a table `<name>__relama_levels`.

    Config: group_by, instructions, order_by, max_tokens, temperature, top_k, top_p, seed, stop, and
    what `_row_options` lists. See docs/llm-over-a-table.md.
#}
{% materialization relama_aggregate, default %}
    {%- set settings = relama._aggregate_settings() -%}
    {%- set job = relama._ask_groups(settings) -%}
    {%- if settings['chat'] -%}
        {%- call statement('chat', language='python') -%}
{{ relama._render_chat(job, settings) }}
        {%- endcall -%}
    {%- endif -%}
    {%- do relama._open_groups(job, settings) -%}
    {#- Each level has fewer answers than the one before, by a factor. -#}
    {%- for number in range(1, 1000) -%}
        {%- if job['goes_on'] -%}
            {%- set level = relama._open_level(job, settings, number) -%}
            {%- if settings['chat'] -%}
                {%- call statement('chat', language='python') -%}
{{ relama._render_chat(level, settings) }}
                {%- endcall -%}
            {%- endif -%}
            {%- do relama._open_rows(level, settings) -%}
            {%- if relama._may_answer(level) -%}
                {%- do relama._tokenize_prompts(level, settings) -%}
                {%- if relama._must_shorten(level, settings, level['room']) -%}
                    {%- call statement('shorten', language='python') -%}
{{ relama._shorten_chat(level, settings) }}
                    {%- endcall -%}
                {%- endif -%}
                {%- do relama._fit_prompts(level, settings, level['room']) -%}
                {%- do relama._open_batch(level) -%}
                {%- do relama._complete_rows(level, settings) -%}
            {%- endif -%}
            {%- do relama._close_level(job, level, number) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(relama._close_groups(job)) }}
{% endmaterialization %}
