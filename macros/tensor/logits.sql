{#
    The logits of the token that follows each hidden state:

        logit[token] = sum over i of weight[token][i] * x[i]

    A select of (sequence_id, position, token_id, logit), one row for each token
    of the vocabulary.

    hidden  relation (sequence_id, position, vector)
    weight  relation (row_id, vector)
#}
{% macro logits(hidden, weight) -%}
select
    x.sequence_id,
    x.position,
    w.row_id as token_id,
    {{ relama.inner_product('w.vector', 'x.vector') }} as logit
from {{ weight }} as w
cross join {{ hidden }} as x
{%- endmacro %}
