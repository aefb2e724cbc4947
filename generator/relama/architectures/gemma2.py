"""Hugging Face's `gemma2`: Gemma 2 (`modeling_gemma2.py`)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from relama.architectures.base import (
    Architecture,
    Config,
    check_activation,
    layer_types,
    with_added_ones,
)
from relama.architectures.decoder import Decoder
from relama.checkpoint.base import Tensor
from relama.config import ModelConfig, number, positive
from relama.graph import Graph
from relama.operators import Geglu

DEFAULTS = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "num_hidden_layers": 26,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "max_position_embeddings": 8192,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "tie_word_embeddings": True,
}


def tensors(fields: Config, stored: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Norms with their weight as it is multiplied, 1 + w (`Gemma2RMSNorm`)."""
    return with_added_ones(stored)


def build(config: ModelConfig, fields: Config) -> Graph:
    """`Gemma2ForCausalLM` (arXiv 2408.00118): norms at four places, soft caps, local layers."""
    check_activation(fields, "gelu_pytorch_tanh", "hidden_activation")
    types = layer_types(config, fields, lambda layer: layer % 2 == 0)
    window = positive(fields, "sliding_window")
    attention_cap, final_cap = (
        None if fields[key] is None else number(fields, key)
        for key in ("attn_logit_softcapping", "final_logit_softcapping")
    )
    decoder = Decoder(config)
    hidden = decoder.embedding(embedding_multiplier(config))
    for layer in decoder.layers():
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        query, key, value = decoder.projections(normed, config.attention_bias)
        attended = decoder.attention(
            query,
            key,
            value,
            scaling=number(fields, "query_pre_attn_scalar") ** -0.5,
            softcap=attention_cap,
            sliding_window=window if types[layer] == "sliding_attention" else None,
        )
        hidden = behind_attention(decoder, attended, hidden)
    return decoder.head(hidden, softcap=final_cap)


def embedding_multiplier(config: ModelConfig) -> float:
    """The square root of the width, rounded to float32 as the embedding is."""
    return float(np.float32(math.sqrt(config.hidden_size)))


def behind_attention(decoder: Decoder, attended: str, hidden: str) -> str:
    """What follows attention in a layer: its linear layer, the MLP, and norms about both."""
    config = decoder.config
    output = decoder.linear(
        "o_proj", attended, "self_attn", config.hidden_size, config.attention_bias
    )
    output = decoder.norm("post_attention_norm", output, "post_attention_layernorm", "attention")
    hidden = decoder.residual("attention_residual", output, hidden)
    normed = decoder.norm("mlp_norm", hidden, "pre_feedforward_layernorm", "mlp")
    output = decoder.gated_mlp(normed, Geglu)
    output = decoder.norm("post_mlp_norm", output, "post_feedforward_layernorm", "mlp")
    return decoder.residual("mlp_residual", output, hidden)


ARCHITECTURE = Architecture(build, DEFAULTS, tensors)
