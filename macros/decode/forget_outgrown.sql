{#
    What a model whose rotary embedding has long factors does when a token has been added, see
    `rotary_angles`: with one token more than the original context a sequence is to be read again,
    from its beginning, which its token says in `has_read`. The caches forget what they hold of it.
#}
{% macro forget_outgrown() -%}
    {%- if execute -%}
        {{ relama._discard_partial_step() }}
    {%- endif -%}
{%- endmacro %}
