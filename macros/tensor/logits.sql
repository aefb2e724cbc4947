{#
    The logits of the token that follows each hidden state:

        logit[token] = sum over i of weight[token][i] * x[i]

    A select of (sequence_id, position, token_id, logit), one row for each token
    of the vocabulary.

    hidden   relation (sequence_id, position, vector)
    weight   relation of row_id and the columns of the storage
    storage  one that has rows: float32, int8 or int567
    many     whether there are many hidden states: rows are then prepared once for all
    native   whether native functions multiply; none asks `_native`
#}
{% macro logits(hidden, weight, storage='float32', many=false, native=none) -%}
    {%- set native = relama._native() if native is none else native -%}
    {%- set prepared = many and not native -%}
select
    x.sequence_id,
    x.position,
    w.row_id as token_id,
    {{ relama._storage(storage, 'row_product')(
        'w', 'x', prepared=prepared, native=native
    ) }} as logit
from {{ relama._storage(storage, 'prepared_rows')(weight) if prepared else weight }} as w
cross join {{ hidden }} as x
{%- endmacro %}
