"""Hugging Face's `deepseek_v2`: DeepSeek-V2 and V2-Lite (`modeling_deepseek_v2.py`)."""

from __future__ import annotations

from typing import Any

from relama.architectures import latent_attention
from relama.architectures.base import Architecture, Config, check_activation
from relama.architectures.decoder import Decoder
from relama.config import ModelConfig
from relama.errors import UnsupportedError
from relama.graph import Graph

DEFAULTS: dict[str, Any] = {
    "first_k_dense_replace": 0,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "rope_interleave": True,
}


def decoder_fields(fields: Config) -> Config:
    """The config with the heads that attention has."""
    return latent_attention.with_heads({**DEFAULTS, **fields, "rope_interleave": True})


def build(config: ModelConfig, fields: Config) -> Graph:
    """`DeepseekV2ForCausalLM` (arXiv 2405.04434)."""
    check_activation(fields, "silu")
    if config.num_hidden_layers > int(fields["first_k_dense_replace"]):
        raise UnsupportedError(
            f"config.json: first_k_dense_replace is {fields['first_k_dense_replace']}, and "
            "mixtures of experts are not supported; supported: num_hidden_layers, which needs none."
        )
    latent = latent_attention.latent_attention(fields)
    scaling = latent_attention.attention_scale(config, fields, latent)
    config = latent_attention.with_turning_part(config, latent)
    bias = config.attention_bias
    decoder = Decoder(config)
    hidden = decoder.embedding()
    for _ in decoder.layers():
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        attended = latent_attention.attend(decoder, normed, latent, bias, scaling)
        hidden = decoder.linear(
            "o_proj", attended, "self_attn", config.hidden_size, bias, residual=hidden
        )
        normed = decoder.norm("mlp_norm", hidden, "post_attention_layernorm", "mlp")
        hidden = decoder.gated_mlp(normed, bias=config.mlp_bias, residual=hidden)
    return decoder.head(hidden)


ARCHITECTURE = Architecture(build, DEFAULTS, latent_attention.tensors, decoder_fields)
