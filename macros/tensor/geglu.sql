{#
    GEGLU (arXiv 2002.05202, equation 6, without biases; Gemma2MLP), with GELU (arXiv 1606.08415)
    in its form with tanh, which is this one with a sigmoid:

        y[i] = gate[i] * sigmoid(2 * sqrt(2 / pi) * (gate[i] + 0.044715 * gate[i]^3)) * up[i]

    A select of (sequence_id, position, vector).

    gate  relation (sequence_id, position, vector)
    up    the same, or none where one vector holds the gate and, behind it, up
    size  width of the result
#}
{% macro geglu(gate, up, size) -%}
    {{ return(relama._gated(gate, up, size, relama._gelu_exponent)) }}
{%- endmacro %}

{# What the sigmoid of GELU is taken of. An expression; 2 * sqrt(2 / pi) = 1.5957691216057308. #}
{% macro _gelu_exponent(gate) -%}
    {{ return(
        '(\n            1.5957691216057308 * ' ~ gate ~ ' * (1 + 0.044715 * ' ~ gate ~ ' * ' ~ gate
        ~ ')\n        )'
    ) }}
{%- endmacro %}
