"""Hugging Face's `mixtral`: Mixtral 8x7B and 8x22B (`modeling_mixtral.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from relama.architectures import mistral
from relama.architectures.base import Architecture, Config, check_activation
from relama.architectures.decoder import Decoder
from relama.architectures.experts import counted_experts, experts_of, stacked_experts
from relama.checkpoint.base import Tensor
from relama.config import ModelConfig, positive
from relama.graph import Graph

DEFAULTS = {
    **mistral.DEFAULTS,
    "sliding_window": None,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
    "num_experts_per_tok": 2,
    "num_experts": 8,
}


def tensors(fields: Config, stored: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The experts of a layer one below the other."""
    experts = positive(fields, "num_experts")
    return stacked_experts(stored, experts, "block_sparse_moe", ("w1", "w3", "w2"))


def build(config: ModelConfig, fields: Config) -> Graph:
    """`MixtralForCausalLM` (arXiv 2401.04088): a Mistral with experts in every layer."""
    check_activation(fields, "silu")
    window = fields["sliding_window"] and positive(fields, "sliding_window")
    expert = {"moe_intermediate_size": config.intermediate_size, "norm_topk_prob": True}
    experts = experts_of({**fields, **expert})
    decoder = Decoder(config)
    hidden = decoder.embedding()
    for _ in decoder.layers():
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        attended = decoder.attention(*decoder.projections(normed), sliding_window=window)
        hidden = decoder.linear(
            "o_proj", attended, "self_attn", config.hidden_size, residual=hidden
        )
        normed = decoder.norm("mlp_norm", hidden, "post_attention_layernorm", "mlp")
        hidden = decoder.mixture(normed, experts, residual=hidden)
    return decoder.head(hidden)


ARCHITECTURE = Architecture(build, DEFAULTS, tensors, counted_experts)
