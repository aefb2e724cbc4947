{#
    The logits of the token that follows each hidden state:

        logit[token] = sum over i of weight[token][i] * x[i]

    A select of (sequence_id, position, token_id, logit), one row for each token
    of the vocabulary.

    hidden  relation (sequence_id, position, vector)
    weight  relation (row_id, vector), and scale in storage int8 and int6
    storage float32, int8 or int6
    many    whether there are many hidden states: codes are then cast once for all, into
            rows that DuckDB counts within its memory limit
#}
{% macro logits(hidden, weight, storage='float32', many=false) -%}
select
    x.sequence_id,
    x.position,
    w.row_id as token_id,
    {% if storage == 'float32' -%}
    {{ relama.inner_product('w.vector', 'x.vector') }} as logit
from {{ weight }} as w
    {%- elif many -%}
    {{ relama.inner_product('w.vector', 'x.vector') }} * w.scale as logit
from (
    select
        row_id,
        cast(vector as real[]) as vector,
        scale
    from {{ weight }}
) as w
    {%- else -%}
    {{ relama.inner_product('cast(w.vector as real[])', 'x.vector') }} * w.scale as logit
from {{ weight }} as w
    {%- endif %}
cross join {{ hidden }} as x
{%- endmacro %}
