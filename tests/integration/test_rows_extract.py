"""Answers of a form: regular expressions, JSON schemas and fields with types of SQL."""

from __future__ import annotations

import json
import os
import random
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from relama.runtime.answer_form import schema_form
from relama.runtime.pattern import lengths
from tests.integration.conftest import TICKETS, build_natively
from tests.schemas import agrees, schemas
from tests.user_project import UserProject

#: How many schemas are drawn; what is claimed of them has been seen with 300.
SCHEMAS = int(os.environ.get("RELAMA_TEST_SCHEMAS", "15"))

LETTERS = "abcdefgh XYZ.,?\\"
QUERY = "select id, body as prompt from {{ ref('tickets') }}"
FIELDS = """{
    'product': 'varchar(12)', 'urgent': 'boolean', 'amount': 'decimal(10,2)',
    'severity': ['low', 'high'], 'tags': 'varchar(3)[]', 'due': 'date null',
    'contact': {'type': 'object', 'properties': {'zip': {'type': 'string', 'pattern': '^[0-9]{3}$'},
                'calls': {'type': 'array', 'items': {'type': 'integer', 'minimum': 1,
                          'maximum': 99}, 'maxItems': 2}}, 'required': ['zip']},
}"""


def test_fields_become_columns_of_their_types(either_desk: UserProject) -> None:
    desk = either_desk
    config = f"materialized='relama_extract', temperature=1, max_tokens=180, fields={FIELDS}"
    desk.model("facts", f"{config}, unique_key='id'", QUERY)
    assert desk.build("facts") == {"facts": len(TICKETS)}
    columns = [(name, kind) for name, kind, *_ in desk.rows("describe facts")]
    assert columns == [
        ("id", "INTEGER"),
        ("prompt", "VARCHAR"),
        ("completion", "VARCHAR"),
        ("finish_reason", "VARCHAR"),
        ("prompt_tokens", "BIGINT"),
        ("completion_tokens", "BIGINT"),
        ("logprob", "DOUBLE"),
        ("product", "VARCHAR"),
        ("urgent", "BOOLEAN"),
        ("amount", "DECIMAL(10,2)"),
        ("severity", "VARCHAR"),
        ("tags", "VARCHAR[]"),
        ("due", "DATE"),
        ("contact", "STRUCT(zip VARCHAR, calls BIGINT[])"),
        ("relama_hash", "VARCHAR"),
    ]
    names = ["product", "urgent", "amount", "severity", "tags", "due", "contact"]
    for text, reason, *values in desk.rows(
        f"select completion, finish_reason, {', '.join(names)} from facts"
    ):
        told = json.loads(text, parse_float=Decimal)
        assert list(told) == names
        told["amount"] = Decimal(told["amount"])
        told["due"] = told["due"] and date.fromisoformat(told["due"])
        told["contact"] = {"calls": None, **told["contact"]}
        assert dict(zip(names, values, strict=True)) == told
        assert reason in ("stop", "length")
    before = desk.rows("from facts order by id")
    assert desk.build("facts") == {"facts": 0}
    assert desk.rows("from facts order by id") == before
    changed = config.replace("'decimal(10,2)'", "'bigint'").replace("'boolean'", "'boolean null'")
    desk.model("facts", f"{changed}, unique_key='id'", QUERY)
    assert desk.build("facts") == {"facts": len(TICKETS)}
    assert ("amount", "BIGINT") in [(name, kind) for name, kind, *_ in desk.rows("describe facts")]
    desk.model("facts", f"{changed.replace('low', 'lowest')}, unique_key='id'", QUERY)
    assert desk.build("facts") == {"facts": len(TICKETS)}


#: A JSON schema of one field `a`, in Python, and what its value must be.
HARD = {
    "shorthands": ({"type": "string", "pattern": r"^\d{2}-\w{3}$"}, r"^[0-9]{2}-[A-Za-z0-9_]{3}$"),
    "nested": (
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"b": {"type": "string", "maxLength": 2}},
                "required": ["b"],
            },
            "minItems": 2,
            "maxItems": 3,
        },
        None,
    ),
    "none": ({"type": "array", "items": {"type": "string"}, "maxItems": 0}, None),
    "maybe_none": ({"type": "array", "items": {"type": "null"}, "minItems": 0}, None),
    "alike": ({"enum": ["lo", "low", "lower", "lowest", "low "]}, None),
    "escapes": ({"type": "string", "pattern": '^["\\\\\n]{6}$'}, '^["\\\\\n]{6}$'),
}


