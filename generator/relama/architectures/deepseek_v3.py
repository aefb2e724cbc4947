"""Hugging Face's `deepseek_v3`: DeepSeek-V3 and R1 (`modeling_deepseek_v3.py`)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from relama.architectures import deepseek_v2, latent_attention
from relama.architectures.base import Architecture, Config, Tensors, as_row
from relama.architectures.experts import experts_of
from relama.config import ModelConfig, number
from relama.graph import Graph

DEFAULTS: dict[str, Any] = {
    **deepseek_v2.DEFAULTS,
    "first_k_dense_replace": 3,
    "max_position_embeddings": 4096,
    "moe_intermediate_size": 2048,
    "n_group": 8,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_experts_per_tok": 8,
    "rope_interleave": True,
    "routed_scaling_factor": 2.5,
    "topk_group": 4,
}


#: It has a table of its own beside that of the router's matrix, `mlp.gate.weight`.
_CORRECTION = re.compile(r"mlp\.gate\.(e_score_correction_bias)$")


def decoder_fields(fields: Config) -> Config:
    """The config with the heads that attention has."""
    return latent_attention.with_heads({**DEFAULTS, **fields})


def tensors(fields: Config, stored: Tensors) -> Tensors:
    """As for DeepSeek-V2, without the layers that predict tokens after the next."""
    ahead = _ahead(fields, stored)
    kept = {name: tensor for name, tensor in stored.items() if name not in ahead}
    named = {
        own: as_row(own, tensor) if own != name else tensor
        for name, tensor in kept.items()
        for own in (_CORRECTION.sub(r"mlp.\1.weight", name),)
    }
    return deepseek_v2.tensors(fields, named)


def left_out(fields: Config, stored: Tensors) -> list[str]:
    """A sentence where the checkpoint has layers for tokens after the next."""
    if not _ahead(fields, stored):
        return []
    return [
        "The layers that predict tokens after the next (num_nextn_predict_layers) are left out."
    ]


def build(config: ModelConfig, fields: Config) -> Graph:
    """`DeepseekV3ForCausalLM` (arXiv 2412.19437): a correction takes part in choosing experts."""
    experts = experts_of(fields, "n_routed_experts")
    routing = {
        "scaling": number(fields, "routed_scaling_factor"),
        "scoring_func": "sigmoid",
        "group_score_of": 2,
        **deepseek_v2.groups(fields, experts),
    }
    experts = replace(experts, routing=routing, has_correction=True)
    return deepseek_v2.of_latents(replace(config, mlp_bias=False), fields, experts)


def _ahead(fields: Config, stored: Tensors) -> set[str]:
    """The tensors of `num_nextn_predict_layers` layers, behind those of the model."""
    first, count = (fields.get(k) or 0 for k in ("num_hidden_layers", "num_nextn_predict_layers"))
    prefixes = tuple(f"model.layers.{first + i}." for i in range(count))
    return {name for name in stored if name.startswith(prefixes)}


ARCHITECTURE = Architecture(build, DEFAULTS, tensors, decoder_fields, left_out)
