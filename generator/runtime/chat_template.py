"""Renders a checkpoint's chat template to the text of a prompt.

As `_compile_jinja_template` and `render_jinja_template` do in transformers'
`utils/chat_template_utils.py`: the same sandbox, extensions, filters and
variables. A message is a value of the template, never part of its source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from generator.errors import CheckpointError, InputError


def render_chat_template(
    template: str | None,
    messages: Sequence[Mapping[str, str]],
    *,
    add_generation_prompt: bool = True,
    special_tokens: Mapping[str, str] | None = None,
) -> str:
    """The prompt that `template` makes of `messages`.

    Args:
        template: the Jinja source, or None where the checkpoint has none.
        messages: each with `role` and `content`.
        add_generation_prompt: end with the words that open the assistant's turn.
        special_tokens: `bos_token`, `eos_token`, ... as the template's variables.

    Raises:
        InputError: there is no template, or the template refuses the messages
            (`raise_exception`), for instance roles that do not alternate.
        CheckpointError: the template is not valid Jinja, or fails on these messages.
    """
    if template is None:
        raise InputError("this model has no chat template; give it a plain prompt instead")
    try:
        return (
            _environment()
            .from_string(template)
            .render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **(special_tokens or {}),
            )
        )
    except _RefusedError as error:
        raise InputError(f"the model's chat template refuses these messages: {error}") from error
    except TemplateSyntaxError as error:
        raise CheckpointError(
            f"the model's chat template is not valid Jinja, line {error.lineno}: {error.message}"
        ) from error
    except Exception as error:  # a template is a program of the checkpoint's: anything may fail
        raise CheckpointError(
            f"the model's chat template fails on these messages: {type(error).__name__}: {error}"
        ) from error


class _RefusedError(TemplateError):
    """Raised by a template through `raise_exception`."""


class _GenerationBlock(Extension):
    """`{% generation %}`, which marks the assistant's words for training, prints its body."""

    tags = {"generation"}  # noqa: RUF012 (declared without ClassVar in jinja2)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


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


def _raise_exception(message: str) -> NoReturn:
    raise _RefusedError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)
