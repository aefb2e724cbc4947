{#
    The Python that renders chat templates, see `_render_chat`: a copy of
    generator/relama/runtime/chat_jinja.py, written by `make generate`.
#}
{% macro _chat_jinja() -%}
{% raw %}"""Chat templates as transformers renders them, and the prompts of a table rendered by them.

The environment is that of `_compile_jinja_template` in transformers'
`utils/chat_template_utils.py`: the same sandbox, extensions, filters and variables. A
message is a value of the template, never part of its source.

A session imports this module. A dbt project cannot, where relama is not installed: there
its text, in the macro `_chat_jinja`, runs as a Python job of dbt-duckdb's. So it needs
nothing but jinja2, which dbt has.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

Messages = Sequence[Mapping[str, str | None]]

#: Prompts that are rendered before they are stored: bounds the memory of their texts.
CHUNK = 10_000


class RefusedError(TemplateError):
    """Raised by a template through `raise_exception`."""


class MisspelledError(TemplateError):
    """Raised where a template makes a special token of what a message says, or splits a guard."""


class _GenerationBlock(Extension):
    """`{% generation %}`, which marks the assistant's words for training, prints its body."""

    tags = {"generation"}  # noqa: RUF012 (declared without ClassVar in jinja2)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dictionary:
    """`dict`, of which a template sees no more than that it makes one."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _PlainNamespace(Namespace):
    """`namespace`, whose attributes do not begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # so that `namespace(self=...)` is one
        attributes = dict(*args[1:], **kwargs)
        for name in attributes:
            _check_attribute(name)
        Namespace.__init__(args[0], attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_attribute(name)
        Namespace.__setitem__(self, name, value)


def compile_template(source: str, strftime_now: Callable[[str], str]) -> Template:
    """The template of Jinja source. Raises `TemplateSyntaxError`."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = strftime_now
    environment.globals["dict"] = _Dictionary()
    environment.globals["namespace"] = _PlainNamespace
    return environment.from_string(source)


def render(
    template: Template,
    messages: Messages,
    special_tokens: Mapping[str, str],
    add_generation_prompt: bool = True,
    template_args: Mapping[str, Any] | None = None,
) -> str:
    """The prompt that a template makes of `messages`, each with `role` and `content`.

    `template_args` are more variables of the template, such as `enable_thinking`.

    Raises `UnicodeEncodeError` where the prompt is no text: half of a surrogate pair is in it.
    """
    rendered = template.render(
        messages=[{k: v for k, v in message.items() if v is not None} for message in messages],
        tools=None,
        documents=None,
        add_generation_prompt=add_generation_prompt,
        **special_tokens,
        **(template_args or {}),
    )
    rendered.encode()
    return rendered


def failure(error: Exception) -> str:
    """What went wrong when a template was compiled or rendered, in one sentence without a stop."""
    reason = str(error).rstrip(". \n") or "no reason given"
    if isinstance(error, RefusedError):
        return f"the model's chat template refuses these messages: {reason}"
    if isinstance(error, MisspelledError):
        return "the model's chat template does not keep as text what these messages say"
    if isinstance(error, TemplateSyntaxError):
        return f"the model's chat template is not valid Jinja, line {error.lineno}: {error.message}"
    return f"the model's chat template fails on these messages: {type(error).__name__}: {reason}"


def guarded(text: str, tokens: Sequence[str], guard: str | None) -> str:
    """`text` with `guard` after the first character of every token that it spells.

    So the tokenizer does not recognise them, and what the text says stays text. The macro
    `tokenize` takes the guards out where it has looked for tokens.
    """
    if guard is None or not any(first in text for first in {token[0] for token in tokens}):
        return text
    spelled = "|".join(map(re.escape, tokens))
    return re.sub(f"(?s)(?=(?:{spelled}))(.)", lambda match: f"{match[1]}{guard}", text)


def render_prompts(connection: Any, settings: Mapping[str, Any]) -> None:
    """Renders the table `chat_prompt` (prompt) into `chat_text`.

    `chat_text` is (prompt, body, is_dated, error): the rendered text, whether it holds the date,
    or what went wrong.

    Args:
        connection: DuckDB's.
        settings: `template`, `special_tokens` (the template's variables), `system` (the
            system message, or None), `date` (YYYY-MM-DD, or None for today), `guarded` (tokens
            that a message spells as text only) and `guard`, see the function. `before` and
            `after`, or nothing, are what a prompt is put between; `template_args`, or nothing,
            more variables of the template, as JSON.
    """
    prompts = [prompt for (prompt,) in connection.execute("from chat_prompt").fetchall()]
    date = settings["date"]
    now = datetime.fromisoformat(date) if date else datetime.now()
    for first in range(0, len(prompts), CHUNK):
        rendered = _rendered(prompts[first : first + CHUNK], settings, now)
        # As hexadecimal digits: a list of Python's texts takes DuckDB sixty times as long.
        rows = [
            ",".join(text.encode(errors="backslashreplace").hex() for text in row)
            for row in rendered
        ]
        connection.execute(
            "insert into chat_text select decode(unhex(row[1])), decode(unhex(row[2])), "
            "row[3] <> '', nullif(decode(unhex(row[4])), '') "
            "from (select string_split(unnest(string_split(?, ';')), ',') as row)",
            [";".join(rows)],
        )
    connection.execute("delete from chat_prompt")


def render_shortened(connection: Any, settings: Mapping[str, Any]) -> None:
    """Renders ever shorter prompts until all of them fit.

    Args:
        connection: DuckDB's.
        settings: as of `render_prompts`, and SQL statements: `shorten` fills `chat_prompt`,
            `measure` takes what fits out of `long_prompt`.
    """
    while connection.execute("select count(*) from long_prompt").fetchone()[0]:
        connection.execute(settings["shorten"])
        render_prompts(connection, settings)
        connection.execute(settings["measure"])


def _rendered(
    prompts: Sequence[str], settings: Mapping[str, Any], now: datetime
) -> list[tuple[str, str, str, str]]:
    """(prompt, body, is_dated, error) of each prompt, in the order of `chat_text`."""
    asked: list[str] = []

    def strftime_now(pattern: str) -> str:
        asked.append(pattern)
        return now.strftime(pattern)

    try:
        template = compile_template(settings["template"], strftime_now)
    except Exception as error:  # a template is a program of the checkpoint's: anything may fail
        return [(prompt, "", "", failure(error)) for prompt in prompts]
    system, tokens, guard = settings["system"], settings["guarded"], settings["guard"]
    before, after = settings.get("before", ""), settings.get("after", "")
    template_args = json.loads(settings.get("template_args", "{}"))
    spelled = re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))))
    letters = set("".join(tokens))
    letter = next(chr(code) for code in range(ord("a"), 0xD800) if chr(code) not in letters)

    def guard_tokens(text: str) -> str:
        return guarded(text, tokens, guard)

    def blank(text: str) -> str:
        """A text that spells nothing: special tokens around it are the template's own."""
        return re.sub(r"\S", letter, text)

    def rendered(content: str, change: Callable[[str], str]) -> str:
        contents = [("system", system)] if system is not None else []
        contents.append(("user", content))
        messages = [{"role": role, "content": change(text)} for role, text in contents]
        return render(template, messages, settings["special_tokens"], template_args=template_args)

    rows = []
    for prompt in prompts:
        asked.clear()
        content = f"{before}{prompt}{after}"
        try:
            body = rendered(content, guard_tokens)
            dated = "x" if asked else ""
            if tokens and Counter(spelled.findall(body)) - Counter(
                spelled.findall(rendered(content, blank))
            ):
                raise MisspelledError
            is_guarded = any(guard_tokens(text) != text for text in (system or "", content))
            if is_guarded and body.replace(guard, "") != rendered(content, str):
                raise MisspelledError
            rows.append((prompt, body, dated, ""))
        except Exception as error:
            rows.append((prompt, "", "", failure(error)))
    return rows


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without jinja2's HTML escapes."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _check_attribute(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"the name {name!r} in a namespace begins with an underscore")


def _raise_exception(message: str) -> NoReturn:
    raise RefusedError(message)
{% endraw %}
{%- endmacro %}
