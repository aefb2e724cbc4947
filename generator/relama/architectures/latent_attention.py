"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1; `DeepseekV3Attention`).

Keys and values of all heads are made of one short vector a token, the latent. A part of the keys is
turned by its position, and is one for all heads. Both are cached as any other keys and values are,
by head; the matrices are read in the order that this needs:

| tensor | how it is read |
|---|---|
| `q_proj`, `q_b_proj` | the elements of each head such that pairs i and i + head_dim / 2 turn |
| `kv_a_proj_with_mqa` | `kv_a_proj`, the latent, and `k_rope_proj`, what all heads share |
| `kv_b_proj` | the keys of all heads before their values |

Heads have one width in all of relama, that of queries and keys. Values are narrower: `kv_b_proj`
has rows of zeros behind those of each head, and `o_proj` as many columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from relama.architectures.base import Config, Tensors, chosen_columns, chosen_rows
from relama.architectures.decoder import Decoder
from relama.checkpoint.base import Tensor
from relama.config import ModelConfig, flag, number, partial_rotary_factor, positive
from relama.errors import CheckpointError, UnsupportedError

#: Of the norms of latents, whatever the config says: `DeepseekV3RMSNorm(q_lora_rank)`.
LATENT_EPS = 1e-6

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class LatentAttention:
    """The widths of latent attention, under the names of the config.

    `q_lora_rank` is `None` where queries are projected at once (DeepSeek-V2-Lite), and
    `rope_interleave` says that the pairs of rotary embedding are neighbours.
    """

    num_heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    rope_interleave: bool

    @property
    def head_dim(self) -> int:
        """The width of queries and keys."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def own_width(self) -> int:
        """How many elements the heads' own parts of the keys have together."""
        return self.num_heads * self.qk_nope_head_dim


def latent_attention(fields: Config) -> LatentAttention:
    """Reads the widths. Raises `CheckpointError` or `UnsupportedError`, which name the field."""
    rank = fields["q_lora_rank"]
    latent = LatentAttention(
        num_heads=positive(fields, "num_attention_heads"),
        q_lora_rank=None if rank is None else positive(fields, "q_lora_rank"),
        kv_lora_rank=positive(fields, "kv_lora_rank"),
        qk_nope_head_dim=positive(fields, "qk_nope_head_dim"),
        qk_rope_head_dim=positive(fields, "qk_rope_head_dim"),
        v_head_dim=positive(fields, "v_head_dim"),
        rope_interleave=flag(fields, "rope_interleave"),
    )
    for key in ("qk_nope_head_dim", "qk_rope_head_dim"):
        if positive(fields, key) % 2:
            raise UnsupportedError(
                f"config.json: {key} is {fields[key]}, and an odd one is not supported; "
                "supported: even numbers."
            )
    if latent.v_head_dim > latent.head_dim:
        raise UnsupportedError(
            f"config.json: v_head_dim is {latent.v_head_dim}, which is not supported; supported: "
            f"up to qk_nope_head_dim + qk_rope_head_dim, {latent.head_dim}."
        )
    return latent


def with_heads(fields: Config) -> Config:
    """The config with the heads that attention has, whatever it calls the width of one.

    DeepSeek's `head_dim` is the part of a head that turns.
    """
    latent = latent_attention(fields)
    return {**fields, "head_dim": latent.head_dim, "num_key_value_heads": latent.num_heads}


def with_turning_part(config: ModelConfig, latent: LatentAttention) -> ModelConfig:
    """The same, rotary embedding turning `qk_rope_head_dim` of each head."""
    factor = partial_rotary_factor(latent.qk_rope_head_dim, latent.head_dim)
    return replace(config, rope=replace(config.rope, partial_rotary_factor=factor))


def tensors(fields: Config, stored: Tensors) -> Tensors:
    """The matrices of attention as they are read, see above; the others as they are."""
    latent = latent_attention(fields)
    found: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        _check_shape(latent, name, tensor)
        if name.endswith((".q_proj.weight", ".q_b_proj.weight")):
            found[name] = chosen_rows(name, tensor, _by_head(latent, _query_order(latent)))
        elif ".kv_a_proj_with_mqa." in name:
            parts = _latent_rows(latent)
            for part, rows in zip(("kv_a_proj", "k_rope_proj"), parts, strict=True):
                own = name.replace("kv_a_proj_with_mqa", part)
                found[own] = chosen_rows(own, tensor, rows)
        elif name.endswith(".kv_b_proj.weight"):
            found[name] = chosen_rows(name, tensor, _key_value_rows(latent))
        elif name.endswith(".o_proj.weight"):
            found[name] = chosen_columns(name, tensor, _value_columns(latent))
        else:
            found[name] = tensor
    return found


