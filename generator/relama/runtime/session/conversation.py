"""Text in, text out: a prompt, or a conversation, with an engine of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from relama.project.manifest import Project
from relama.runtime.session.engines import Engine, open_engine
from relama.runtime.session.loop import Generation, Settings, generate
from relama.runtime.tokenizer import ProjectTokenizer

#: The sequence of the state that is continued.
SEQUENCE_ID = 0

OnText = Callable[[str], None]


def complete(
    project: Project,
    text: str,
    settings: Settings,
    *,
    chat: bool = False,
    system: str | None = None,
    template_args: Mapping[str, Any] | None = None,
    engine: str = "session",
    memory_limit: int | None = None,
    on_text: OnText = lambda text: None,
) -> Generation:
    """Continues a text, handing what is generated to `on_text` as it becomes certain.

    Args:
        chat: put the text into the model's chat template, as a user's message.
        system: a system message before it, which implies `chat`.
        template_args: arguments of the chat template, which imply `chat`.
        engine: `session` or `dbt`.
        memory_limit: bytes that this process may have in memory, engine `session`.

    Raises:
        ProjectError: the project is not built.
        InputError: the prompt is empty or too long, the limit too small, there is no chat
            template, or it refuses the messages or an argument.
    """
    tokenizer = ProjectTokenizer(project.directory)
    if chat or system is not None or template_args:
        messages = [*_opening(system), _message("user", text)]
        prompt_ids = tokenizer.encode_chat(messages, template_args)
    else:
        prompt_ids = tokenizer.encode(text)
    began = time.perf_counter()
    with open_engine(project, engine, memory_limit, sequence_id=SEQUENCE_ID) as opened:
        compile_s = time.perf_counter() - began
        generation = generate(project, opened, tokenizer, prompt_ids, settings, on_text)
    generation.compile_s = compile_s
    return generation


@dataclass
class Conversation:
    """Messages in turn; the KV cache is kept from one to the next.

    Attributes:
        messages: all so far, each with `role` and `content`. A reply stands there whole, thinking
            included: what of it is shown again is the template's to say.
        template_args: arguments of the chat template, the same for each turn.
        turns: what was generated for each of the user's.
    """

    project: Project
    settings: Settings
    tokenizer: ProjectTokenizer
    engine: Engine
    compile_s: float
    messages: list[dict[str, str]]
    template_args: Mapping[str, Any] | None = None
    turns: list[Generation] = field(default_factory=list)

    def answer(self, text: str, on_text: OnText = lambda text: None) -> Generation:
        """Answers a user's message. Raises `InputError` where the conversation is too long."""
        self.messages.append(_message("user", text))
        prompt_ids = self.tokenizer.encode_chat(self.messages, self.template_args)
        generation = generate(
            self.project, self.engine, self.tokenizer, prompt_ids, self.settings, on_text
        )
        generation.compile_s = self.compile_s
        self.messages.append(_message("assistant", generation.text))
        self.turns.append(generation)
        return generation

    def as_json(self) -> dict[str, Any]:
        """The object that `relama chat --json` prints."""
        return {"messages": self.messages, "turns": [turn.as_json() for turn in self.turns]}


@contextmanager
def conversation(
    project: Project,
    settings: Settings,
    *,
    system: str | None = None,
    template_args: Mapping[str, Any] | None = None,
    memory_limit: int | None = None,
) -> Iterator[Conversation]:
    """A conversation in a session, after a system message if there is one.

    Raises:
        ProjectError: the project is not built.
        InputError: there is no chat template, it refuses the system message or an argument, or
            the limit is too small.
        CheckpointError: the chat template is broken.
    """
    tokenizer = ProjectTokenizer(project.directory)
    messages = _opening(system)
    # A template that is absent, broken or refuses is reported before anyone types.
    tokenizer.render_chat([*messages, _message("user", "Hello")], template_args=template_args)
    began = time.perf_counter()
    with open_engine(project, "session", memory_limit, sequence_id=SEQUENCE_ID) as engine:
        compile_s = time.perf_counter() - began
        yield Conversation(project, settings, tokenizer, engine, compile_s, messages, template_args)


def _opening(system: str | None) -> list[dict[str, str]]:
    return [] if system is None else [_message("system", system)]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
