"""The forward pass, from token ids to logits. Shapes: n tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from relama.checkpoint.base import FloatArray, Tensor
from relama.errors import InputError
from relama.reference.arithmetic import rms_norm, softcap
from relama.reference.attention import attention
from relama.reference.decoder import Decoder, Layer
from relama.reference.experts import gated_mlp, mixture
from relama.reference.families import decoder

#: Where the decoder stands in a checkpoint. Gemma 3 has it beside a model of images, in the
#: names of transformers 5 and in those of its files.
ROOTS = ("model", "model.language_model", "language_model.model")
HEADS = ("lm_head.weight", "language_model.lm_head.weight")


@dataclass
class Reference:
    """What one forward pass leaves behind.

    Attributes:
        hidden_states: the residual stream, `(n, hidden_size)` each: first the embedding, as it
            enters the first layer, then after every layer. None of them is normalised; the
            last of transformers' `hidden_states` is, and is `final_norm` here.
        final_norm: the last of them after `model.norm`, `(n, hidden_size)`.
        logits: `(n, vocab_size)`, or `(1, vocab_size)` where only the last
            position was asked for.
    """

    hidden_states: list[FloatArray]
    final_norm: FloatArray
    logits: FloatArray


def forward(
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    token_ids: Sequence[int],
    logits_for: Literal["all", "last"] = "last",
) -> Reference:
    """Runs `token_ids`, at positions 0 to n - 1, through the model, all at once.

    Computes what the `...ForCausalLM` of transformers computes in float32 for `model(input_ids)`
    without a cache. Where rotary embedding depends on the length of the sequence, that length
    is n (see `rotary.py`). Weights are read where they are used, so that one matrix is in
    memory at a time.

    Args:
        config: the fields of Hugging Face's `config.json`, as they are.
        tensors: by Hugging Face's names, `model.embed_tokens.weight` and so on.
        logits_for: the positions whose logits are computed.

    Raises:
        InputError: no tokens, or a token outside the vocabulary.
        UnsupportedError: a `model_type`, activation or `rope_type` that the oracle lacks.
        KeyError: a tensor or a field that the model calls for is not there.
    """
    model = decoder(config)
    root = next((root for root in ROOTS if f"{root}.norm.weight" in tensors), ROOTS[0])
    table = tensors[f"{root}.embed_tokens.weight"]
    x = embedding(model, table, token_ids)  # (n, hidden)
    hidden_states = [x]
    for number, layer in enumerate(model.layers):
        x = decoder_layer(model, layer, tensors, f"{root}.layers.{number}", x)
        hidden_states.append(x)

    final_norm = rms_norm(x, tensors[f"{root}.norm.weight"], model.rms_norm_eps, model.norm_offset)
    scored = final_norm if logits_for == "all" else final_norm[-1:]
    # The widest matrix of all: a block of its rows at a time.
    blocks = [scored @ rows.T for _, rows in output_head(model, tensors, table).blocks()]
    logits = np.concatenate(blocks, axis=1) / np.float32(model.logits_scaling)
    return Reference(hidden_states, final_norm, softcap(logits, model.final_logit_softcapping))


def greedy(
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    token_ids: Sequence[int],
    max_new_tokens: int,
) -> list[int]:
    """The most likely continuation, token by token; the lowest id wins a tie.

    Every token is a forward pass over all before it. Does not stop at an end-of-text token.
    Raises as `forward` does.
    """
    ids = list(token_ids)
    for _ in range(max_new_tokens):
        ids.append(int(forward(config, tensors, ids).logits[-1].argmax()))
    return ids[len(token_ids) :]


def embedding(model: Decoder, table: Tensor, token_ids: Sequence[int]) -> FloatArray:
    """One row of the table a token, times the embedding's multiplier: `(n, hidden_size)`."""
    if not token_ids:
        raise InputError("There are no tokens to run the model on; give at least one.")
    for token_id in token_ids:
        if not 0 <= token_id < model.vocab_size:
            raise InputError(
                f"Token id {token_id} is outside the vocabulary of {model.vocab_size} tokens."
            )
    rows = np.concatenate([table.read_rows(token_id, token_id + 1) for token_id in token_ids])
    return rows * np.float32(model.embedding_multiplier)


def decoder_layer(
    model: Decoder, layer: Layer, tensors: Mapping[str, Tensor], name: str, x: FloatArray
) -> FloatArray:
    """Attention and MLP, each added to the residual stream, `(n, hidden_size)`.

    A norm stands before each of the two (`pre`, Llama's way), after it (`post`, OLMo 2's), or
    at both places (`both`, Gemma's). `post_attention_layernorm` is Llama's name of the
    norm before the MLP, and the others' of that after attention.
    """

    def norm(x: FloatArray, which: str) -> FloatArray:
        weight = tensors[f"{name}.{which}.weight"]
        return rms_norm(x, weight, model.rms_norm_eps, model.norm_offset)

    residual = np.float32(model.residual_multiplier)
    before_mlp = {
        "pre": "post_attention_layernorm",
        "both": "pre_feedforward_layernorm",
        "post": None,
    }[model.norms]

    y = x if model.norms == "post" else norm(x, "input_layernorm")
    y = attention(model, layer, tensors, f"{name}.self_attn", y)
    x = x + residual * (y if model.norms == "pre" else norm(y, "post_attention_layernorm"))

    y = x if before_mlp is None else norm(x, before_mlp)
    if layer.experts is not None:
        y = mixture(model, layer.experts, tensors, f"{name}.{layer.experts.module}", y)
    else:
        y = gated_mlp(model, tensors, f"{name}.mlp", y, bias=model.mlp_bias)
    return x + residual * (y if model.norms == "pre" else norm(y, "post_feedforward_layernorm"))


def output_head(model: Decoder, tensors: Mapping[str, Tensor], table: Tensor) -> Tensor:
    """The matrix of the logits, `(vocab_size, hidden_size)`.

    As `tie_weights` of transformers has it: a head that is stored counts, whatever
    `tie_word_embeddings` says, and the embedding's table where there is none.
    """
    stored = next((tensors[name] for name in HEADS if name in tensors), None)
    if stored is None and not model.tie_word_embeddings:
        raise KeyError(HEADS[0])
    return table if stored is None else stored