def attend(
    decoder: Decoder, hidden: str, latent: LatentAttention, bias: bool, scaling: float
) -> str:
    """Latent attention up to the values of all heads, without `o_proj`.

    Args:
        bias: whether the matrices that give latents have one; the others have none.
        scaling: what `query . key` is multiplied by.
    """
    width = latent.num_heads * latent.head_dim
    if latent.q_lora_rank is None:
        query = decoder.linear("q_proj", hidden, "self_attn", width)
    else:
        query = decoder.linear("q_a_proj", hidden, "self_attn", latent.q_lora_rank, bias)
        query = _norm(decoder, "q_a", query)
        query = decoder.linear("q_b_proj", query, "self_attn", width)
    compressed = decoder.linear("kv_a_proj", hidden, "self_attn", latent.kv_lora_rank, bias)
    compressed = _norm(decoder, "kv_a", compressed)
    key_values = decoder.linear("kv_b_proj", compressed, "self_attn", latent.own_width + width)
    shared = decoder.linear("k_rope_proj", hidden, "self_attn", latent.qk_rope_head_dim, bias)
    key = decoder.shared_key(key_values, shared)
    return decoder.attention(query, key, key_values, scaling=scaling, value_offset=latent.own_width)


def attention_scale(config: ModelConfig, fields: Config, latent: LatentAttention) -> float:
    """`1 / sqrt(head_dim)`; YaRN's `mscale_all_dim` multiplies it (`yarn_apply_mscale`)."""
    scaling = fields.get("rope_scaling") or fields.get("rope_parameters") or {}
    scale = 1 / math.sqrt(latent.head_dim)
    rope = config.rope
    if rope.rope_type != "default" and scaling.get("mscale_all_dim") and rope.factor > 1:
        scale *= (1 + 0.1 * number(scaling, "mscale_all_dim") * math.log(rope.factor)) ** 2
    return scale


def _norm(decoder: Decoder, name: str, hidden: str) -> str:
    module = f"self_attn.{name}_layernorm"
    return decoder.norm(f"{name}_norm", hidden, module, "attention", eps=LATENT_EPS)


def _check_shape(latent: LatentAttention, name: str, tensor: Tensor) -> None:
    """Raises `CheckpointError` where rows or columns that are put in order are not all there."""
    heads, values = latent.num_heads, latent.num_heads * latent.v_head_dim
    expected = {
        "q_proj": (0, heads * latent.head_dim),
        "q_b_proj": (0, heads * latent.head_dim),
        "kv_a_proj_with_mqa": (0, latent.kv_lora_rank + latent.qk_rope_head_dim),
        "kv_b_proj": (0, latent.own_width + values),
        "o_proj": (-1, values),
    }
    module, kind = name.split(".")[-2:]
    if module not in expected or (module == "o_proj" and kind == "bias"):
        return
    axis, length = expected[module]
    if tensor.shape[axis] != length:
        what = "columns" if axis else "rows"
        raise CheckpointError(
            f"The tensor '{name}' has shape {tensor.shape}, expected {length} {what}."
        )


def _query_order(latent: LatentAttention) -> Indices:
    """Where each element of a head of ours stands in one of the checkpoint's.

    Half of what turns and half of what does not, and the other halves.
    """
    first, second = _turning_halves(latent, latent.qk_nope_head_dim)
    own = np.arange(latent.qk_nope_head_dim)
    half = latent.qk_nope_head_dim // 2
    return np.concatenate([first, own[:half], second, own[half:]])


def _turning_halves(latent: LatentAttention, start: int) -> tuple[Indices, Indices]:
    """The first elements of the pairs that turn, and the second, counted from `start`."""
    turning = np.arange(start, start + latent.qk_rope_head_dim)
    if latent.rope_interleave:
        return turning[0::2], turning[1::2]
    half = len(turning) // 2
    return turning[:half], turning[half:]


def _latent_rows(latent: LatentAttention) -> tuple[Indices, Indices]:
    """The rows of `kv_a_proj_with_mqa` that give the latent, and those that all heads share."""
    shared = np.concatenate(_turning_halves(latent, latent.kv_lora_rank))
    return np.arange(latent.kv_lora_rank), shared


def _key_value_rows(latent: LatentAttention) -> Indices:
    """The rows of `kv_b_proj` that give keys, and then values; -1 for a row of zeros."""
    width = latent.qk_nope_head_dim + latent.v_head_dim
    rows = np.arange(latent.num_heads * width).reshape(latent.num_heads, width)
    keys, values = np.split(rows, [latent.qk_nope_head_dim], axis=1)
    return np.concatenate([keys.ravel(), _widened(latent, values)])


def _value_columns(latent: LatentAttention) -> Indices:
    """The columns of `o_proj`; -1 for one of zeros."""
    columns = np.arange(latent.num_heads * latent.v_head_dim).reshape(latent.num_heads, -1)
    return _widened(latent, columns)


def _widened(latent: LatentAttention, values: Indices) -> Indices:
    """Values by head, `(num_heads, v_head_dim)`, as heads of the width of keys; -1 behind them."""
    width = latent.head_dim - latent.v_head_dim
    return np.pad(values, ((0, 0), (0, width)), constant_values=-1).ravel()


def _by_head(latent: LatentAttention, order: Indices) -> Indices:
    """An order of a head's elements, for all heads."""
    starts = np.arange(latent.num_heads)[:, None] * latent.head_dim
    return (starts + order).ravel()
