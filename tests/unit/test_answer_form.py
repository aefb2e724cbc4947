"""What an answer may be: schemas, regular expressions, and the tokens that follow them."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import duckdb
import jsonschema
import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relama.runtime.answer_form import (
    INTEGERS,
    FormError,
    fields_form,
    ordered,
    pointer,
    reading,
    schema_form,
)
from relama.runtime.pattern import PatternError, parsed, written
from relama.runtime.token_transitions import Edges, distances, token_edges
from tests.schemas import agrees, schemas

#: Every byte, and tokens of several characters, of half a character and of one and a half.
TOKENS = [
    *(bytes([byte]) for byte in range(256)),
    *(
        text.encode()
        for text in ('{"', '": "', '", "', '"}', "é", "日本", "😀", '\\"', "low", "true")
    ),
    *("é".encode() + "日".encode()[:2], "😀".encode()[2:] + b'"', b"12", b"-0", b"2024-02-", b"29"),
    *(b" the", b"\n", b"\r\n", b"[1, ", b"], [", b"null", b'"lower', b"er"),
]
VOCABULARY: dict[bytes, list[int]] = {}
for token_id, token in enumerate(TOKENS):
    VOCABULARY.setdefault(token, []).append(token_id)
END = len(TOKENS)


class Walk:
    """Texts of a pattern of Rust, token by token."""

    def __init__(self, pattern: str) -> None:
        self.edges: Edges
        self.edges, self.ends = token_edges(pattern, VOCABULARY, END + 1, END)
        self.remaining = distances(self.edges, self.ends)

    def allowed(self, state: int, room: int = 10**6) -> dict[int, int]:
        """The states that tokens lead to from which an end takes at most `room` tokens."""
        return {
            token_id: following
            for following, ids in self.edges[state].items()
            for token_id in ids
            if self.remaining.get(following, room + 1) <= room
        }

    def text(self, draw: random.Random, count: int) -> bytes:
        """A text of at most `count` tokens, or of the fewest possible."""
        count = max(count, self.remaining[0])
        state, spelled = 0, b""
        while state not in self.ends:
            count -= 1
            allowed = self.allowed(state, count)
            token_id = draw.choice(list(allowed))
            spelled += TOKENS[token_id] if token_id != END else b""
            state = allowed[token_id]
        return spelled


def _python(pattern: str) -> str:
    """A pattern of Rust in the syntax of Python."""
    return re.sub(r"\\x\{([0-9a-f]+)\}", lambda m: f"\\U{int(m[1], 16):08x}", pattern)


def is_beginning(text: str, pattern: str) -> bool:
    """Whether a text of a pattern of Rust begins with `text`, by another engine."""
    return regex.fullmatch(_python(pattern), text, partial=True) is not None


def decoded(spelled: bytes) -> str | None:
    try:
        return spelled.decode()
    except UnicodeDecodeError:
        return None


def assert_as_oracle(pattern: str, draw: random.Random) -> None:
    """Compares the tokens that are allowed after each token of a text with partial matches.

    Tokens that end within a character are not compared: the oracle knows characters.
    """
    walk = Walk(pattern)
    state, spelled = 0, b""
    for _ in range(25):
        if state in walk.ends:
            break
        allowed = walk.allowed(state)
        if decoded(spelled) is not None:
            texts = {i: decoded(spelled + token) for i, token in enumerate(TOKENS)}
            expected = {
                i for i, text in texts.items() if text is not None and is_beginning(text, pattern)
            }
            assert {i for i in allowed if i != END and texts[i] is not None} == expected, spelled
        token_id = draw.choice(list(allowed))
        state = allowed[token_id]
        spelled += TOKENS[token_id] if token_id != END else b""


def texts_of(pattern: str, texts: list[str]) -> list[str]:
    """Those of some texts that a pattern of Rust allows."""
    return [text for text in texts if regex.fullmatch(_python(pattern), text)]


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(schemas(), st.integers(0, 2**32), st.integers(1, 60))
def test_whatever_is_drawn_satisfies_the_schema_and_casts(
    schema: dict[str, Any], seed: int, count: int
) -> None:
    form, _ = schema_form(schema)
    walk = Walk(written(form.pattern))
    assert form.type is not None
    columns = ", ".join(
        f"{reading(field, 't.body', pointer(name))}" for name, field in form.type.fields
    )
    for place in range(4):
        text = walk.text(random.Random(seed + place), count).decode()
        value = json.loads(text)
        jsonschema.validate(value, schema)
        query = f"select {columns} from (select ? as body) as t"
        (row,) = duckdb.connect().execute(query, [text]).fetchall()
        for (name, field), read in zip(form.type.fields, row, strict=True):
            assert agrees(field, value.get(name), read)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(schemas(), st.integers(0, 2**32))
def test_the_tokens_that_may_follow_are_those_of_another_engine(
    schema: dict[str, Any], seed: int
) -> None:
    assert_as_oracle(written(schema_form(schema)[0].pattern), random.Random(seed))


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d+x?",
        r"[\w.]{2,4}@(a|ab|abc)",
        "é?日*😀",
        r"(low|lower|lowest)\n?",
        r"\s{1,3}[^a-y\W]",
        "a|b*",
    ],
)
def test_regular_expressions_are_those_of_another_engine(pattern: str) -> None:
    for seed in range(5):
        assert_as_oracle(written(parsed(pattern)), random.Random(seed))


@pytest.mark.parametrize(
    ("pattern", "allowed", "not_allowed"),
    [
        (r"\d\w\s", ["1_ ", "0Z\t"], ["٣a ", "1é ", "1a\u00a0"]),
        (r"\D\W\S", ["é é", "a-\u00a0"], ["1 a", "aaa"]),
        (".", ["é", "\r"], ["\n", "ab"]),
        ("[^]a-]", ["b", "\n"], ["]", "a", "-"]),
        ("^(?:a|(?P<x>b))+?$", ["ab", "a"], ["", "c"]),
        (r"\p{Lu}\x41\u00e9\x{1F600}", ["ÄAé😀"], ["äAé😀"]),
        ("a{,2}|{b}", ["a{,2}", "{b}"], ["aa", ""]),
    ],
)
def test_a_regular_expression_allows_what_duckdb_matches(
    pattern: str, allowed: list[str], not_allowed: list[str]
) -> None:
    texts = [*allowed, *not_allowed]
    assert texts_of(written(parsed(pattern)), texts) == allowed
    if "\\u" not in pattern:  # RE2 has no \u.
        query = "select regexp_full_match(?, ?)"
        matched = [duckdb.connect().execute(query, [t, pattern]).fetchone() for t in texts]
        assert matched == [(text in allowed,) for text in texts]


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "a)",
        "[a",
        "a**",
        "a{3,2}",
        "(?=a)",
        "(?i)a",
        r"\b",
        r"\1",
        "*a",
        "a^b",
        "(^a)",
        "[b-a]",
        "\\",
        *(r"\x{110000}", r"\p{Foo}", "[[:alpha:]]", r"\xzz", "[a-\\d]", "a++", "\ud800"),
    ],
)
def test_a_regular_expression_that_is_not_understood_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError, match=r"at character [0-9]+$"):
        parsed(pattern)


TYPES = {
    "date": (
        ["2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31", "2023-11-30"],
        ["2023-02-29", "1900-02-29", "2024-02-30", "0000-01-01", "2024-13-01", "2024-04-31"],
    ),
    "time": (["00:00:00", "23:59:59"], ["24:00:00", "12:60:00"]),
    "timestamp": (["2024-02-29T23:59:59"], ["2024-02-29 23:59:59", "2023-02-29T00:00:00"]),
    "uuid": (["123e4567-e89b-12d3-a456-426614174000"], ["123e4567"]),
}


@pytest.mark.parametrize("name", TYPES)
def test_days_and_times_exist(name: str) -> None:
    form, _ = fields_form({"a": name})
    good, bad = ([f'{{"a": "{text}"}}' for text in texts] for texts in TYPES[name])
    assert texts_of(written(form.pattern), good + bad) == good
    for text in TYPES[name][0]:
        duckdb.connect().execute(f"select cast(? as {name})", [text]).fetchall()


def test_every_day_of_four_centuries() -> None:
    form, _ = fields_form({"a": "date"})
    days = duckdb.connect().execute(
        "select strftime(unnest(generate_series(date '1896-01-01', date '2104-12-31', "
        'interval 1 day)), \'{"a": "%Y-%m-%d"}\')'
    )
    texts = [text for (text,) in days.fetchall()]
    assert texts_of(written(form.pattern), texts) == texts


@pytest.mark.parametrize("name", INTEGERS)
def test_whole_numbers_within_their_range(name: str) -> None:
    low, high = INTEGERS[name]
    form, _ = fields_form({"a": name})
    values = [low, low + 1, low // 7, 0, 9, 10, 99, high // 3, high - 1, high]
    good = [f'{{"a": {value}}}' for value in values]
    bad = [f'{{"a": {value}}}' for value in (low - 1, high + 1, high * 10, "01", "-0", "1.0")]
    assert texts_of(written(form.pattern), good + bad) == good


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "decimal(10,2)",
            ["99999999.99", "-0.5", "0", "7"],
            ["100000000", "1.234", "01", ".5", "1."],
        ),
        ("numeric(3)", ["999", "-1"], ["1000", "1.0"]),
        ("decimal(2,2)", ["0.99", "-0.1"], ["1", "1.0"]),
        ("decimal(38,20)", ["123456789.123456"], ["1234567890"]),
        ("double", ["1.5", "-123456789012345"], ["1e5", "1234567890123456"]),
        ("integer null", ["5", "null"], ["nul", "none"]),
        ("boolean[]", ["[]", "[true]", "[true, false]"], ["[true,false]", "[ ]", "[true, ]"]),
        ("varchar(2)", ['""', '"é日"', r'"\"\\"'], ['"abc"', '"\n"', r'"\x"', '"a']),
        ("tinyint[][]", ["[[1, -128], []]"], ["[[1, -129]]"]),
    ],
)
def test_values_of_types(name: str, good: list[str], bad: list[str]) -> None:
    form, _ = fields_form({"a": name})
    texts = [f'{{"a": {value}}}' for value in (*good, *bad)]
    assert texts_of(written(form.pattern), texts) == texts[: len(good)]
    assert form.type is not None
    for text in texts[: len(good)]:
        query = f"select {reading(form.type, 't.body')} from (select ? as body) as t"
        duckdb.connect().execute(query, [text]).fetchall()


#: Schemas that cannot be, and what is said of them.
BAD_SCHEMAS: list[tuple[Any, str]] = [
    (True, "must be a JSON schema"),
    ({}, "has no type"),
    ({"type": "foo"}, '"foo" is no type of JSON'),
    ({"type": "string", "frobnicate": 1}, "the keyword 'frobnicate' is not understood"),
    ({"oneOf": []}, "the keyword 'oneOf' is not understood"),
    ({"type": "integer", "maxLength": 1}, "'maxLength' is not understood of the type integer"),
    ({"type": "integer", "minimum": 2, "maximum": 1}, "no number satisfies the bounds"),
    ({"type": "integer", "minimum": 0.5}, "minimum must be a whole number"),
    ({"type": "string", "minLength": 2, "maxLength": 1}, "which nothing satisfies"),
    ({"type": "string", "maxLength": -1}, "maxLength must be a whole number of at least 0"),
    ({"type": "string", "pattern": "("}, "the pattern is no regular expression"),
    ({"type": "string", "pattern": "^a+$", "minLength": 3, "maxLength": 2}, "nothing satisfies"),
    ({"type": "string", "pattern": "^ab$", "maxLength": 1}, "the pattern allows texts that"),
    ({"type": "string", "pattern": "^\\x01$"}, "no text satisfies the pattern"),
    ({"type": "string", "format": "email"}, 'the format "email" is none of date'),
    ({"type": "array"}, "an array needs items"),
    ({"type": "object"}, "an object needs properties"),
    ({"enum": []}, "no value satisfies the schema"),
    ({"type": "string", "enum": [1]}, "no value satisfies the schema"),
    ({"const": 1, "minimum": 3}, "the keyword 'minimum' is not understood beside 'const'"),
    ({"enum": ["\x00"]}, "is no text of the database"),
    ({"$ref": "#"}, "the schema is recursive"),
    ({"$ref": "#/$defs/a"}, "which is not there"),
    ({"$ref": "https://example.com/s"}, "must lead to a place in the schema"),
]


@pytest.mark.parametrize(("schema", "sentence"), BAD_SCHEMAS)
def test_a_schema_that_cannot_be_is_refused(schema: Any, sentence: str) -> None:
    with pytest.raises(FormError, match=re.escape(sentence)):
        schema_form(schema)
    if schema != {"$ref": "#"} and isinstance(schema, dict):
        with pytest.raises(FormError, match=f"at 'a': .*{re.escape(sentence)}"):
            schema_form({"type": "object", "properties": {"a": schema}})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "must be a mapping from fields to types"),
        ({"a": "varchr"}, "at 'a': the type \"varchr\" is unknown; the types are varchar"),
        ({"a": "date); drop table x; --"}, "is unknown"),
        ({"a": "decimal(3,4)"}, "at 'a': the database has no type"),
        ({"a": "date(3)"}, "takes no number in parentheses"),
        ({"a": []}, "at 'a': no value"),
        ({"a": ["x", 1]}, "the list must be of texts"),
        ({"a": 1}, "must be a type of SQL, a list of texts or a JSON schema"),
        ({"a": "date", "A": "date"}, "'a' and 'A' are the same column"),
        ({" ": "date"}, "is no name of a column"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields: Any, sentence: str) -> None:
    with pytest.raises(FormError, match=re.escape(sentence)):
        fields_form(fields)


def test_references_that_are_not_recursive() -> None:
    schema = {
        "$defs": {"day": {"type": "string", "format": "date"}},
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/day"}, "b": {"$ref": "#/$defs/day"}},
    }
    form, _ = schema_form(schema)
    assert form.type is not None
    assert form.type.name == 'STRUCT("a" DATE, "b" DATE)'


def test_keys_have_the_order_of_their_source() -> None:
    value = {"b": "date", "it's": {"y": 1, "x": 2}, "a": "date"}
    source = (
        """{{ config(fields={"a": 'date', 'b': 'date', "it's": {'x': 2, 'y': 1}}) }} select 'b'"""
    )
    assert json.dumps(ordered(value, "fields", source)) == json.dumps(
        {"a": "date", "b": "date", "it's": {"x": 2, "y": 1}}
    )
    assert list(ordered(value, "fields", "select 'a' as prompt, 'b' as id")) == list(value)


def test_a_space_that_decoding_takes_does_not_begin_a_text() -> None:
    edges, ends = token_edges(" ?a", {b" ": [0], b"a": [1], b" a": [2]}, 3, None, opens_bare=True)
    assert {i for ids in edges[0].values() for i in ids} == {1}
    assert 0 in distances(edges, ends)


def test_what_the_vocabulary_lacks_is_no_way() -> None:
    edges, ends = token_edges("(né|no)x*", {b"n": [0], b"o": [1], b"x": [2]}, 4, 3)
    remaining = distances(edges, ends)
    assert remaining[0] == 3
    assert edges[0].keys() & remaining.keys()


def test_a_text_ends_where_the_vocabulary_cannot_go_on() -> None:
    first, _ = (bytes([byte]) for byte in "é".encode())
    edges, ends = token_edges("aé?", {b"a": [0], first: [1]}, 3, 2)
    assert list(edges[0].values()) == [[0]]
    assert set(edges[0]) <= ends


@settings(max_examples=30, deadline=None)
@given(st.integers(-1200, 1200), st.integers(0, 1500))
def test_bounds_of_whole_numbers(low: int, more: int) -> None:
    schema = {"type": "integer", "minimum": low, "exclusiveMaximum": low + more + 1}
    pattern = re.compile(_python(written(schema_form(schema)[0].pattern)))
    allowed = [value for value in range(-3000, 3000) if pattern.fullmatch(str(value))]
    assert allowed == list(range(low, low + more + 1))
