"""Renders a checkpoint's chat template to the text of a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from jinja2 import TemplateSyntaxError

from relama.errors import CheckpointError, InputError
from relama.runtime.chat_jinja import (
    Messages,
    RefusedError,
    compile_template,
    failure,
    render,
)


def render_chat_template(
    template: str | None,
    messages: Messages,
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
        compiled = compile_template(template, lambda pattern: datetime.now().strftime(pattern))
        return render(compiled, messages, special_tokens or {}, add_generation_prompt)
    except RefusedError as error:
        raise InputError(failure(error)) from error
    except TemplateSyntaxError as error:
        raise CheckpointError(failure(error)) from error
    except Exception as error:  # a template is a program of the checkpoint's: anything may fail
        raise CheckpointError(failure(error)) from error
