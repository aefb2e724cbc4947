{#
    The sequences that there are, and how many of their tokens have been read: the cache of
    every layer holds keys and values of as many positions. A select of
    (sequence_id, has_read, token_count), one row for each sequence.

    A token is added once: a prompt's when it is given, any other by the step that has
    read all tokens before it. How many had been read by then stands beside it, so whatever
    adds the token says both at once, and the largest number is the last word.

    tokens  relation (sequence_id, has_read)
#}
{% macro sequences(tokens) -%}
select
    sequence_id,
    max(has_read) as has_read,
    count(*) as token_count
from {{ tokens }}
group by sequence_id
{%- endmacro %}
