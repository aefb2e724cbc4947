"""Renders a checkpoint's chat template to the text of a prompt, and says what it takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.meta import find_undeclared_variables

from relama.errors import CheckpointError, InputError
from relama.runtime.chat_jinja import (
    Messages,
    RefusedError,
    compile_template,
    failure,
    render,
)

#: Parameters of `apply_chat_template` that are no arguments of a template. Nor are special tokens,
#: whose names end in `_token`.
GIVEN = ("messages", "tools", "documents", "add_generation_prompt", "continue_final_message")


def render_chat_template(
    template: str | None,
    messages: Messages,
    *,
    add_generation_prompt: bool = True,
    special_tokens: Mapping[str, str] | None = None,
    template_args: Mapping[str, Any] | None = None,
) -> str:
    """The prompt that `template` makes of `messages`.

    Args:
        template: the Jinja source, or None where the checkpoint has none.
        messages: each with `role` and `content`.
        add_generation_prompt: end with the words that open the assistant's turn.
        special_tokens: `bos_token`, `eos_token`, ... as the template's variables.
        template_args: arguments of the template's own, such as `enable_thinking`.

    Raises:
        InputError: there is no template, it does not take one of the arguments, or it refuses
            the messages (`raise_exception`), for instance roles that do not alternate.
        CheckpointError: the template is not valid Jinja, or fails on these messages.
    """
    if template is None:
        raise InputError("this model has no chat template; give it a plain prompt instead")
    compiled = _compiled(template)
    check_template_args(template, template_args or {})
    try:
        return render(
            compiled, messages, special_tokens or {}, add_generation_prompt, template_args
        )
    except RefusedError as error:
        raise InputError(failure(error)) from error
    except Exception as error:  # a template is a program of the checkpoint's: anything may fail
        raise CheckpointError(failure(error)) from error


def taken_arguments(template: str) -> list[str]:
    """The names of the arguments that a template takes: what it reads and is not given.

    Jinja counts what a template sets in some branches only among what it reads; a name that is set
    where it stands first is a variable of the template's own.

    >>> taken_arguments("{{ bos_token }}{{ messages }}{% if enable_thinking %}think{% endif %}")
    ['enable_thinking']

    Raises:
        CheckpointError: the template is not valid Jinja.
    """
    tree = _compiled(template).environment.parse(template)
    first: dict[str, str] = {}
    for name in _names(tree):
        first.setdefault(name.name, name.ctx)
    read = find_undeclared_variables(tree)
    return sorted(name for name in read if first[name] != "store" and not _is_given(name))


def check_template_args(template: str, template_args: Mapping[str, Any]) -> None:
    """Raises `InputError` where the template does not take one of the arguments."""
    if not template_args:
        return
    taken = taken_arguments(template)
    for name in template_args:
        if _is_given(name):
            raise InputError(
                f"--template-arg {name}: messages, special tokens and whether the assistant's turn "
                "is opened are relama's to give, and there are no tools and no documents."
            )
        if name not in taken:
            raise InputError(
                f"--template-arg {name}: the model's chat template takes no such argument; it "
                f"takes {', '.join(taken) or 'none'}."
            )


def read_template_args(texts: Iterable[str]) -> dict[str, Any]:
    """The arguments that `NAME=VALUE` give; a value is JSON, or else a text.

    >>> read_template_args(["enable_thinking=false", "date_string=26 Jul 2024"])
    {'enable_thinking': False, 'date_string': '26 Jul 2024'}

    Raises:
        InputError: there is no name, a name comes twice, a value has what is no character, or is
            Python's `False` for JSON's `false`, which as a text would be true.
    """
    read: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InputError(
                f"--template-arg must be NAME=VALUE, such as enable_thinking=false, not {text!r}."
            )
        if name in read:
            raise InputError(f"--template-arg {name} is given twice.")
        try:
            read[name] = json.loads(value, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            read[name] = value
            meant = {"true": "true", "false": "false", "none": "null", "null": "null"}
            if value.lower() in meant and not value.islower():
                raise InputError(
                    f"--template-arg {text}: write {name}={meant[value.lower()]}, as in JSON, or "
                    f"{name}='\"{value}\"' for the text."
                ) from None
        try:
            json.dumps(read[name], ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"--template-arg {name} has a value that is no Unicode text."
            ) from None
    return read


def _compiled(template: str) -> Template:
    try:
        return compile_template(template, lambda pattern: datetime.now().strftime(pattern))
    except Exception as error:  # TemplateSyntaxError, and what Python says of what Jinja made of it
        raise CheckpointError(failure(error)) from error


def _names(node: nodes.Node) -> Iterator[nodes.Name]:
    """The names below a node in the order in which they are read and set."""
    if isinstance(node, nodes.Name):
        yield node
    children = list(node.iter_child_nodes())
    if isinstance(node, nodes.Assign | nodes.AssignBlock | nodes.For):
        children.sort(key=lambda child: child is node.target)  # set after what it is made of
    for child in children:
        yield from _names(child)


def _is_given(name: str) -> bool:
    return name in GIVEN or name.endswith("_token")


def _no_constant(text: str) -> NoReturn:
    """Python reads `NaN` and `Infinity`, which JSON has not."""
    raise ValueError(text)
