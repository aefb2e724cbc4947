"""Hugging Face's `phi3`: Phi-3, Phi-3.5 and Phi-4-mini (`modeling_phi3.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from relama.architectures import mistral
from relama.architectures.base import Architecture, Config, chosen_rows
from relama.checkpoint.base import Tensor
from relama.config import ModelConfig, model_config
from relama.errors import CheckpointError
from relama.graph import Graph
from relama.rope import turned_order

DEFAULTS = {
    "sliding_window": None,
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
}


def decoder_fields(fields: Config) -> Config:
    """The config with `longrope` under its name: older files say `su` or `yarn` (`Phi3Config`)."""
    for dialect in ("rope_scaling", "rope_parameters"):
        rope = fields.get(dialect)
        if isinstance(rope, Mapping) and rope.get("rope_type", rope.get("type")) in ("su", "yarn"):
            return {**fields, dialect: {**rope, "rope_type": "longrope"}}
    return fields


def tensors(fields: Config, stored: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """`qkv_proj` and `gate_up_proj` taken apart, the heads of queries and keys in our order."""
    config = model_config(fields, partial_rotary=True)
    head_dim = config.head_dim
    order = np.array(turned_order(config.rope, head_dim))
    found: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if name.endswith(".qkv_proj.weight"):
            start = 0
            for part, heads in (
                ("q_proj", config.num_attention_heads),
                ("k_proj", config.num_key_value_heads),
                ("v_proj", config.num_key_value_heads),
            ):
                rows = np.arange(start, start + heads * head_dim)
                if part != "v_proj":
                    rows = rows.reshape(heads, head_dim)[:, order].reshape(-1)
                found |= _part(name, "qkv_proj", part, tensor, rows)
                start += heads * head_dim
            _check_rows(tensor, start)
        elif name.endswith(".gate_up_proj.weight"):
            size = config.intermediate_size
            found |= _part(name, "gate_up_proj", "gate_proj", tensor, np.arange(size))
            found |= _part(name, "gate_up_proj", "up_proj", tensor, np.arange(size, 2 * size))
            _check_rows(tensor, 2 * size)
        else:
            found[name] = tensor
    return found


def build(config: ModelConfig, fields: Config) -> Graph:
    """`Phi3ForCausalLM` (arXiv 2404.14219): a Mistral whose matrices are stored fused."""
    return mistral.build(replace(config, attention_bias=False), fields)


def _part(name: str, fused: str, part: str, tensor: Tensor, rows: np.ndarray) -> dict[str, Tensor]:
    own = name.replace(fused, part)
    return {own: chosen_rows(own, tensor, rows)}


def _check_rows(tensor: Tensor, rows: int) -> None:
    if tensor.shape[0] != rows:
        raise CheckpointError(
            f"The tensor '{tensor.name}' has shape {tensor.shape}, expected {rows} rows."
        )


ARCHITECTURE = Architecture(build, DEFAULTS, tensors, decoder_fields, partial_rotary=True)
