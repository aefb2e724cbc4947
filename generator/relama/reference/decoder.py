"""A decoder of any family in one form: what the passes read in the place of a config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relama.reference.rotary import Rope


@dataclass(frozen=True)
class Experts:
    """A mixture of experts in the place of an MLP; fields without a comment are the config's.

    Attributes:
        module: its name in a layer.
        names: of the matrices of gate, up and down of an expert.
        scoring: how the router's logits become scores.
        norm_topk_prob: whether the weights of the chosen experts add up to 1.
        topk_group: how many of `n_group` groups experts are chosen from; None without groups.
        group_score_of: how many of its best experts a group is judged by.
        has_correction_bias: whether `e_score_correction_bias` takes part in the choice.
        shared: the name of the expert that every token goes through.
        is_shared_gated: whether a sigmoid of the token weighs that expert.
    """

    num_experts_per_tok: int
    module: str = "mlp"
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")
    scoring: Literal["softmax", "sigmoid"] = "softmax"
    norm_topk_prob: bool = False
    routed_scaling_factor: float = 1.0
    n_group: int = 1
    topk_group: int | None = None
    group_score_of: int = 1
    has_correction_bias: bool = False
    shared: str | None = None
    is_shared_gated: bool = False


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention of DeepSeek; the fields are the config's.

    `q_lora_rank` is None where queries are projected at once, and `rope_interleave` says that the
    pairs of rotary embedding are neighbours.
    """

    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    rope_interleave: bool


@dataclass(frozen=True)
class Layer:
    """What may differ from layer to layer.

    Attributes:
        rope: transformers' `rope_parameters`, see `rotary.py`; None where nothing turns.
        window: how many positions attention sees, the last of them its own; None for all.
        experts: None for a plain MLP.
    """

    rope: Rope | None
    window: int | None = None
    experts: Experts | None = None


@dataclass(frozen=True)
class Decoder:
    """A decoder of any family, with the defaults that make it a Llama.

    Attributes:
        attention_scale: what queries times keys are multiplied by.
        qkv_bias, o_bias, mlp_bias: whether these linear layers have a bias. Those of experts
            that a router chooses have none.
        norms: where they stand about attention and MLP, see `decoder_layer`.
        norm_offset: what is added to the weight of every norm.
        qk_norm: whether queries and keys are normalised, each head or the whole vector.
        is_fused: whether Q, K and V are one matrix, and gate and up another.
    """

    vocab_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    activation: str
    tie_word_embeddings: bool
    attention_scale: float
    layers: tuple[Layer, ...]
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    is_fused: bool = False
    norms: Literal["pre", "post", "both"] = "pre"
    norm_offset: float = 0.0
    qk_norm: Literal["head", "vector"] | None = None
    embedding_multiplier: float = 1.0
    residual_multiplier: float = 1.0
    logits_scaling: float = 1.0
    attn_logit_softcapping: float | None = None
    final_logit_softcapping: float | None = None
    latent: Latent | None = None
