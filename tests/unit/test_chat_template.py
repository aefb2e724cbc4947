"""Chat templates: the prompts of transformers, its variables, arguments, and errors."""

import json
from datetime import datetime
from typing import Any

import duckdb
import pytest

from relama.errors import CheckpointError, InputError
from relama.runtime.chat_jinja import render_prompts
from relama.runtime.chat_template import read_template_args, render_chat_template, taken_arguments
from tests.conftest import ROOT

#: Made with transformers, see `tests/fixtures/make_chat_templates.py`.
FAMILIES = json.loads(
    (ROOT / "tests" / "fixtures" / "chat_templates.json").read_text(encoding="utf-8")
)

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def user(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


def test_smollm2() -> None:
    assert render_chat_template(SMOLLM2, user("What is the capital of France?")) == (
        "<|im_start|>system\n"
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\n"
        "What is the capital of France?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_without_generation_prompt_and_with_a_system_message() -> None:
    messages = [{"role": "system", "content": "Be brief."}, *user("Hi")]
    assert render_chat_template(SMOLLM2, messages, add_generation_prompt=False) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    )


@pytest.mark.parametrize(
    "content", ["{{ 7*7 }}", "{% raw %}", "{# note #}", "{% for", "<b>&\"'</b>", "\\n"]
)
def test_content_is_not_a_template(content: str) -> None:
    assert f"<|im_start|>user\n{content}<|im_end|>" in render_chat_template(SMOLLM2, user(content))


def test_special_tokens_are_variables() -> None:
    template = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ unk_token }}"
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    assert render_chat_template(template, user("hi"), special_tokens=tokens) == "<s>hi</s>"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% if true %}\n  {% if true %}\nx\n{% endif %}\n{% endif %}\n", "x\n"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{{ messages | tojson }}", '[{"role": "user", "content": "é<&>\'"}]'),
        ("{{ {'b': 1, 'a': 2} | tojson(indent=1, sort_keys=true) }}", '{\n "a": 2,\n "b": 1\n}'),
        ("{% generation %}{{ messages[0].role }}{% endgeneration %}", "user"),
        ("{{ tools is none and documents is none }}", "True"),
    ],
)
def test_as_transformers_renders(template: str, text: str) -> None:
    assert render_chat_template(template, user("é<&>'")) == text


def test_strftime_now() -> None:
    years = {str(datetime.now().year), str(datetime.now().year + 1)}
    assert render_chat_template("{{ strftime_now('%Y') }}", []) in years


def test_a_refusal_is_an_input_error() -> None:
    template = "{{ raise_exception('Conversation roles must alternate') }}"
    with pytest.raises(InputError, match="refuses these messages: Conversation roles must"):
        render_chat_template(template, user("hi"))


def test_no_template_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no chat template"):
        render_chat_template(None, user("hi"))


def test_a_syntax_error_names_its_line() -> None:
    with pytest.raises(CheckpointError, match=r"not valid Jinja, line 2: .*endfor"):
        render_chat_template("text\n{% for message in messages %}", user("hi"))


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0].name.first }}",
        "{{ 1 + messages[0].content }}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ '\\ud800' }}",
    ],
)
def test_a_template_that_fails_or_leaves_the_sandbox(template: str) -> None:
    with pytest.raises(CheckpointError, match="chat template fails on these messages"):
        render_chat_template(template, user("hi"))


def cases_of(name: str) -> list[dict[str, Any]]:
    return [case for case in FAMILIES["cases"] if case["template"] == name]


@pytest.mark.parametrize("name", FAMILIES["templates"])
def test_the_templates_of_families_render_as_in_transformers(name: str) -> None:
    for case in cases_of(name):

        def prompt(case: dict[str, Any] = case) -> str:
            return render_chat_template(
                FAMILIES["templates"][name],
                case["messages"],
                add_generation_prompt=case["add_generation_prompt"],
                special_tokens=FAMILIES["special_tokens"],
                template_args=case["template_args"],
            )

        if "text" in case:
            assert prompt() == case["text"], case
        elif "refused" in case:
            with pytest.raises(InputError, match="refuses these messages: ") as refused:
                prompt()
            assert str(refused.value).endswith(case["refused"].rstrip("."))
        else:
            with pytest.raises(CheckpointError, match=f"fails on these messages: {case['fails']}"):
                prompt()


