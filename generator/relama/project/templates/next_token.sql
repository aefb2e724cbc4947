{{ config(materialized=relama.activation()) }}

-- The next token of each sequence, chosen by the settings of the seed `sampling`.
with logits as (

    select * from {{ relama.input('logits') }}

),

sampling as (

    {{ relama.sampling(ref('sampling')) | indent(4) }}

),

next_token as (

    {{ relama.sample(
        'logits', 'sampling', single_token=relama.single_token()
    ) | indent(4) }}

)

select * from next_token
