"""Hugging Face's `deepseek_v3`: DeepSeek-V3 and R1 (`modeling_deepseek_v3.py`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from relama.architectures import deepseek_v2, latent_attention
from relama.architectures.base import Architecture, Config
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


def build(config: ModelConfig, fields: Config) -> Graph:
    """`DeepseekV3ForCausalLM` (arXiv 2412.19437)."""
    return deepseek_v2.build(replace(config, mlp_bias=False), fields)


ARCHITECTURE = Architecture(build, DEFAULTS, latent_attention.tensors, decoder_fields)