def test_native_functions_write_what_sql_writes(desk: UserProject) -> None:
    fields = "{'name': 'varchar(6)', 'urgent': 'boolean', 'level': ['low', 'high'], 'n': 'bigint'}"
    models = {f"at_{temperature}": temperature for temperature in (0, 1)}
    for name, temperature in models.items():
        config = f"materialized='relama_extract', temperature={temperature}, max_tokens=90"
        desk.model(name, f"{config}, fields={fields}", QUERY)
    answers: dict[str, list[tuple[Any, ...]]] = {}
    for kind in ("sql", "native"):
        if kind == "native":
            build_natively(desk)
        built = desk.build(*models, arguments=["--full-refresh"])
        assert built == dict.fromkeys(models, len(TICKETS))
        query = "select * exclude (logprob), logprob from {} order by id"
        answers[kind] = [row for name in models for row in desk.rows(query.format(name))]
    for (*written, logprob), (*expected, right) in zip(*answers.values(), strict=True):
        assert written == expected
        assert logprob == pytest.approx(right, abs=1e-3)


def test_what_breaks_others(desk: UserProject) -> None:
    build_natively(desk)
    for name, (schema, _) in HARD.items():
        whole = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
        config = f"materialized='relama_extract', temperature=1.5, json_schema={whole!r}"
        desk.model(name, config, QUERY)
        desk.model(f"text_of_{name}", config.replace("extract", "complete"), QUERY)
    patterns = {"digits": r"\d+", "words": r"(low|lower|lowest)( \w{3})?", "line": "[^\\n]{3}\\n?"}
    for name, pattern in patterns.items():
        config = (
            f"materialized='relama_complete', temperature=1.5, max_tokens=14, regex={pattern!r}"
        )
        desk.model(name, config, QUERY)
    texts = [f"text_of_{name}" for name in HARD]
    desk.build(*HARD, *texts, *patterns)
    for name, (schema, pattern) in HARD.items():
        rows = desk.rows(f"select completion, a from {name} order by id")
        for text, read in rows:
            value = json.loads(text)["a"]
            jsonschema.validate(value, schema)
            assert read == value
            assert pattern is None or re.fullmatch(pattern, value)
        for text, reason in desk.rows(f"select completion, finish_reason from text_of_{name}"):
            assert reason == "stop"
            jsonschema.validate(json.loads(text)["a"], schema)
    assert desk.rows("select bool_and(a = []) from none") == [(True,)]
    assert len(desk.rows("select distinct a from alike")) > 1
    for name, pattern in patterns.items():
        found = desk.rows(
            f"select bool_and(regexp_full_match(completion, '{pattern}', 's')) from {name}"
        )
        assert found == [(True,)]


def test_max_tokens_and_the_context_close_what_is_open(desk: UserProject) -> None:
    build_natively(desk)
    fields = "fields={'a': 'varchar', 'b': 'varchar', 'c': 'varchar[]'}"
    kind = f"materialized='relama_extract', temperature=2, chat=false, {fields}"
    desk.model("short", f"{kind}, max_tokens=40", QUERY)
    desk.model("least", f"{kind}, max_tokens=27", QUERY)
    context = 256
    long = f"select 'a' as prompt union all select repeat('x', {context} - 33)"
    desk.model("long", f"{kind}, max_tokens=200", long)
    desk.model("too_long", f"{kind}, max_tokens=200", f"select repeat('x', {context}) as prompt")
    desk.model("cut", f"{kind}, on_overflow='truncate'", f"select repeat('x', {context}) as prompt")
    desk.build("short", "least", "long", "cut")
    assert desk.rows("select distinct finish_reason, completion_tokens from least") == [
        ("length", 27)
    ]
    assert desk.rows("select max(completion_tokens) from short") == [(40,)]
    for model in ("short", "least", "long", "cut"):
        for text, length, reason in desk.rows(
            f"select completion, prompt_tokens + completion_tokens, finish_reason from {model}"
        ):
            assert set(json.loads(text)) == {"a", "b", "c"}
            assert length <= context + 1
            assert reason == "length" or model in ("short", "long")
    assert not desk.dbt("build", "--select", "too_long")
    assert "tokens, and there is room for 230;" in desk.output


