"""Hugging Face's `qwen2_moe`: Qwen1.5-MoE and Qwen2-57B-A14B (`modeling_qwen2_moe.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from relama.architectures import qwen2
from relama.architectures.base import Architecture, Config, check_activation
from relama.architectures.decoder import Decoder
from relama.architectures.experts import experts_of, stacked_experts
from relama.checkpoint.base import Tensor
from relama.config import ModelConfig, flag, positive
from relama.errors import CheckpointError
from relama.graph import Graph

DEFAULTS = {
    **qwen2.DEFAULTS,
    "num_key_value_heads": 16,
    "qkv_bias": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "num_experts": 60,
    "num_experts_per_tok": 4,
    "moe_intermediate_size": 1408,
    "shared_expert_intermediate_size": 5632,
    "norm_topk_prob": False,
}


def tensors(fields: Config, stored: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The experts of a layer one below the other."""
    return stacked_experts(stored, positive(fields, "num_experts"))


def build(config: ModelConfig, fields: Config) -> Graph:
    """`Qwen2MoeForCausalLM` (arXiv 2407.10671): experts beside one that all tokens share."""
    check_activation(fields, "silu")
    experts = experts_of(fields)
    shared = positive(fields, "shared_expert_intermediate_size")
    decoder = Decoder(config)
    first = fields["max_window_layers"]
    windows = qwen2.sliding_windows(config, fields, lambda layer: layer % 2 == 0 and layer < first)
    hidden = decoder.embedding()
    for layer in decoder.layers():
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        query, key, value = decoder.projections(normed, flag(fields, "qkv_bias"))
        attended = decoder.attention(query, key, value, sliding_window=windows[layer])
        hidden = decoder.linear(
            "o_proj", attended, "self_attn", config.hidden_size, residual=hidden
        )
        normed = decoder.norm("mlp_norm", hidden, "post_attention_layernorm", "mlp")
        if is_sparse(fields, layer):
            given = decoder.gated_mlp(normed, size=shared, module="shared_expert")
            gate = decoder.linear("shared_expert_gate", normed, "mlp", 1)
            hidden = decoder.residual("mlp_residual", given, hidden, gate=gate)
            hidden = decoder.mixture(normed, experts, residual=hidden)
        else:
            hidden = decoder.gated_mlp(normed, residual=hidden)
    return decoder.head(hidden)


def is_sparse(fields: Config, layer: int) -> bool:
    """Whether a layer has experts.

    Raises:
        CheckpointError: `mlp_only_layers` is no list.
    """
    dense = fields["mlp_only_layers"] or []
    if not isinstance(dense, list):
        raise CheckpointError("config.json: mlp_only_layers must be a list of layers.")
    return layer not in dense and (layer + 1) % positive(fields, "decoder_sparse_step") == 0


ARCHITECTURE = Architecture(build, DEFAULTS, tensors)
