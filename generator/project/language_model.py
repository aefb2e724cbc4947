"""What the materializations need to know of a model, beside its tables.

The model `forward_pass` bears it as `meta`: sizes, end tokens, and the chat template
taken apart, so that SQL can put a prompt into it.
"""

from __future__ import annotations

from typing import Any

from generator.errors import RelamaError
from generator.graph import Graph
from generator.runtime.tokenizer import ProjectTokenizer

#: What stands for the content of a message while the template is rendered, with white
#: space around it: a template that strips it says so.
_CONTENTS = {"system": "\ue000system\ue001", "user": "\ue000user\ue001"}

#: A piece of a rendered prompt: a token, or a text to be tokenized, of encoded texts and of
#: `{"content": role}`, which stands for a message.
Piece = int | list[str | dict[str, str]]


def language_model_settings(graph: Graph, tokenizer: ProjectTokenizer) -> dict[str, Any]:
    """Sizes, the head, end tokens, tokens that open a text, and the chat template's pieces."""
    head = graph.operators["logits"].weight
    assert head is not None
    config = graph.config
    return {
        "num_hidden_layers": config.num_hidden_layers,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "head": head,
        "head_storage": graph.weights[head].storage,
        "end_token_ids": sorted(tokenizer.end_token_ids),
        "first_token_ids": tokenizer.encode(""),
        "chat": _chat(tokenizer),
    }


def _chat(tokenizer: ProjectTokenizer) -> dict[str, Any] | None:
    """The prompt of a chat with and without a system message; None without a template.

    A template that takes no system message, or needs one, has only the other form.
    """
    if tokenizer.chat_template is None:
        return None
    forms: dict[str, Any] = {}
    for name, roles in (("user", ["user"]), ("system", ["system", "user"])):
        messages = [{"role": role, "content": f" {_CONTENTS[role]} "} for role in roles]
        try:
            text = tokenizer.render_chat(messages)
        except RelamaError:
            continue
        if any(text.count(_CONTENTS[role]) != 1 for role in roles):
            continue
        form = _form(tokenizer, text, roles)
        if _is_right(tokenizer, form, roles):
            forms[name] = form
    return forms or None


def _encoded(text: str) -> list[str]:
    """A text in hexadecimal digits, if it is not empty: what YAML holds, dbt renders."""
    return [f"utf8:{text.encode().hex()}"] if text else []


def _decoded(text: str) -> str:
    return bytes.fromhex(text.removeprefix("utf8:")).decode()


def _is_right(tokenizer: ProjectTokenizer, form: dict[str, Any], roles: list[str]) -> bool:
    """Whether pieces give the tokens that the whole prompt has."""
    messages = [{"role": role, "content": f"Say {role}."} for role in roles]
    ids: list[int] = []
    for piece in form["pieces"]:
        if isinstance(piece, int):
            ids.append(piece)
        else:
            texts = [_decoded(t) if isinstance(t, str) else f"Say {t['content']}." for t in piece]
            ids += tokenizer.encode("".join(texts), add_special_tokens=False)
    return ids == tokenizer.encode(tokenizer.render_chat(messages), add_special_tokens=False)


def _form(tokenizer: ProjectTokenizer, text: str, roles: list[str]) -> dict[str, Any]:
    """A rendered prompt in pieces, and whether the template strips messages."""
    trim = any(f" {_CONTENTS[role]} " not in text for role in roles)
    for role in roles:
        content = _CONTENTS[role]
        text = text.replace(content if trim else f" {content} ", content)
    pieces: list[Piece] = []
    for part in tokenizer.split_special(text):
        if isinstance(part, int):
            pieces.append(part)
            continue
        piece: list[str | dict[str, str]] = []
        rest = part
        for role in roles:
            before, found, after = rest.partition(_CONTENTS[role])
            if found:
                piece += [*_encoded(before), {"content": role}]
                rest = after
        if piece:
            pieces.append([*piece, *_encoded(rest)])
        else:
            pieces += tokenizer.encode(rest, add_special_tokens=False)
    return {"trim": trim, "pieces": pieces}
