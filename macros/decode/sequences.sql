{#
    The sequences that there are, and how many of their tokens have been read: the cache of
    every layer holds keys and values of as many positions. A select of
    (sequence_id, has_read, token_count), one row for each sequence.

    A token is added once: a prompt's when it is given, any other by the step that has
    read all tokens before it. How many had been read by then stands beside it, so whatever
    adds the token says both at once, and the largest number is the last word.

    Where rotary embedding has short and long factors, by the length of the sequence, the tokens
    say which (`is_long`), and so does a column `is_long` here. What was read by the one is of no
    use to the other: of a long sequence, those tokens count that say so.

    tokens        relation (sequence_id, has_read), with a column is_long for long_factors
    long_factors  whether rotary embedding has two sets of factors, see `rotary_angles`
#}
{% macro sequences(tokens, long_factors=false) -%}
select
    sequence_id,
    {%- if long_factors %}
    coalesce(max(case when n.is_long then n.has_read end), max(n.has_read)) as has_read,
    count(case when n.is_long then 1 end) > 0 as is_long,
    {%- else %}
    max(has_read) as has_read,
    {%- endif %}
    count(*) as token_count
from {{ tokens }}{{ ' as n' if long_factors }}
group by sequence_id
{%- endmacro %}
