{#
    Root mean square normalisation (arXiv 1910.07467, equation 4; LlamaRMSNorm):

        y[i] = x[i] / sqrt(mean over j of x[j]^2 + eps) * weight[i]

    A select of (sequence_id, position, vector), with a head where `hidden` has one.

    hidden   relation (sequence_id, position, vector)
    weight   relation of one row (row_id, vector)
    eps      added under the root
    by_head  whether `hidden` has a column head, and each head is normalised by itself
             (Qwen3RMSNorm of queries and keys)
#}
{% macro rms_norm(hidden, weight, eps, by_head=false) -%}
    {{ return(adapter.dispatch('rms_norm', 'relama')(hidden, weight, eps, by_head)) }}
{%- endmacro %}

{% macro default__rms_norm(hidden, weight, eps, by_head=false) -%}
select
    x.sequence_id,
    x.position,
    {%- if by_head %}
    x.head,
    {%- endif %}
    array(
        select {{ relama._real('e.value * x.inverse_rms * w.vector[e.i]') }}
        from unnest(x.vector) with ordinality as e (value, i)
        order by e.i
    ) as vector
from (
    select
        h.*,
        1 / sqrt(
            {{ relama._inner_product('h.vector', 'h.vector') }}
            / cardinality(h.vector) + {{ eps }}
        ) as inverse_rms
    from {{ hidden }} as h
) as x
cross join {{ weight }} as w
{%- endmacro %}

{% macro duckdb__rms_norm(hidden, weight, eps, by_head=false) -%}
select
    x.sequence_id,
    x.position,
    {%- if by_head %}
    x.head,
    {%- endif %}
    list_transform(
        x.vector, lambda value, i: value * x.inverse_rms * w.vector[i]
    ) as vector
from (
    select
        h.*,
        cast(
            1 / sqrt(
                {{ relama._inner_product('h.vector', 'h.vector') }}
                / len(h.vector) + {{ eps }}
            ) as real
        ) as inverse_rms
    from {{ hidden }} as h
) as x
cross join {{ weight }} as w
{%- endmacro %}
