"""Hugging Face's `deepseek_v3`: DeepSeek-V3 and R1 (`modeling_deepseek_v3.py`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from relama.architectures import deepseek_v2, latent_attention
from relama.architectures.base import Architecture, Config, Tensors
from relama.config import ModelConfig
from relama.graph import Graph

DEFAULTS: dict[str, Any] = {
    **deepseek_v2.DEFAULTS,
    "first_k_dense_replace": 3,
    "max_position_embeddings": 4096,
}


def decoder_fields(fields: Config) -> Config:
    """The config with the heads that attention has."""
    return latent_attention.with_heads({**DEFAULTS, **fields})


def tensors(fields: Config, stored: Tensors) -> Tensors:
    """As for DeepSeek-V2, without the layers that predict tokens after the next."""
    ahead = _ahead(fields, stored)
    kept = {name: tensor for name, tensor in stored.items() if name not in ahead}
    return latent_attention.tensors(fields, kept)


def left_out(fields: Config, stored: Tensors) -> list[str]:
    """A sentence where the checkpoint has layers for tokens after the next."""
    if not _ahead(fields, stored):
        return []
    return [
        "The layers that predict tokens after the next (num_nextn_predict_layers) are left out."
    ]


def build(config: ModelConfig, fields: Config) -> Graph:
    """`DeepseekV3ForCausalLM` (arXiv 2412.19437)."""
    return deepseek_v2.build(replace(config, mlp_bias=False), fields)


def _ahead(fields: Config, stored: Tensors) -> set[str]:
    """The tensors of `num_nextn_predict_layers` layers, behind those of the model."""
    first, count = (fields.get(k) or 0 for k in ("num_hidden_layers", "num_nextn_predict_layers"))
    prefixes = tuple(f"model.layers.{first + i}." for i in range(count))
    return {name for name in stored if name.startswith(prefixes)}


ARCHITECTURE = Architecture(build, DEFAULTS, tensors, decoder_fields, left_out)
