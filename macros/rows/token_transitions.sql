{#
    The Python that makes transitions over tokens, see `_compile_form`: a copy of
    generator/relama/runtime/token_transitions.py, written by `make generate`.
#}
{% macro _token_transitions() -%}
{% raw %}"""From a regular expression over characters to transitions over tokens.

Outlines-core walks every token through the expression's automaton, byte by byte (Willard and Louf,
"Efficient Guided Generation for Large Language Models", arXiv 2307.09702).

The text of this module is also the macro `_token_transitions`, which runs as a Python job of
dbt-duckdb's where relama is not installed: it needs nothing but outlines-core.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any

Edges = dict[int, dict[int, list[int]]]

#: What ends a text, where an automaton reads it: the last code point, which is no character.
LAST = "\U0010ffff"


def write_transitions(connection: Any, settings: Mapping[str, Any]) -> None:
    """Fills the tables `grammar` and `token_class`, see the macro `_open_grammar`.

    What went wrong goes to the table `answer_form` as an `error`.

    Args:
        connection: DuckDB's.
        settings: `pattern` (of Rust), `vocabulary` (a select of token_id and bytes), `vocab_size`,
            `end_token_id` (or None) and `opens_bare` (whether decoding takes a space from
            the beginning of a text).
    """
    try:
        import outlines_core  # noqa: F401
    except ImportError:
        _fail(connection, "needs the package outlines-core: pip install outlines-core")
        return
    tokens: dict[bytes, list[int]] = defaultdict(list)
    for token_id, spelled in connection.execute(settings["vocabulary"]).fetchall():
        tokens[bytes(spelled)].append(token_id)
    end = settings["end_token_id"]
    try:
        edges, ends = token_edges(
            settings["pattern"],
            tokens,
            int(settings["vocab_size"]),
            None if end is None else int(end),
            bool(settings["opens_bare"]),
        )
    except ValueError as error:
        _fail(connection, f"cannot be compiled: {error}")
        return
    remaining = distances(edges, ends)
    if 0 not in remaining or 0 in ends:
        _fail(connection, "allows nothing that the language model's vocabulary can spell")
        return
    classes: dict[tuple[int, ...], int] = {}
    rows = []
    for state, following in edges.items():
        for next_state, token_ids in following.items():
            if state in remaining and next_state in remaining:
                number = classes.setdefault(tuple(token_ids), len(classes))
                rows.append(f"{state},{next_state},{remaining[next_state]},{number}")
    # As text: a list of Python's numbers takes DuckDB many times as long.
    connection.execute(
        "insert into grammar select cast(row[1] as integer), cast(row[2] as integer), "
        "cast(row[3] as integer), cast(row[4] as integer) "
        "from (select string_split(unnest(string_split(?, ';')), ',') as row)",
        [";".join(rows)],
    )
    listed = [",".join(str(token_id + 1) for token_id in token_ids) for token_ids in classes]
    connection.execute(
        "insert into token_class select generate_subscripts(list, 1) - 1, "
        "cast(string_split(unnest(list), ',') as integer[]) "
        "from (select string_split(?, ';') as list)",
        [";".join(listed)],
    )


def token_edges(
    pattern: str,
    tokens: Mapping[bytes, Sequence[int]],
    vocab_size: int,
    end_token_id: int | None,
    opens_bare: bool = False,
) -> tuple[Edges, set[int]]:
    """The tokens from each state to each next one, and the states that are ends.

    It begins in state 0. A text that may end and may go on ends with `end_token_id`, which leads
    to state -1. Raises `ValueError` where the pattern does not compile.

    Args:
        pattern: a regular expression of Rust that whole texts match.
        tokens: the ids of the tokens that spell these bytes.
        vocab_size: ids of tokens are below it.
        end_token_id: of the language model; None where it has none.
        opens_bare: whether decoding takes a space from the beginning of a text.
    """
    from outlines_core import Index, Vocabulary

    # Outlines-core refuses a pattern that needs a byte which no token has, though other texts may
    # do without: tokens that are taken out again have them.
    known = {text: list(ids) for text, ids in tokens.items() if text}
    for byte in range(256):
        known.setdefault(bytes([byte]), []).append(vocab_size + byte)
    # Its automaton finds the first of several alternatives: of `low|lower` it would not go on
    # behind `low`. With a character of its own at the end, all of them are alive until then.
    last = vocab_size + 256
    known[LAST.encode()] = [last]
    index = Index(f"(?:{pattern}){LAST}", Vocabulary(last + 1, known))
    numbers = {index.get_initial_state(): 1}
    found: Edges = {}
    finals = set()
    waiting = deque(numbers)
    while waiting:
        state = waiting.popleft()
        following: dict[int, list[int]] = defaultdict(list)
        for token_id in sorted(index.get_allowed_tokens(state)):
            if token_id < vocab_size:
                following[index.get_next_state(state, token_id)].append(token_id)
            elif token_id == last:
                finals.add(numbers[state])
        for next_state in following:
            if next_state not in numbers:
                numbers[next_state] = len(numbers) + 1
                waiting.append(next_state)
        found[numbers[state]] = {
            numbers[following_state]: ids for following_state, ids in following.items()
        }
    # A state of its own to begin in, to which nothing leads back.
    spaced = {i for text, ids in tokens.items() if opens_bare and text[:1] == b" " for i in ids}
    first = {state: [i for i in ids if i not in spaced] for state, ids in found[1].items()}
    found[0] = {state: ids for state, ids in first.items() if ids}
    finals |= {0} & {state - 1 for state in finals}
    alive = distances(found, finals)
    edges = {
        state: {next_state: ids for next_state, ids in following.items() if next_state in alive}
        for state, following in found.items()
    }
    ends = {state for state in finals if not edges[state]}
    for state in finals - ends:
        if end_token_id is not None:
            edges[state][-1] = [end_token_id]
    return edges, ends | {-1}


def distances(edges: Edges, ends: set[int]) -> dict[int, int]:
    """The least number of tokens from each state to an end, where one can be reached."""
    before: dict[int, list[int]] = defaultdict(list)
    for state, following in edges.items():
        for next_state in following:
            before[next_state].append(state)
    found = dict.fromkeys(ends, 0)
    waiting = deque(found)
    while waiting:
        state = waiting.popleft()
        for earlier in before[state]:
            if earlier not in found:
                found[earlier] = found[state] + 1
                waiting.append(earlier)
    return found


def _fail(connection: Any, sentence: str) -> None:
    connection.execute("insert into answer_form values ('error', 0, ?, '', '')", [sentence])
{% endraw %}
{%- endmacro %}