def test_a_text_ends_at_its_own_length_or_at_max_tokens(desk: UserProject) -> None:
    """Closed either way; `finish_reason` tells one from the other."""
    build_natively(desk)
    kind = "materialized='relama_extract', temperature=2, chat=false"
    texts = {
        "exact": {"type": "string", "minLength": 5, "maxLength": 5},
        "filled": {"type": "string", "maxLength": 3},
        "ended": {"type": "string", "minLength": 6, "maxLength": 64},
    }

    def write(name: str, max_tokens: int) -> None:
        fields = f"fields={{'a': {texts[name]}, 'b': 'date'}}"
        desk.model(name, f"{kind}, max_tokens={max_tokens}, {fields}", QUERY)

    write("ended", 1)
    assert not desk.dbt("build", "--select", "ended")
    shortest = re.search(r"the shortest completion allowed has (\d+) tokens", desk.output)
    assert shortest
    for name in texts:
        write(name, int(shortest[1]) if name == "ended" else 99)
    desk.build(*texts)
    for name in texts:
        rows = desk.rows(f"select completion, finish_reason, a, b from {name}")
        assert len(rows) == len(TICKETS)
        for text, reason, a, b in rows:
            assert json.loads(text) == {"a": a, "b": str(b)}
            assert reason == ("length" if name == "ended" else "stop")
    assert desk.rows("select distinct length(a) from exact") == [(5,)]
    assert desk.rows("select max(length(a)) from filled") == [(3,)]
    assert desk.rows("select distinct completion_tokens from ended") == [(int(shortest[1]),)]


def test_names_and_values_are_never_sql_or_jinja(desk: UserProject) -> None:
    build_natively(desk)
    names = ['a"b', "it's", "{{ 1 }}", "{% endraw %}", "/~.$", "select", "a; drop table x; --", "B"]
    values = ["'; drop table tickets; --", '"', "{{ ref('x') }}", "{% raw %}", "\\", "$1 %s"]
    schema = {
        "type": "object",
        "properties": {name: {"enum": values} for name in names},
        "required": names,
    }
    nested = {"type": "object", "properties": {"n": schema}, "required": ["n"]}
    for name, whole in (("flat", schema), ("deep", nested)):
        config = "materialized='relama_extract', temperature=1, max_tokens=400, chat=false"
        desk.write(
            f"models/{name}.sql",
            f"{{{{ config({config}) }}}}\nselect 'a' as prompt",
        )
        desk.write(
            f"models/{name}.yml",
            json.dumps(
                {"models": [{"name": name, "config": {"meta": {"json_schema": _raw(whole)}}}]}
            ),
        )
    desk.build("flat", "deep")
    ((text, *read),) = desk.rows(
        "select completion, "
        + ", ".join('"' + n.replace('"', '""') + '"' for n in names)
        + " from flat"
    )
    assert json.loads(text) == dict(zip(names, read, strict=True))
    assert list(json.loads(text)) == names
    ((text, deep),) = desk.rows("select completion, n from deep")
    assert json.loads(text) == {"n": deep}


def _raw(schema: dict[str, Any]) -> str:
    """The text of a schema which dbt renders from YAML as it is: its braces are escaped."""
    return json.dumps(schema).replace("{{", "\\u007b\\u007b").replace("{%", "\\u007b%")