@pytest.mark.parametrize("name", FAMILIES["templates"])
def test_rows_render_as_in_transformers(name: str) -> None:
    connection = duckdb.connect()
    connection.execute("create table chat_prompt (prompt varchar)")
    connection.execute(
        "create table chat_text (prompt varchar, body varchar, is_dated boolean, error varchar)"
    )
    for case in cases_of(name):
        *before, last = case["messages"]
        is_row = last["role"] == "user" and [m["role"] for m in before] in ([], ["system"])
        if not is_row or not case["add_generation_prompt"]:
            continue
        connection.execute("insert into chat_prompt values (?)", [last["content"]])
        settings = {
            "template": FAMILIES["templates"][name],
            "special_tokens": FAMILIES["special_tokens"],
            "template_args": json.dumps(case["template_args"]),
            "system": before[0]["content"] if before else None,
            "guarded": ["<s>", "</s>", "<|im_end|>"],
            "guard": "\ufdd0",
            "date": None,
        }
        render_prompts(connection, settings)
        ((body, error),) = connection.execute("select body, error from chat_text").fetchall()
        connection.execute("delete from chat_text")
        if "text" in case:
            assert (body.replace("\ufdd0", ""), error) == (case["text"], None), case
        else:
            assert (case.get("refused") or case["fails"]).rstrip(".") in error


SWITCH = "{{ bos_token }}{{ messages }}{{ x.y }}{% if enable_thinking is defined %}{% endif %}"


def test_the_arguments_that_a_template_takes() -> None:
    assert taken_arguments(SWITCH) == ["enable_thinking", "x"]
    assert taken_arguments("{{ messages }}{{ tools }}{{ strftime_now('%Y') }}") == []
    assert taken_arguments("{% set a = 1 %}{{ a }}{% for b in messages %}{{ b }}{% endfor %}") == []
    set_first = "{% if messages %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}"
    assert taken_arguments(set_first) == []
    assert taken_arguments("{% set x = x or 1 %}{% for y in y %}{{ y }}{% endfor %}") == ["x", "y"]
    assert taken_arguments(FAMILIES["templates"]["llama3_1"]) == [
        "builtin_tools",
        "date_string",
        "tools_in_user_message",
    ]


@pytest.mark.parametrize(
    ("template", "name", "sentence"),
    [
        (SWITCH, "enabel", "no such argument; it takes enable_thinking, x."),
        ("{{ messages }}", "enable_thinking", "no such argument; it takes none."),
        (SWITCH, "messages", "messages, special tokens and whether"),
        (SWITCH, "bos_token", "messages, special tokens and whether"),
        (SWITCH, "tools", "there are no tools and no documents"),
        (SWITCH, "raise_exception", "no such argument"),
        (SWITCH, "continue_final_message", "are relama's to give"),
    ],
)
def test_an_argument_that_a_template_does_not_take(template: str, name: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        render_chat_template(template, user("hi"), template_args={name: True})
    assert f"--template-arg {name}: " in str(refused.value)


def test_values_of_arguments_are_json_or_texts() -> None:
    given = ["a=false", "b=26 Jul 2024", "c=", "d=[1, {}]", 'e="true"', "f=x=y", "g=NaN", "h=none"]
    assert read_template_args(given) == {
        "a": False,
        "b": "26 Jul 2024",
        "c": "",
        "d": [1, {}],
        "e": "true",
        "f": "x=y",
        "g": "NaN",
        "h": "none",
    }
    assert read_template_args(["deep=" + "[" * 100_000]) == {"deep": "[" * 100_000}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["enable_thinking"], "must be NAME=VALUE, such as enable_thinking=false, not 'enable"),
        (["=1"], "must be NAME=VALUE"),
        (["a=1", "a=2"], "--template-arg a is given twice"),
        (["a=False"], "--template-arg a=False: write a=false, as in JSON, or a='\"False\"'"),
        (["a=None"], "write a=null, as in JSON"),
        (["a=\udcff"], "--template-arg a has a value that is no Unicode text"),
        (['a="\\ud800"'], "--template-arg a has a value that is no Unicode text"),
    ],
)
def test_a_bad_argument_is_an_input_error(given: list[str], sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        read_template_args(given)
    assert sentence in str(refused.value)
