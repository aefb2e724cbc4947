{# What `relama_complete` was called; it fails and says so. #}
{% materialization relama_completions, default %}
    {%- do exceptions.raise_compiler_error(
        model.name ~ ': the materialization relama_completions is now relama_complete.'
    ) -%}
{% endmaterialization %}
