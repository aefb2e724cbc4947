"""Causal attention (arXiv 1706.03762, section 3.2), grouped or latent.

Shapes: n tokens, H query heads, G key/value heads, D = head_dim.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from relama.checkpoint.base import FloatArray, Tensor
from relama.reference.arithmetic import linear, log_softmax, rms_norm, softcap
from relama.reference.decoder import Decoder, Latent, Layer
from relama.reference.rotary import rotate

#: The norms of the latents take no eps of the config: `DeepseekV3RMSNorm(q_lora_rank)`.
LATENT_EPS = 1e-6


def attention(
    model: Decoder, layer: Layer, tensors: Mapping[str, Tensor], name: str, x: FloatArray
) -> FloatArray:
    """`x`, `(n, hidden_size)`, mixed over the positions that a layer sees; same shape."""
    if model.latent is not None:
        q, k, v = latent_heads(model, model.latent, layer, tensors, name, x)
    else:
        q, k, v = grouped_heads(model, layer, tensors, name, x)
    mixed = attend(q, k, v, model.attention_scale, layer.window, model.attn_logit_softcapping)
    return linear(_joined(mixed), tensors, f"{name}.o_proj", model.o_bias)


def grouped_heads(
    model: Decoder, layer: Layer, tensors: Mapping[str, Tensor], name: str, x: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Queries `(H, n, D)`, keys and values `(G, n, D)` of grouped queries (arXiv 2305.13245)."""
    heads, kv_heads, head_dim = (
        model.num_attention_heads,
        model.num_key_value_heads,
        model.head_dim,
    )
    if model.is_fused:
        qkv = linear(x, tensors, f"{name}.qkv_proj")
        q, k, v = np.split(qkv, [heads * head_dim, (heads + kv_heads) * head_dim], axis=-1)
    else:
        q = linear(x, tensors, f"{name}.q_proj", model.qkv_bias)
        k = linear(x, tensors, f"{name}.k_proj", model.qkv_bias)
        v = linear(x, tensors, f"{name}.v_proj", model.qkv_bias)
    q_norm, k_norm = f"{name}.q_norm.weight", f"{name}.k_norm.weight"
    eps, offset = model.rms_norm_eps, model.norm_offset
    if model.qk_norm == "vector":
        q, k = rms_norm(q, tensors[q_norm], eps, offset), rms_norm(k, tensors[k_norm], eps, offset)
    q, k, v = _heads(q, heads), _heads(k, kv_heads), _heads(v, kv_heads)
    if model.qk_norm == "head":
        q, k = rms_norm(q, tensors[q_norm], eps, offset), rms_norm(k, tensors[k_norm], eps, offset)
    if layer.rope is not None:
        q, k = rotate(q, layer.rope), rotate(k, layer.rope)
    return q, k, v


def latent_heads(
    model: Decoder,
    latent: Latent,
    layer: Layer,
    tensors: Mapping[str, Tensor],
    name: str,
    x: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

    Keys and values come from one short vector a token; the part of a key that knows its
    position is one for all heads.

    Returns: queries and keys `(H, n, qk_nope_head_dim + qk_rope_head_dim)`, values
        `(H, n, v_head_dim)`.
    """
    heads, nope = model.num_attention_heads, latent.qk_nope_head_dim
    bias = model.qkv_bias
    if latent.q_lora_rank is None:
        q = linear(x, tensors, f"{name}.q_proj")
    else:
        compressed = linear(x, tensors, f"{name}.q_a_proj", bias)  # (n, q_lora_rank)
        normed = rms_norm(compressed, tensors[f"{name}.q_a_layernorm.weight"], LATENT_EPS)
        q = linear(normed, tensors, f"{name}.q_b_proj")
    q = _heads(q, heads)  # (H, n, nope + rope)

    compressed = linear(x, tensors, f"{name}.kv_a_proj_with_mqa", bias)
    compressed, k_rope = np.split(compressed, [latent.kv_lora_rank], axis=-1)
    normed = rms_norm(compressed, tensors[f"{name}.kv_a_layernorm.weight"], LATENT_EPS)
    kv = _heads(linear(normed, tensors, f"{name}.kv_b_proj"), heads)  # (H, n, nope + v)
    k_nope, v = np.split(kv, [nope], axis=-1)

    assert layer.rope is not None
    q_rope = rotate(q[..., nope:], layer.rope, latent.rope_interleave)
    k_rope = rotate(k_rope[None], layer.rope, latent.rope_interleave)  # (1, n, rope)
    q = np.concatenate([q[..., :nope], q_rope], axis=-1)
    k = np.concatenate([k_nope, np.repeat(k_rope, heads, axis=0)], axis=-1)
    return q, k, v


def attend(
    q: FloatArray,
    k: FloatArray,
    v: FloatArray,
    scale: float,
    window: int | None = None,
    cap: float | None = None,
) -> FloatArray:
    """softmax(scale q k^T) v, each position over itself and those before it, `(H, n, D of v)`.

    Args:
        q: `(H, n, D)`; k, v: `(G, n, ...)`: H / G neighbouring query heads share one.
        window: how many positions are seen, the last of them one's own; None for all.
        cap: by which scores are capped before the softmax.
    """
    n, group = q.shape[1], len(q) // len(k)
    k, v = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)  # (H, n, ...)
    scores = softcap(q @ k.swapaxes(1, 2) * np.float32(scale), cap)  # (H, n, n)
    distance = np.arange(n)[:, None] - np.arange(n)  # of a key before its query
    hidden = distance < 0
    if window is not None:
        hidden |= distance >= window
    scores = np.where(hidden, np.float32(-np.inf), scores)
    weights = np.exp(log_softmax(scores)).astype(np.float32)  # rows add up to 1
    return weights @ v


def _heads(x: FloatArray, count: int) -> FloatArray:
    """`(n, count D)` to `(count, n, D)`."""
    return x.reshape(len(x), count, -1).swapaxes(0, 1)


def _joined(x: FloatArray) -> FloatArray:
    """`(count, n, D)` to `(n, count D)`."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)
