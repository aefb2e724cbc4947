{#
    An activation that a model reads: what `ref` is, but the compiled text of the model is its
    own alone.

    dbt puts the text of every ephemeral model below a model into that model's text. Through
    all layers that would be a megabyte for each of them. Here a model names the CTE that it
    reads, and the models that make one statement of the forward pass, such as `step`, refer
    to `layer_00`, `layer_01` and so on, each of which refers to all of its layer in order.
    Where activations are tables there are no CTEs; and `dbt show` makes a statement of one
    model, so there everything below it is put into it.

    As a package of another project, a layer is one model that holds its operators. Outside of it,
    one of them is read by its name and the layer's.

    name   the model's
    layer  that of the layer that holds it in a package; none where the model is one there too
#}
{% macro input(name, layer=none) -%}
    {%- if layer is not none and model.package_name != project_name -%}
        {{ return('__dbt__cte__' ~ name if execute else ref(layer)) }}
    {%- endif -%}
    {%- set whole = not execute or var('relama_trace', false) or flags.WHICH == 'show' -%}
    {{ return(ref(name) if whole else '__dbt__cte__' ~ name) }}
{%- endmacro %}
