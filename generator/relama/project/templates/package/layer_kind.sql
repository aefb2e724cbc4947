{#
    A layer: the keys and values that it appends to the cache and, without a number of the layer,
    the hidden states that it hands on.

    layer  its number, from 0
#}
{% macro << kind >>(layer) -%}
{%- set name = 'layer_%02d' % layer -%}
{%- set before = 'layer_%02d' % (layer - 1) -%}
<< body >>
{%- endmacro %}
