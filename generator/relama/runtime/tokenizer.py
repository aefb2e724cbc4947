"""Text to token ids and back, from the `tokenizer/` folder of a generated project."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from relama.errors import InputError, ProjectError
from relama.runtime.chat_jinja import Messages
from relama.runtime.chat_template import render_chat_template, taken_arguments

if TYPE_CHECKING:  # A session reads no checkpoint, and needs no numpy.
    from relama.checkpoint.base import Checkpoint

#: What decoders print for bytes that are not, or not yet, a character.
REPLACEMENT = "\ufffd"


def write_tokenizer(checkpoint: Checkpoint, project_directory: Path) -> None:
    """Writes `tokenizer/` into a project, the same files whatever the checkpoint's format.

    The files bear Hugging Face's names; `chat_template.jinja` and
    `generation_config.json` are left out, and removed, where the checkpoint has none.

    Raises:
        CheckpointError: the checkpoint's tokenizer is absent or broken.
    """
    tokenizer = checkpoint.tokenizer()
    left_out = ("add_bos_token", "add_eos_token") if checkpoint.post_processor_decides else ()
    config = {k: v for k, v in checkpoint.tokenizer_config.items() if k not in left_out}
    generation = checkpoint.generation_config
    folder = project_directory / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": _json_text(config),
        "generation_config.json": _json_text(generation) if generation else None,
        "chat_template.jinja": checkpoint.chat_template,
    }
    for name, text in texts.items():
        if text is None:
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).write_text(text, encoding="utf-8", newline="\n")


class ProjectTokenizer:
    """The tokenizer of a generated dbt project.

    Attributes:
        vocab_size: one more than the largest id, added tokens included. A checkpoint may
            have more rows of embeddings than that, and ids below it that are no tokens;
            such ids decode to nothing.
        end_token_ids: tokens that end a text: `eos_token_id` of
            `generation_config.json`, else `eos_token` of `tokenizer_config.json`. (The
            reader of the checkpoint has put there what `config.json` says.)
        bos_token_id: the token that begins a text, or None.
        opening_ids, closing_ids: what `encode` puts before and after a text.
        chat_template: the Jinja source, or None.
    """

    vocab_size: int
    end_token_ids: frozenset[int]
    bos_token_id: int | None
    opening_ids: list[int]
    closing_ids: list[int]
    chat_template: str | None

    def __init__(self, project_directory: Path) -> None:
        """Reads `tokenizer/` of a project.

        Raises:
            ProjectError: a file of the folder is missing, broken or inconsistent.
        """
        self._folder = project_directory / "tokenizer"
        path = self._folder / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ProjectError(
                f"{path} is missing; {project_directory} is not a project that relama wrote"
            ) from error
        except Exception as error:  # tokenizers raises a bare Exception
            raise ProjectError(f"{path} is not a tokenizer that can be read: {error}") from error
        # A checkpoint may carry the lengths it was trained with; prompts keep their own.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._config = _read_json(self._folder / "tokenizer_config.json")
        template = self._folder / "chat_template.jinja"
        self.chat_template = template.read_text(encoding="utf-8") if template.exists() else None
        self.vocab_size = 1 + max(self._tokenizer.get_vocab().values(), default=-1)
        self.end_token_ids = self._end_token_ids()
        self.bos_token_id = self._config_token_id("bos_token")
        self.opening_ids, self.closing_ids = self._around()

    @property
    def definition(self) -> dict[str, Any]:
        """The content of `tokenizer.json`, as the tokenizers library writes it."""
        definition: dict[str, Any] = json.loads(self._tokenizer.to_str())
        return definition

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`; special tokens that are written in it are recognised.

        With `add_special_tokens`, the post-processor of `tokenizer.json` adds its
        tokens, as in transformers. Where it adds no BOS token but
        `tokenizer_config.json` says `add_bos_token: true` (many GGUF files have the
        flag and no post-processor), BOS is put first. A text that begins with BOS
        already, as many chat templates do, gets no second one.
        """
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not add_special_tokens:
            return ids
        opening = self.opening_ids
        if opening == [self.bos_token_id] == ids[:1]:
            opening = []
        return [*opening, *ids, *self.closing_ids]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of `ids`. Ids beyond the vocabulary decode to nothing."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def token(self, token_id: int) -> str:
        """One token for display: the text it adds within a text, leading space included.

        A token that is not whole characters, such as one byte of an emoji, is shown
        as its piece in the vocabulary. An id between tokens that is none itself adds no text.

        Raises:
            InputError: the id is below 0, or above that of every token.
        """
        if not 0 <= token_id < self.vocab_size:
            raise InputError(
                f"token id {token_id} is not in the vocabulary of {self.vocab_size} tokens"
            )
        piece = self._tokenizer.id_to_token(token_id)
        if piece is None:
            return ""
        # The second of two: decoders may strip the space of the first token of a text.
        once = self.decode([token_id], skip_special_tokens=False)
        text = self.decode([token_id, token_id], skip_special_tokens=False)[len(once) :]
        return piece if REPLACEMENT in text or not text else text

    def render_chat(
        self,
        messages: Messages,
        add_generation_prompt: bool = True,
        template_args: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt of a chat, special tokens included: see `encode_chat`.

        Raises:
            InputError: the model has no chat template, or it refuses the messages or an argument.
            CheckpointError: the template is broken.
        """
        return render_chat_template(
            self.chat_template,
            messages,
            add_generation_prompt=add_generation_prompt,
            special_tokens=self.special_tokens,
            template_args=template_args,
        )

    def encode_chat(
        self, messages: Messages, template_args: Mapping[str, Any] | None = None
    ) -> list[int]:
        """Token ids of the prompt of a chat, to which none are added, as in transformers.

        Raises:
            InputError, CheckpointError: see `render_chat`.
        """
        rendered = self.render_chat(messages, template_args=template_args)
        return self.encode(rendered, add_special_tokens=False)

    @property
    def template_args(self) -> list[str]:
        """Names of the arguments that the chat template takes.

        Raises:
            CheckpointError: the template is broken.
        """
        return taken_arguments(self.chat_template or "")

    @property
    def special_tokens(self) -> dict[str, str]:
        """`bos_token`, `eos_token`, ...: what a chat template has as variables."""
        return {
            key: value
            for key, value in self._config.items()
            if key.endswith("_token") and isinstance(value, str)
        }

    def stream(self, prompt_ids: Sequence[int] = ()) -> TextStream:
        """A stream of the text that follows `prompt_ids`; see `TextStream`."""
        return TextStream(self._tokenizer, prompt_ids)

    def _around(self) -> tuple[list[int], list[int]]:
        """What is put before and after a text, by the post-processor or `add_bos_token`."""
        opening: list[int] = []
        closing: list[int] = []
        for text in ("a", "0", ".", self._tokenizer.id_to_token(0) or ""):
            encoding = self._tokenizer.encode(text)
            added = encoding.special_tokens_mask
            if 0 in added:
                opening = encoding.ids[: added.index(0)]
                closing = encoding.ids[len(added) - added[::-1].index(0) :]
                break
        bos = self.bos_token_id
        if self._config.get("add_bos_token") is True and bos is not None and opening[:1] != [bos]:
            opening = [bos, *opening]
        return opening, closing

    def _end_token_ids(self) -> frozenset[int]:
        path = self._folder / "generation_config.json"
        value = _read_json(path).get("eos_token_id") if path.exists() else None
        if value is None:
            token_id = self._config_token_id("eos_token")
            return frozenset() if token_id is None else frozenset({token_id})
        ids = value if isinstance(value, list) else [value]
        if not all(type(token_id) is int for token_id in ids):
            raise ProjectError(
                f"{path}: eos_token_id is {json.dumps(value)}; "
                "it should be a token id or a list of them"
            )
        return frozenset(ids)

    def _config_token_id(self, key: str) -> int | None:
        token = self._config.get(key)
        if token is None:
            return None
        token_id = self._tokenizer.token_to_id(token) if isinstance(token, str) else None
        if token_id is None:
            raise ProjectError(
                f"{self._folder / 'tokenizer_config.json'}: {key} is {json.dumps(token)}, "
                "which is not a token of tokenizer.json"
            )
        return token_id


class TextStream:
    """Turns token ids, one at a time, into the text that they make certain.

    All pieces and the flush, joined, are `decode(prompt_ids + ids)` without its
    first `len(decode(prompt_ids))` characters, special tokens skipped. So the
    space of a SentencePiece token is stripped where the text begins, not where
    the prompt ends.

    Text is held back while it may still change: an incomplete UTF-8 sequence, and
    a run of byte tokens such as `<0xF0>`, all of which a `ByteFallback` decoder
    replaces if any makes the run invalid. What was printed last is decoded again
    as the context of what follows, as in vLLM's `detokenize_incrementally`; so a
    push costs the same however long the text is.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._special = {token_id for token_id, token in added.items() if token.special}
        self._context = list(prompt_ids)
        self._pending: list[int] = []

    def push(self, token_id: int) -> str:
        """Takes the next token and returns the text that is certain now, often of that token."""
        piece = self._tokenizer.id_to_token(token_id)
        if piece is None or token_id in self._special:
            return ""
        self._pending.append(token_id)
        is_byte = len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")
        text = self._pending_text()
        if is_byte or not text or text.endswith(REPLACEMENT):
            return ""
        self._context, self._pending = self._pending, []
        return text

    def flush(self) -> str:
        """The text still held back, when no more tokens come."""
        text = self._pending_text()
        self._context, self._pending = self._context + self._pending, []
        return text

    def _pending_text(self) -> str:
        before = self._tokenizer.decode(self._context)
        return self._tokenizer.decode(self._context + self._pending)[len(before) :]


def _json_text(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProjectError(f"{path} is missing; generate the project again") from error
    except ValueError as error:
        raise ProjectError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ProjectError(f"{path} should hold a JSON object")
    return fields
