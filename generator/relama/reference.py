"""The oracle: one plain forward pass of a Llama decoder in numpy, without a cache.

It is written from the papers and shares no arithmetic with the SQL macros or
with `generator/relama/rope.py`, so that it can disagree with them. Everything is
recomputed for every call: slow, and easy to read from top to bottom.

Shapes: n tokens, H query heads, G key/value heads, D = head_dim.
Arithmetic is float32; means, softmax and SiLU go through float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from relama.checkpoint.base import FloatArray, Tensor
from relama.config import ModelConfig, RopeParameters
from relama.errors import InputError


@dataclass
class Reference:
    """What one forward pass leaves behind.

    Attributes:
        hidden_states: the residual stream, `(n, hidden_size)` each: first the
            embedding, then after every layer. None of them is normalised.
        final_norm: the last of them after `model.norm`, `(n, hidden_size)`.
        logits: `(n, vocab_size)`, or `(1, vocab_size)` where only the last
            position was asked for.
    """

    hidden_states: list[FloatArray]
    final_norm: FloatArray
    logits: FloatArray


def forward(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    token_ids: Sequence[int],
    logits_for: Literal["all", "last"] = "last",
) -> Reference:
    """Runs `token_ids`, at positions 0 to n - 1, through the model.

    Computes what `LlamaForCausalLM` of transformers computes. Weights are read
    where they are used, so that one matrix is in memory at a time.

    Args:
        tensors: by Hugging Face's names, `model.embed_tokens.weight` and so on.
        logits_for: the positions whose logits are computed.

    Raises:
        InputError: no tokens, or a token outside the vocabulary.
        KeyError: a tensor that `config` calls for is not there.
    """
    x = embedding(config, tensors["model.embed_tokens.weight"], token_ids)  # (n, hidden)
    hidden_states = [x]
    for layer in range(config.num_hidden_layers):
        name = f"model.layers.{layer}"
        norm = tensors[f"{name}.input_layernorm.weight"]
        normed = rms_norm(x, norm, config.rms_norm_eps)
        x = x + attention(config, tensors, f"{name}.self_attn", normed)
        normed = rms_norm(
            x, tensors[f"{name}.post_attention_layernorm.weight"], config.rms_norm_eps
        )
        x = x + swiglu(config, tensors, f"{name}.mlp", normed)
        hidden_states.append(x)

    final_norm = rms_norm(x, tensors["model.norm.weight"], config.rms_norm_eps)
    head = "model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"
    scored = final_norm if logits_for == "all" else final_norm[-1:]
    # The widest matrix of all: a block of its rows at a time.
    logits = [scored @ rows.T for _, rows in tensors[head].blocks()]
    return Reference(hidden_states, final_norm, np.concatenate(logits, axis=1))


def greedy(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    token_ids: Sequence[int],
    max_new_tokens: int,
) -> list[int]:
    """The most likely continuation, token by token; the lowest id wins a tie.

    Does not stop at an end-of-text token. Raises as `forward` does.
    """
    ids = list(token_ids)
    for _ in range(max_new_tokens):
        ids.append(int(forward(config, tensors, ids).logits[-1].argmax()))
    return ids[len(token_ids) :]


def log_softmax(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Logarithm of the probabilities over the last axis, in float64; same shape."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    log_probabilities: npt.NDArray[np.float64] = shifted - np.log(
        np.exp(shifted).sum(axis=-1, keepdims=True)
    )
    return log_probabilities


def embedding(config: ModelConfig, weight: Tensor, token_ids: Sequence[int]) -> FloatArray:
    """One row of `weight` a token: `(n, hidden_size)`."""
    if not token_ids:
        raise InputError("There are no tokens to run the model on; give at least one.")
    for token_id in token_ids:
        if not 0 <= token_id < config.vocab_size:
            raise InputError(
                f"Token id {token_id} is outside the vocabulary of {config.vocab_size} tokens."
            )
    return np.concatenate([weight.read_rows(token_id, token_id + 1) for token_id in token_ids])


def rms_norm(x: FloatArray, weight: Tensor, eps: float) -> FloatArray:
    """RMSNorm (arXiv 1910.07467, equation 4): x / sqrt(mean(x^2) + eps) * weight."""
    mean_square = np.square(x, dtype=np.float64).mean(axis=-1, keepdims=True)  # (n, 1)
    normed: FloatArray = (x / np.sqrt(mean_square + eps)).astype(np.float32)
    return normed * weight.read()


def linear(x: FloatArray, tensors: Mapping[str, Tensor], name: str, bias: bool) -> FloatArray:
    """x W^T + b: `(n, in_features)` to `(n, out_features)`."""
    y: FloatArray = x @ tensors[f"{name}.weight"].read().T
    if bias:
        y = y + tensors[f"{name}.bias"].read()
    return y


def attention(
    config: ModelConfig, tensors: Mapping[str, Tensor], name: str, x: FloatArray
) -> FloatArray:
    """Causal attention (arXiv 1706.03762, section 3.2) with grouped queries (arXiv 2305.13245)."""
    n, head_dim = len(x), config.head_dim
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads

    def project(projection: str, count: int) -> FloatArray:
        y = linear(x, tensors, f"{name}.{projection}", config.attention_bias)
        return y.reshape(n, count, head_dim).swapaxes(0, 1)  # (count, n, D)

    q = rotate(project("q_proj", heads), config.rope)  # (H, n, D)
    k = rotate(project("k_proj", kv_heads), config.rope)  # (G, n, D)
    v = project("v_proj", kv_heads)  # (G, n, D)
    # H / G neighbouring query heads share a key/value head.
    k = np.repeat(k, heads // kv_heads, axis=0)  # (H, n, D)
    v = np.repeat(v, heads // kv_heads, axis=0)  # (H, n, D)

    scores = q @ k.swapaxes(1, 2) / np.float32(math.sqrt(head_dim))  # (H, n, n)
    future = np.triu(np.ones((n, n), dtype=bool), k=1)
    scores = np.where(future, np.float32(-np.inf), scores)
    weights = np.exp(log_softmax(scores)).astype(np.float32)  # rows add up to 1
    mixed = (weights @ v).swapaxes(0, 1).reshape(n, heads * head_dim)
    return linear(mixed, tensors, f"{name}.o_proj", config.attention_bias)


def rotate(x: FloatArray, rope: RopeParameters) -> FloatArray:
    """Rotary embedding (arXiv 2104.09864, equation 34) of `x`, `(heads, n, D)`.

    Positions are 0 to n - 1; the pairs are those of `rotate_half` in
    transformers, element i with i + D/2. This repeats what `generator/relama/rope.py`
    does, and is meant to: an oracle that borrowed its table could not find a
    mistake in it.
    """
    n, head_dim = x.shape[1:]
    frequencies = np.array(
        [_frequency(rope, pair, head_dim) for pair in range(head_dim // 2)], dtype=np.float32
    )
    # Angles are float32, as in transformers.
    angles = np.arange(n, dtype=np.float32)[:, None] * frequencies  # (n, D/2)
    angles = np.concatenate([angles, angles], axis=1)  # (n, D)
    first, second = np.split(x, 2, axis=-1)
    rotated_half = np.concatenate([-second, first], axis=-1)
    rotated: FloatArray = x * np.cos(angles) + rotated_half * np.sin(angles)
    return rotated


def _frequency(rope: RopeParameters, pair: int, head_dim: int) -> float:
    """Radians a position of one pair; `llama3` as in Meta's `apply_scaling` (llama-models)."""
    frequency: float = 1.0 / rope.rope_theta ** (2 * pair / head_dim)
    if rope.rope_type == "linear":
        return frequency / rope.factor
    if rope.rope_type == "llama3":
        wavelength = 2 * math.pi / frequency  # positions a turn
        context = rope.original_max_position_embeddings
        low, high = rope.low_freq_factor, rope.high_freq_factor
        if wavelength > context / low:
            return frequency / rope.factor
        if wavelength >= context / high:
            smooth = (context / wavelength - low) / (high - low)
            return (1 - smooth) * frequency / rope.factor + smooth * frequency
    return frequency


def swiglu(
    config: ModelConfig, tensors: Mapping[str, Tensor], name: str, x: FloatArray
) -> FloatArray:
    """SwiGLU (arXiv 2002.05202, equation 6): down(silu(gate(x)) * up(x)), `(n, hidden_size)`."""
    gate = linear(x, tensors, f"{name}.gate_proj", config.mlp_bias)  # (n, intermediate)
    up = linear(x, tensors, f"{name}.up_proj", config.mlp_bias)  # (n, intermediate)
    silu = (gate / (1.0 + np.exp(-gate.astype(np.float64)))).astype(np.float32)
    return linear(silu * up, tensors, f"{name}.down_proj", config.mlp_bias)