#: A config, a query, and what is said of them.
BAD = {
    "two": ("complete", "regex='a', allowed=['a']", "regex must be absent where allowed is given"),
    "both": (
        "complete",
        "regex='a', json_schema={'type': 'null'}",
        "json_schema must be absent where regex is given",
    ),
    "parenthesis": ("complete", "regex='(a'", "regex is no regular expression that is understood"),
    "empty": ("complete", "regex=''", "regex must be a regular expression, a text"),
    "number": ("complete", "regex=5", "regex must be a regular expression, a text"),
    "letter": (
        "complete",
        "regex='é'",
        "regex allows nothing that the language model's vocabulary",
    ),
    "large": ("complete", "regex='(a{999}){999}'", "regex is too large"),
    "stopped": ("complete", "regex='a', stop='b'", "stop must be absent where regex is given"),
    "fields": (
        "complete",
        "fields={'a': 'date'}",
        "is no setting of relama_complete, but of relama_extract",
    ),
    "regex": ("extract", "regex='a'", "is no setting of relama_extract, but of relama_complete"),
    "nothing": ("extract", "max_tokens=9", "fields must be a mapping from fields to types"),
    "listed": (
        "extract",
        "fields={'a': 'date'}, allowed=['a']",
        "is no setting of relama_extract, but of relama_complete",
    ),
    "twice": (
        "extract",
        "fields={'a': 'date'}, json_schema={'type': 'null'}",
        "fields must be absent where json_schema is given",
    ),
    "type": ("extract", "fields={'a': 'varchr'}", "fields at 'a': the type \"varchr\" is unknown"),
    "taken": ("extract", "fields={'Prompt': 'date'}", "'Prompt' is a column of the answer"),
    "answer": ("extract", "fields={'LogProb': 'date'}", 'fields has the field "LogProb"'),
    "spelled": ("extract", "fields={'a': ['x', 'né']}", "cannot spell '\"né\"' of fields"),
    "short": (
        "extract",
        "fields={'a': 'date'}, max_tokens=9",
        "the shortest completion allowed has 19",
    ),
    "top": ("extract", "json_schema={'type': 'null'}", "json_schema must be of an object"),
    "json": ("extract", "json_schema='{'", "json_schema is no JSON"),
    "recursive": (
        "extract",
        "json_schema={'type': 'object', 'properties': {'a': {'$ref': '#'}}}",
        "json_schema at 'a'.a: the schema is recursive",
    ),
    "keyword": (
        "extract",
        "json_schema={'type': 'object', 'properties': {'a': {'type': 'null', 'iff': 1}}}",
        "json_schema at 'a': the keyword 'iff' is not understood",
    ),
    "bounds": (
        "extract",
        "fields={'a': {'type': 'integer', 'minimum': 2, 'maximum': 1}}",
        "fields at 'a': no number satisfies the bounds",
    ),
    "typo": ("extract", "json_shema={}", "no setting 'json_shema'; is it json_schema?"),
}


def test_bad_input_gets_one_clear_sentence(desk: UserProject) -> None:
    for name, (kind, setting, _) in BAD.items():
        desk.model(
            f"bad_{name}", f"materialized='relama_{kind}', {setting}", "select 'a' as prompt"
        )
    assert not desk.dbt("build", "--select", "path:models/bad_*")
    for name, (_, _, sentence) in BAD.items():
        assert re.search(f"bad_{name}: .*{re.escape(sentence)}", desk.output), (name, desk.output)
    assert "answered" not in desk.output


@pytest.mark.usefixtures("as_programs")
def test_the_library_that_is_missing_is_named(
    desk: UserProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outlines_core.py").write_text("raise ImportError('none')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    desk.model("digits", "materialized='relama_complete', regex='[0-9]'", "select 'a' as prompt")
    assert not desk.dbt("build", "--select", "digits")
    assert (
        "digits: regex needs the package outlines-core: pip install outlines-core." in desk.output
    )


def test_every_answer_is_of_its_schema(desk: UserProject) -> None:
    build_natively(desk)
    drawn: list[dict[str, Any]] = []

    @settings(
        max_examples=SCHEMAS,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(schemas())
    def draw(schema: dict[str, Any]) -> None:
        if schema not in drawn:
            drawn.append(schema)

    draw()
    models, draw_count = {}, random.Random(SCHEMAS)
    for i, schema in enumerate(drawn):
        shortest, _ = lengths(schema_form(schema)[0].pattern)
        if shortest > 150:
            continue
        models[f"drawn_{i}"] = schema
        prompts = " union all ".join(
            f"select {place} as id, '{text}' as prompt"
            for place in range(3)
            for text in ["".join(draw_count.choices(LETTERS, k=place * 7 + 1))]
        )
        text = json.dumps(json.dumps(schema))
        most = shortest + draw_count.randint(0, 25)
        desk.model(
            f"drawn_{i}",
            f"materialized='relama_extract', temperature=1, max_tokens={most}, seed={i}, "
            f"chat=false, json_schema={text}",
            "{% raw %}" + prompts + "{% endraw %}",
        )
    assert desk.build("path:models/drawn_*") == dict.fromkeys(models, 3)
    failures = []
    for name, schema in models.items():
        kind = schema_form(schema)[0].type
        assert kind is not None
        quoted = ", ".join('"' + key.replace('"', '""') + '"' for key in schema["properties"])
        for text, *read in desk.rows(f"select completion, {quoted} from {name}"):
            try:
                value = json.loads(text)
                jsonschema.validate(value, schema)
                for (key, field), one in zip(kind.fields, read, strict=True):
                    assert agrees(field, value.get(key), one)
            except Exception as error:
                failures.append((name, schema, text, read, error))
    assert not failures
