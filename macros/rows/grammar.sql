{#
    What a completion may be, as temporary tables:

        grammar      allowed transitions (state, next_state, remaining, class_id): it begins in
                     state 0, a token that has no transition from its state has no
                     probability, and it ends in a state without transitions. `remaining` is
                     the least number of tokens to an end after the transition
        token_class  the tokens of a transition (class_id, token_places): their places in a list
                     of logits, which are their ids and one

    Many transitions have the same tokens: whatever a text may go on with, for instance.

    From `allowed`, a list of texts, `grammar`, a table (state, token_id, next_state), or a form,
    of which `_compile_form` has filled them.
#}
{% macro _open_grammar(job, settings) -%}
    {%- if settings['allowed'] -%}
        {%- do relama._check_spelled('allowed', settings['allowed']) -%}
        {%- call relama._run() -%}
create temporary table transition as
{{ relama._choice_transitions(settings['allowed'], job['language_model']) }}
        {%- endcall -%}
        {%- do settings.update({'grammar': true}) -%}
    {%- elif settings['form'] -%}
        {%- do relama._check_form(settings) -%}
        {%- do settings.update({'grammar': true}) -%}
    {%- elif settings['grammar'] -%}
        {%- set relation = relama._grammar_relation(settings['grammar']) -%}
        {%- do relama._check_transitions(relation, job['language_model']['vocab_size']) -%}
        {%- call relama._run() -%}
create temporary table transition as
select
    cast(state as integer) as state,
    cast(token_id as integer) as token_id,
    cast(next_state as integer) as next_state
from {{ relation }}
        {%- endcall -%}
    {%- endif -%}
    {%- if settings['grammar'] -%}
        {%- if not settings['form'] -%}
            {%- call relama._run() -%} {{ relama._grammar_tables() }} {%- endcall -%}
        {%- endif -%}
        {%- set least = relama._value('select 1 + min(remaining) from grammar where state = 0') -%}
        {%- if least is none or least > settings['max_tokens'] -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ': ' ~ (
                    'the grammar has no way from state 0 to a state without transitions.'
                    if least is none
                    else 'the shortest completion allowed has ' ~ least
                        ~ ' tokens; raise max_tokens, which is ' ~ settings['max_tokens'] ~ '.'
                )
            ) -%}
        {%- endif -%}
        {{ return(least) }}
    {%- endif -%}
    {{ return(1) }}
{%- endmacro %}

{# Fails where more than one setting says what a completion may be. #}
{% macro _check_one_grammar() -%}
    {%- set given = [] -%}
    {%- for name in ['allowed', 'grammar', 'regex', 'json_schema'] -%}
        {%- if relama._setting(name, none) not in [none, []] -%}
            {%- do given.append(name) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if given | length > 1 -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': ' ~ given[1] ~ ' must be absent where ' ~ given[0] ~ ' is given.'
        ) -%}
    {%- endif -%}
{%- endmacro %}

{# The table of a `ref_to`, which has the columns of a grammar. #}
{% macro _grammar_relation(grammar) -%}
    {%- if grammar is not mapping or 'ref' not in grammar -%}
        {%- do relama._bad_setting('grammar', grammar, "relama.ref_to('a_table')") -%}
    {%- endif -%}
    {%- set relation = relama._referenced(grammar) -%}
    {%- set names = [] -%}
    {%- for row in relama._rows('describe ' ~ relation) -%}
        {%- do names.append(row[0] | lower) -%}
    {%- endfor -%}
    {%- for name in ['state', 'token_id', 'next_state'] if name not in names -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ": the grammar '" ~ grammar['ref'] ~ "' must have the columns state, "
            ~ 'token_id and next_state; it has ' ~ names | join(', ') ~ '.'
        ) -%}
    {%- endfor -%}
    {{ return(relation) }}
{%- endmacro %}

{# Fails where a row of a grammar is no transition, or one of two for the same token. #}
{% macro _check_transitions(relation, vocab_size) -%}
    {%- set whole = [] -%}
    {%- for name in ['state', 'token_id', 'next_state'] -%}
        {%- do whole.append(
            "coalesce(regexp_full_match(cast(" ~ name ~ " as varchar), '-?[0-9]+([.]0+)?'), false)"
            ~ ' and try_cast(' ~ name ~ ' as integer) is not null'
        ) -%}
    {%- endfor -%}
    {%- set wrong -%}
select
    concat(
        'has the row (state ', coalesce(cast(state as varchar), 'NULL'),
        ', token_id ', coalesce(cast(token_id as varchar), 'NULL'),
        ', next_state ', coalesce(cast(next_state as varchar), 'NULL'), '), ', fault
    )
from (
    select
        state,
        token_id,
        next_state,
        case
            when not ({{ whole | join(' and ') }})
                then 'which must be three whole numbers'
            when try_cast(token_id as integer) not between 0 and {{ vocab_size - 1 }}
                then 'whose token_id is outside the vocabulary of {{ vocab_size }}'
            when min(next_state) over same_token <> max(next_state) over same_token
                then 'and another next_state for the same state and token_id'
        end as fault
    from {{ relation }}
    window same_token as (partition by state, token_id)
)
where fault is not null
limit 1
    {%- endset -%}
    {%- set found = relama._rows(wrong) -%}
    {%- if found | length -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': the grammar ' ~ found[0][0] ~ '.'
        ) -%}
    {%- endif -%}
{%- endmacro %}

