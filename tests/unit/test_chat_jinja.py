"""The prompts of a table, rendered: guards, dates, errors, and texts that arrive as they are."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from relama.runtime.chat_jinja import guarded, render_prompts
from relama.runtime.job_settings import decoded_settings

TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
DATED = "{% if 'when' in messages[-1].content %}{{ strftime_now('%d %b %Y') }}{% endif %}ask"


def rendered(prompts: list[str], **settings: Any) -> list[tuple[Any, ...]]:
    """The rows of `chat_text`, in the order of the prompts."""
    connection = duckdb.connect()
    connection.execute("create table chat_prompt (prompt varchar)")
    connection.execute(
        "create table chat_text (prompt varchar, body varchar, is_dated boolean, error varchar)"
    )
    for prompt in prompts:
        connection.execute("insert into chat_prompt values (?)", [prompt])
    given = {"template": TEMPLATE, "special_tokens": {"bos_token": "<s>"}, "system": None}
    render_prompts(connection, given | {"guarded": [], "guard": None, "date": None} | settings)
    assert connection.execute("select count(*) from chat_prompt").fetchall() == [(0,)]
    rows = {row[0]: row[1:] for row in connection.execute("from chat_text").fetchall()}
    return [rows[prompt] for prompt in prompts]


def test_texts_arrive_as_they_are() -> None:
    prompts = ["", "a,b;c", "x\x00y\n", "'quoted' \"twice\"", "{{ 1 + 1 }}", "é\U0010ffff\ufffd"]
    assert [body for body, *_ in rendered(prompts)] == [f"<s>[user]{p}" for p in prompts]
    (row,) = rendered(["b"], system="a")
    assert row[0] == "<s>[system]a[user]b"


def test_what_a_prompt_spells_is_guarded_and_what_the_template_says_is_not() -> None:
    tokens = ["<s>", "<s>x", "s>"]
    prompt, guard = "1 <s>x <s <s>", "\ufdd0"
    ((body, *_),) = rendered([prompt], guarded=tokens, guard=guard)
    assert body.startswith("<s>[user]")
    assert not any(token in body.removeprefix("<s>") for token in tokens)
    assert body.replace(guard, "") == f"<s>[user]{prompt}"
    assert guarded("aaa", ["aa"], "|") == "a|a|a"
    assert guarded("nothing", ["<s>"], "|") == "nothing"


@pytest.mark.parametrize(
    ("said", "prompt"),
    [
        ("c | lower", "a <S>"),
        ("c | replace('-', '')", "<-s>"),
        ("c | replace('(', '<')", "(s>"),
        ("c.encode('ascii', 'ignore').decode()", "<s>"),
        ("'<' + c", "s>"),
        ("(c | length | string) + c", "<s>"),
        ("c | tojson(ensure_ascii=true)", "<s>"),
    ],
)
def test_what_a_template_makes_a_special_token_of_is_refused(said: str, prompt: str) -> None:
    template = "<s>{% set c = messages[-1].content %}{% if c[0] == ' ' %}<s>{% endif %}{{ X }}<s>"
    settings = {"template": template.replace("X", said), "guarded": ["<s>"], "guard": "\ufdd0"}
    rows = rendered([prompt, " a", ""], **settings)
    assert ["does not keep as text" in (error or "") for *_, error in rows] == [True, False, False]


def test_only_a_text_that_holds_the_date_is_dated() -> None:
    rows = rendered(["when?", "why?"], template=DATED, date="2026-03-01")
    assert [(body, dated) for body, dated, _ in rows] == [
        ("01 Mar 2026ask", True),
        ("ask", False),
    ]


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{{ raise_exception('no ' + messages[0].content) }}", "refuses these messages: no a"),
        ("{% if %}", "is not valid Jinja, line 1"),
        ("{{ messages[7].content.nothing }}", "fails on these messages: UndefinedError"),
        ("{{ ''.__class__.__mro__ }}", "fails on these messages: SecurityError"),
        ("{{ '\\ud800' }}", "fails on these messages: UnicodeEncodeError"),
        ("{{ raise_exception('no \\ud800') }}", "refuses these messages: no \\ud800"),
    ],
)
def test_what_went_wrong_is_kept(template: str, sentence: str) -> None:
    ((_, _, error),) = rendered(["a"], template=template)
    assert sentence in error


def test_settings_come_in_digits() -> None:
    text = '{"a": "utf8:c3a9", "b": null, "c": ["utf8:"], "d": {"e": "utf8:757466383a3431"}}'
    assert decoded_settings(text) == {"a": "é", "b": None, "c": [""], "d": {"e": "utf8:41"}}
