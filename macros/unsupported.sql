{#
    What a database cannot do is listed here by name: these macros have SQL for some databases
    only, and on another they say so instead of giving half a project.
#}
{% macro _unsupported(what) -%}
    {%- do exceptions.raise_compiler_error(
        'relama: ' ~ what ~ ' is not supported on ' ~ target.type ~ '.'
    ) -%}
{%- endmacro %}

{# Matrices in blocks: elsewhere a matrix is a table of rows. #}
{% macro default__block_matmul(
    hidden, weight, blocks, storage, bias, residual, single_token, small
) -%}
    {{ relama._unsupported('block_matmul') }}
{%- endmacro %}

{% macro default__matrix_blocks(relation, rows, blocks, storage, bias, num_experts) -%}
    {{ relama._unsupported('matrix_blocks') }}
{%- endmacro %}

{% macro default__matrix_rows(weight, rows, blocks, storage, num_experts) -%}
    {{ relama._unsupported('matrix_rows') }}
{%- endmacro %}

{# Pages of the KV cache: elsewhere attention reads the cache as it is. #}
{% macro default__kv_page(relation, head_dim, page_size) -%}
    {{ relama._unsupported('kv_page') }}
{%- endmacro %}

{# Weights of 8 and of 4 bits. #}
{% macro default___rounded_rows(relation, largest_code, bias) -%}
    {{ relama._unsupported('the storage int8') }}
{%- endmacro %}

{% macro default___int8_dequantized(row, columns) -%}
    {{ relama._unsupported('the storage int8') }}
{%- endmacro %}

{% macro default___grouped_rows(relation, bias) -%}
    {{ relama._unsupported('the storage int4') }}
{%- endmacro %}

{% macro default___int4_dequantized(row, columns) -%}
    {{ relama._unsupported('the storage int4') }}
{%- endmacro %}

{# The tokenizer, and with it answers to tables of prompts. #}
{% macro default__tokenize(column, parse_special, guard, model) -%}
    {{ relama._unsupported('tokenize') }}
{%- endmacro %}

{% macro default__detokenize(column, model) -%}
    {{ relama._unsupported('detokenize') }}
{%- endmacro %}