{#
    Transitions that spell one of the texts: a state is a common beginning of their tokens.
    Where one text begins another, an end token may follow it. A select of (state,
    token_id, next_state).
#}
{% macro _choice_transitions(texts, language_model) -%}
    {%- set rows = [] -%}
    {%- for text in texts -%}
        {%- do rows.append('(' ~ relama._text_literal(text) ~ ')') -%}
    {%- endfor -%}
with choices as (

    select distinct {{ relama.tokenize('body') | indent(4) }} as token_ids
    from (values {{ rows | join(', ') }}) as texts (body)

),

beginnings as (

    select
        beginning,
        row_number() over (order by len(beginning), beginning) - 1 as state
    from (
        select distinct unnest(list_transform(
            range(len(token_ids) + 1), lambda i: token_ids[1:i]
        )) as beginning
        from choices
    ) as prefixes

)

select
    a.state,
    b.beginning[-1] as token_id,
    b.state as next_state
from beginnings as a
inner join beginnings as b
    on len(b.beginning) = len(a.beginning) + 1 and b.beginning[1:len(a.beginning)] = a.beginning
{%- for token_id in language_model['end_token_ids'][:1] %}

union all

select
    b.state,
    {{ token_id }} as token_id,
    -1 as next_state
from beginnings as b
inner join choices as c on b.beginning = c.token_ids
where exists (
    select 1 from beginnings as longer
    where
        len(longer.beginning) = len(b.beginning) + 1
        and longer.beginning[1:len(b.beginning)] = b.beginning
)
{%- endfor %}
{%- endmacro %}

{#
    The statements that make `grammar` and `token_class` of `transition`: distances to an end,
    from the ends.
#}
{% macro _grammar_tables() -%}
create temporary table edge as
select
    state,
    next_state,
    row_number() over () as class_id,
    list(distinct token_id + 1) as token_places
from transition
group by state, next_state;
create temporary table token_class as select class_id, token_places from edge;
create temporary table grammar as
with recursive distances using key (state) as (

    select distinct
        next_state as state,
        0 as remaining
    from edge
    where next_state not in (select state from edge)

    union

    select
        e.state,
        min(d.remaining) + 1 as remaining
    from edge as e
    inner join distances as d on e.next_state = d.state
    left join recurring.distances as known on e.state = known.state
    where known.state is null
    group by e.state

)

select
    e.state,
    e.next_state,
    d.remaining,
    e.class_id
from edge as e
inner join distances as d on e.next_state = d.state
{%- endmacro %}

{#
    Whether a token that leads along `g` may follow what `r` has: an end can still be reached
    within max_tokens and the context. A condition.
#}
{% macro _is_in_reach(language_model, settings) -%}
    len(r.token_ids) + 1 + g.remaining <= least(
        r.prompt_tokens + {{ settings['max_tokens'] }},
        {{ language_model['max_position_embeddings'] + 1 }}
    )
{%- endmacro %}

{#
    The tokens that may follow in each running sequence, as `token_places` of `token_class`. A
    select of (sequence_id, token_places).
#}
{% macro _allowed_places(language_model, settings) -%}
select
    r.sequence_id,
    flatten(list(k.token_places)) as token_places
from running as r
inner join grammar as g on r.state = g.state
inner join token_class as k on g.class_id = k.class_id
where {{ relama._is_in_reach(language_model, settings) }}
group by r.sequence_id
{%- endmacro %}

{#
    Where chosen tokens lead. A select of (sequence_id, token_id, logprob, next_state, is_closing):
    `is_closing` says that a longer way was out of reach.

    chosen  relation (sequence_id, token_id, logprob)
#}
{% macro _moved(chosen, language_model, settings) -%}
select
    c.sequence_id,
    c.token_id,
    c.logprob,
    max(g.next_state) filter (where list_contains(k.token_places, c.token_id + 1)) as next_state,
    bool_or(not ({{ relama._is_in_reach(language_model, settings) }})) as is_closing
from {{ chosen }} as c
inner join running as r on c.sequence_id = r.sequence_id
inner join grammar as g on r.state = g.state
inner join token_class as k on g.class_id = k.class_id
group by c.sequence_id, c.token_id, c.logprob
{%- endmacro %}
