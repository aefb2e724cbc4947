"""The loop: prompt in, token after token out, until something ends it."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from relama.errors import InputError, ProjectError
from relama.project.manifest import Project
from relama.runtime.session.engines import Engine
from relama.runtime.session.stopping import StopTexts
from relama.runtime.tokenizer import ProjectTokenizer
from relama.sampling import check_sampling


@dataclass(frozen=True)
class Settings:
    """How to generate, under the names that transformers' `generate` uses.

    Attributes:
        max_new_tokens: at most so many tokens are generated.
        temperature, top_k, top_p, seed: see the macro `sample`.
        stop: texts that end the generation and are not part of it.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    stop: Sequence[str] = ()

    def check(self) -> None:
        """Raises `InputError` where a setting is out of range."""
        if self.max_new_tokens < 1:
            raise InputError(f"max-tokens must be at least 1, not {self.max_new_tokens}.")
        check_sampling(self.temperature, self.top_k, self.top_p, self.seed)


@dataclass
class Generation:
    """What was generated.

    Attributes:
        prompt_ids: the tokens of the prompt.
        ids: the generated tokens, with the end token where one was produced.
        text: the generated text, without special tokens and stop text.
        finish_reason: `stop` (end token or stop text) or `length`.
        prefill_s: seconds until the first token.
        decode_s: seconds of each token after the first.
        compile_s: seconds until the engine was open.
    """

    prompt_ids: list[int]
    ids: list[int] = field(default_factory=list)
    text: str = ""
    finish_reason: str = "length"
    prefill_s: float = 0.0
    decode_s: list[float] = field(default_factory=list)
    compile_s: float = 0.0

    @property
    def seconds_per_token(self) -> float | None:
        """Of the tokens after the first; None without any."""
        return sum(self.decode_s) / len(self.decode_s) if self.decode_s else None

    def as_json(self) -> dict[str, Any]:
        """The object that `relama generate --json` prints."""
        per_token = self.seconds_per_token
        return {
            "prompt_ids": self.prompt_ids,
            "ids": self.ids,
            "text": self.text,
            "finish_reason": self.finish_reason,
            "timings": {
                "compile_s": round(self.compile_s, 4),
                "prefill_s": round(self.prefill_s, 4),
                "decode_s_per_token": None if per_token is None else round(per_token, 4),
                "tokens_per_s": None if not per_token else round(1 / per_token, 3),
            },
        }


def generate(
    project: Project,
    engine: Engine,
    tokenizer: ProjectTokenizer,
    prompt_ids: Sequence[int],
    settings: Settings,
    on_text: Callable[[str], None] = lambda text: None,
) -> Generation:
    """Continues a prompt, handing text to `on_text` as it becomes certain.

    Raises:
        InputError: the prompt is empty or too long, or a setting is out of range.
    """
    settings.check()
    stops = StopTexts(settings.stop)
    generation = Generation(list(prompt_ids))
    stream = tokenizer.stream(prompt_ids)
    pieces: list[str] = []

    def emit(text: str) -> None:
        if text:
            pieces.append(text)
            on_text(text)

    engine.start(prompt_ids, (settings.temperature, settings.top_k, settings.top_p, settings.seed))
    room = project.config.max_position_embeddings - len(prompt_ids)
    # The last token that fits the context still predicts one more.
    for _ in range(min(settings.max_new_tokens, room + 1)):
        began = time.perf_counter()
        token_id = engine.step()
        seconds = time.perf_counter() - began
        if generation.ids:
            generation.decode_s.append(seconds)
        else:
            generation.prefill_s = seconds
        generation.ids.append(token_id)
        if token_id in tokenizer.end_token_ids:
            generation.finish_reason = "stop"
            break
        emit(stops.push(stream.push(token_id)))
        if stops.stopped:
            generation.finish_reason = "stop"
            break
    if not stops.stopped:
        emit(stops.push(stream.flush()))
    emit(stops.flush())
    if stops.stopped:
        generation.finish_reason = "stop"
    generation.text = "".join(pieces)
    return generation


def chosen_settings(project: Project, options: Mapping[str, Any]) -> Settings:
    """The project's settings with the options that are given in their place, checked.

    Args:
        options: fields of `Settings`; None is not given.

    Raises:
        ProjectError, InputError: see `default_settings` and `Settings.check`.
    """
    given = {name: value for name, value in options.items() if value is not None}
    settings = replace(default_settings(project.directory), **given)
    settings.check()
    return settings


def default_settings(directory: Path) -> Settings:
    """The settings of the project's `seeds/sampling.csv`. Raises `ProjectError` if unreadable."""
    path = directory / "seeds" / "sampling.csv"
    try:
        with path.open(newline="") as file:
            (row,) = csv.DictReader(file)
        return Settings(
            temperature=float(row["temperature"]),
            top_k=int(row["top_k"]),
            top_p=float(row["top_p"]),
            seed=int(row["seed"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise ProjectError(
            f"{path} must hold one row of numbers under temperature,top_k,top_p,seed."
        ) from None
