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
    single_token  see the macro of this name
    multiplier    of every logit (GraniteForCausalLM)
    softcap       where it is given, softcap * tanh(logit / softcap) (Gemma2ForCausalLM)
#}
{% macro logits(
    hidden, weight, storage='float32', many=false, native=none, single_token=false, multiplier=1,
    softcap=none
) -%}
    {%- set native = relama._native() if native is none else native -%}
    {%- if multiplier != 1 or softcap is not none -%}
select
    sequence_id,
    position,
    token_id,
    {{ relama._narrowed(relama._softcapped('logit * ' ~ multiplier, softcap)) }} as logit
from (

    {{ relama.logits(hidden, weight, storage, many, native, single_token) | indent(4) }}

) as uncapped
    {%- elif many and native -%}
select
    sequence_id,
    position,
    cast(generate_subscripts(logits, 1) - 1 as integer) as token_id,
    unnest(logits) as logit
from (

    {{ relama._logit_lists(hidden, weight, storage) | indent(4) }}

)
    {%- else -%}
{{ adapter.dispatch('_logits', 'relama')(hidden, weight, storage, many, native, single_token) }}
    {%- endif -%}
{%- endmacro %}

{% macro default___logits(hidden, weight, storage, many, native, single_token) -%}
with x as materialized (

    select
        h.sequence_id,
        h.position,
        {{ relama._row_input('h.vector', storage) }} as vector
    from {{ hidden }} as h

)

select
    x.sequence_id,
    x.position,
    w.row_id as token_id,
    {{ relama._narrowed(relama._storage(storage, 'row_product')('w', 'x')) }} as logit
from {{ weight }} as w
cross join x
{%- endmacro %}

{% macro duckdb___logits(hidden, weight, storage, many, native, single_token) -%}
select
    x.sequence_id,
    x.position,
    w.row_id as token_id,
    {{ relama._storage(storage, 'row_product')('w', 'x', prepared=many, native=native) }} as logit
from {{ relama._storage(storage, 'prepared_rows')(weight) if many else weight }} as w
cross join {{ hidden }} as x
{%- endmacro %}

{# A single hidden state is a constant, which stands beside every row without being copied. #}
{% macro clickhouse___logits(hidden, weight, storage, many, native, single_token) -%}
    {%- set product = relama._storage(storage, 'row_product')('w', 'x') -%}
    {%- if single_token -%}
with (select (sequence_id, position, vector) from {{ hidden }}) as x

select
    x.1 as sequence_id,
    x.2 as position,
    w.row_id as token_id,
    toFloat32({{ product | replace('x.vector', 'x.3') }}) as logit
from {{ weight }} as w
    {%- else -%}
select
    x.sequence_id as sequence_id,
    x.position as position,
    w.row_id as token_id,
    toFloat32({{ product }}) as logit
from {{ weight }} as w
cross join {{ hidden }} as x
    {%- endif -%}
{%- endmacro %}

{#
    The same as lists, by a native function that reads a row of the weight once for all
    hidden states. A select of (sequence_id, position, logits).
#}
{% macro _logit_lists(hidden, weight, storage, multiplier=1, softcap=none) -%}
with x as materialized (

    select
        list(sequence_id order by sequence_id, position) as sequence_ids,
        list(position order by sequence_id, position) as positions,
        list(vector order by sequence_id, position) as vectors
    from {{ hidden }}
    having count(*) > 0

),

multiplied as (

    select
        relama_logits(
            cast(w.row_id as integer),
            w.vector,
            cast({{ relama._storage(storage, 'row_scale') }} as real),
            x.vectors
        ) as logits
    from {{ weight }} as w
    cross join x

)

select
    unnest(x.sequence_ids) as sequence_id,
    unnest(x.positions) as position,
    {% if multiplier == 1 and softcap is none -%}
    unnest(m.logits) as logits
    {%- else -%}
    list_transform(
        unnest(m.logits),
        lambda logit: cast({{ relama._softcapped('logit * ' ~ multiplier, softcap) }} as real)
    ) as logits
    {%- endif %}
from multiplied as m
cross join x
{%- endmacro %}


{# A score within a limit (arXiv 2408.00118, section 2). An expression. #}
{% macro _softcapped(score, softcap) -%}
    {{ return(
        score if softcap is none
        else softcap ~ ' * tanh((' ~ score ~ ') / ' ~ softcap ~ ')'
    ) }}
{%- endmacro %}
