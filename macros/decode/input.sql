{#
    An activation that a model reads: what `ref` is, but the compiled text of the model is its
    own alone.

    dbt puts the text of every ephemeral model below a model into that model's text. Through
    all layers that would be a megabyte for each of them. Here a model names the CTE that it
    reads, and the models that make one statement of the forward pass, such as `step`, refer
    to `layer_00`, `layer_01` and so on, each of which refers to all of its layer in order.
    Where activations are tables there are no CTEs; and `dbt show` makes a statement of one
    model, so there everything below it is put into it.

    name   the model's
#}
{% macro input(name) -%}
    {%- set is_whole = not execute or relama._is_traced() or flags.WHICH == 'show' -%}
    {{ return(ref(name) if is_whole else '__dbt__cte__' ~ name) }}
{%- endmacro %}
