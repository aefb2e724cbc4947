{# The rows are in a table of their own, of which the model is a view. #}
{% macro _store_apart(job) -%}
    {%- set stored = this.identifier ~ '__relama_answers' -%}
    {%- do job.update({
        'relation': this.incorporate(path={'identifier': stored}, type='table'),
        'view': this.incorporate(type='view'),
    }) -%}
{%- endmacro %}

{# The view: the rows that are kept, or all with `is_match`. It is there before any is answered. #}
{% macro _create_filter(job, choice) -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- if existing is not none and not existing.is_view -%}
        {%- do adapter.drop_relation(existing) -%}
        {%- do adapter.commit() -%}
    {%- endif -%}
    {%- set is_match = 'probability >= ' ~ choice['threshold'] -%}
    {%- call relama._run() -%}
create or replace view {{ job['view'] }} as
select
    * exclude (probability, prompt_tokens, relama_hash),
    probability,
    {%- if choice['keep'] == 'all' %}
    {{ is_match }} as is_match,
    {%- endif %}
    prompt_tokens,
    relama_hash
from {{ job['relation'] }}
        {%- if choice['keep'] != 'all' %}
where {{ is_match }}
        {%- endif %}
    {%- endcall -%}
{%- endmacro %}
