{#
    The extension, loaded into the database of this run, where arithmetic is native. It is a
    file of the package `relama` in the language model's project.
#}
{% macro load_kernels() -%}
    {%- if execute and relama._native() -%}
        {%- set package = adapter.config.load_dependencies()['relama'] -%}
        {%- set file = package.project_root ~ '/kernels/relama_kernels.duckdb_extension' -%}
        load '{{ file | replace("'", "''") }}'
    {%- elif
        execute and flags.WHICH in ['run', 'build']
        and target.type == 'duckdb' and var('relama_kernels', false) | string | lower == 'true'
    -%}
        {%- do log(
            'relama: arithmetic is SQL. Native functions are many times faster; for them, add '
            ~ 'config_options: {allow_unsigned_extensions: true} to the target in profiles.yml.',
            info=true
        ) -%}
    {%- endif -%}
{%- endmacro %}

{#
    Whether arithmetic is done by native functions of relama's extension of DuckDB
    (`relama_matmul` and its like) instead of SQL: where the profile lets DuckDB load an
    unsigned extension, and the variable `relama_kernels` does not say false. `dbt show` runs no
    hook that could load it, and computes in SQL.
#}
{% macro _native() -%}
    {%- set options = target.config_options or {} -%}
    {{ return(
        target.type == 'duckdb'
        and options.get('allow_unsigned_extensions') | string | lower == 'true'
        and var('relama_kernels', true) | string | lower == 'true'
        and flags.WHICH != 'show'
    ) }}
{%- endmacro %}

{#
    Whether the function `forward_pass` of a language model, as it is in the database, calls
    native functions. Raises an error where it does and they are not loaded.
#}
{% macro _is_native(language_model) -%}
    {%- set found = relama._rows(
        "select contains(macro_definition, 'relama_attention') from duckdb_functions() where "
        ~ relama._is_place(language_model['function'], 'function_name')
    ) -%}
    {%- set native = found and found[0][0] -%}
    {%- if native and not relama._rows(
        "select 1 from duckdb_functions() where function_name = 'relama_attention'"
    ) -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': the language model ' ~ language_model['package']
            ~ ' was built with native kernels, which this run has not loaded. Build it without: '
            ~ 'dbt build --select package:' ~ language_model['package'] ~ '; or set '
            ~ 'allow_unsigned_extensions under config_options in the profile.'
        ) -%}
    {%- endif -%}
    {{ return(native) }}
{%- endmacro %}
