"""Chat templates: golden prompts, the variables of transformers, and errors."""

from datetime import datetime

import pytest

from relama.errors import CheckpointError, InputError
from relama.runtime.chat_template import render_chat_template

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
