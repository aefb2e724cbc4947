"""What the materializations need to know of a model, beside its tables.

The model `forward_pass` bears it as `meta`: sizes, what the tokenizer puts around a text,
end tokens, and the chat template.
"""

from __future__ import annotations

from typing import Any

from relama.errors import CheckpointError
from relama.graph import Graph
from relama.operators import Logits
from relama.project.render import encoded
from relama.runtime.tokenizer import ProjectTokenizer


def language_model_settings(graph: Graph, tokenizer: ProjectTokenizer) -> dict[str, Any]:
    """Sizes, the head, tokens that open, close and end a text, and the chat template."""
    logits = graph.operators["logits"]
    head = logits.weight
    assert head is not None and isinstance(logits.computes, Logits)
    config = graph.config
    # Without it, what answers were made of has the digest that it always had.
    context = config.original_context
    return {
        **({"original_max_position_embeddings": context} if context else {}),
        "num_hidden_layers": config.num_hidden_layers,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "head": head,
        "head_storage": graph.weights[head].storage,
        "logits_multiplier": logits.computes.multiplier,
        "logits_softcap": logits.computes.softcap,
        "end_token_ids": sorted(tokenizer.end_token_ids),
        "opening_ids": tokenizer.opening_ids,
        "closing_ids": tokenizer.closing_ids,
        "bos_token_id": tokenizer.bos_token_id,
        "chat": _chat(tokenizer),
    }


def _chat(tokenizer: ProjectTokenizer) -> dict[str, Any] | None:
    """The chat template, the special tokens that are its variables, and the arguments it takes.

    None without a template.
    """
    if tokenizer.chat_template is None:
        return None
    special_tokens = tokenizer.special_tokens
    return {
        "template": encoded(tokenizer.chat_template),
        "template_args": _template_args(tokenizer),
        "special_tokens": {name: encoded(token) for name, token in special_tokens.items()},
    }


def _template_args(tokenizer: ProjectTokenizer) -> list[str]:
    """The arguments that the chat template takes: none where it is broken, see the warnings."""
    try:
        return tokenizer.template_args
    except CheckpointError:
        return []
