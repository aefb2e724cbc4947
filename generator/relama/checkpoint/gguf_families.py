"""The architectures of GGUF files that are read: names of tensors, and fields of the config.

What a file of each holds is what llama.cpp's converter writes (`conversion/` in llama.cpp, a
module for each family); how it is meant, what `src/models/` there does with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relama.checkpoint.gguf_settings import Settings, shortest
from relama.config import partial_rotary_factor
from relama.errors import CheckpointError

#: Hugging Face's names for GGUF's outside of the layers.
MODEL_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}

#: And those within `blk.N`, part by part.
_ATTENTION = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
_MLP = {
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NORMS_BEFORE = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
_NORMS_BEHIND = {
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_NORMS_ABOUT = {
    **_NORMS_BEHIND,
    "attn_norm": "input_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
}
_NORMS_OF_HEADS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_EXPERTS = {
    "ffn_gate": "mlp.experts.{}.gate_proj",
    "ffn_up": "mlp.experts.{}.up_proj",
    "ffn_down": "mlp.experts.{}.down_proj",
}
_EXPERTS_OF_MIXTRAL = {
    "ffn_gate": "block_sparse_moe.experts.{}.w1",
    "ffn_up": "block_sparse_moe.experts.{}.w3",
    "ffn_down": "block_sparse_moe.experts.{}.w2",
}
_ROUTER = {"ffn_gate_inp": "mlp.gate"}
_SHARED_EXPERT = {
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
    "ffn_up_shexp": "mlp.shared_expert.up_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj",
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
}
_LATENT_ATTENTION = {
    "attn_q": "self_attn.q_proj",
    "attn_q_a": "self_attn.q_a_proj",
    "attn_q_a_norm": "self_attn.q_a_layernorm",
    "attn_q_b": "self_attn.q_b_proj",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
    "attn_kv_a_norm": "self_attn.kv_a_layernorm",
    "attn_kv_b": "self_attn.kv_b_proj",
    "attn_k_b": "self_attn.k_b_proj",
    "attn_v_b": "self_attn.v_b_proj",
    "attn_output": "self_attn.o_proj",
}
_ROUTER_OF_DEEPSEEK = {
    **_ROUTER,
    "exp_probs_b.bias": "mlp.gate.e_score_correction_bias",
    "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
    "ffn_up_shexp": "mlp.shared_experts.up_proj",
    "ffn_down_shexp": "mlp.shared_experts.down_proj",
}
_FUSED = {
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_up": "mlp.gate_up_proj",
    "ffn_down": "mlp.down_proj",
}

_SILU = {"hidden_act": "silu"}
_GELU = {"hidden_activation": "gelu_pytorch_tanh"}

Fields = Callable[[Settings, Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """How files of one architecture are read, with Llama's ways where nothing is said.

    Attributes:
        model_type: Hugging Face's.
        layer_names: Hugging Face's names of the modules of a layer by GGUF's; of a whole tensor
            where that has a suffix.
        expert_names: and those of an expert, with its number left open.
        with_experts: how files are read that have experts, where those without are another family.
        activation: the field that names it in the config.
        interleaved: whether the converter puts rows of Q and K that turn together side by side.
        norm_offset: what the converter adds to the weights of norms.
        biased: the modules of attention that have a bias where any of them has.
        has_latents: whether attention is latent, so that heads have three widths.
        turns_in_part: whether `rope.dimension_count` may be less than the width of a head.
        reads: settings that `fields` reads, and that would have to be neutral without it.
        neutral: the values that leave everything as it is, of settings beside the common ones.
        fields: what the config has beside the fields of all, from the settings and those fields.
    """

    model_type: str
    layer_names: Mapping[str, str] = field(
        default_factory=lambda: _NORMS_BEFORE | _ATTENTION | _MLP
    )
    expert_names: Mapping[str, str] = field(default_factory=dict)
    with_experts: Family | None = None
    activation: Mapping[str, str] = field(default_factory=lambda: _SILU)
    interleaved: bool = False
    norm_offset: int = 0
    biased: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    has_latents: bool = False
    turns_in_part: bool = False
    reads: tuple[str, ...] = ()
    neutral: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    fields: Fields = lambda settings, config: {}


def _qwen(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """No file says which layers have a window, and llama.cpp has none for Qwen."""
    return {"use_sliding_window": False}


def _mixtral(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """Mixtral: `feed_forward_length` is the width of an expert."""
    experts, chosen = _expert_counts(settings)
    return {"num_local_experts": experts, "num_experts_per_tok": chosen}


def _qwen_moe(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """Experts in every layer. Whether their weights sum to 1 no file says: llama.cpp has it in
    its code, for Qwen3 that they do and for Qwen2 that they do not.
    """
    experts, chosen = _expert_counts(settings)
    size = config["intermediate_size"]
    return _qwen(settings, config) | {
        "num_experts": experts,
        "num_experts_per_tok": chosen,
        "moe_intermediate_size": _or_default(
            settings, "expert_feed_forward_length", max(1, size // chosen)
        ),
        "norm_topk_prob": config["model_type"] == "qwen3_moe",
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }


def _qwen2_moe(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """Beside the experts one that all tokens share; biases of Q, K and V or none."""
    return _qwen_moe(settings, config) | {
        "shared_expert_intermediate_size": _or_default(
            settings, "expert_shared_feed_forward_length", config["intermediate_size"]
        ),
        "qkv_bias": config["attention_bias"],
    }


def _deepseek2(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """DeepSeek-V3 where scores are sigmoids, V2 where they are a softmax or nothing is said.

    The part of a head that turns is `rope.dimension_count`. The first files say the widths of
    heads themselves, others those of the latents and, with `_mla`, of the heads. A file that says
    nothing of groups of experts has none, as for llama.cpp; V2's are judged by their best expert.
    """
    experts, chosen = _expert_counts(settings)
    scoring = settings.get("expert_gating_func", 0)
    if scoring not in (0, 1, 2):
        raise settings.refuse("expert_gating_func", "1 and 2")
    is_v3 = scoring == 2
    if not is_v3 and settings.get("expert_weights_norm", False) is not False:
        raise settings.refuse("expert_weights_norm", "False where expert_gating_func is not 2")
    whole = settings.integer("attention.key_length")
    whole = _or_default(settings, "attention.key_length_mla", whole)
    value = settings.integer("attention.value_length")
    turning = config["head_dim"]
    if whole <= turning:
        raise CheckpointError(
            f"{settings.key('rope.dimension_count')} ({turning}) must be less than the width of a "
            f"head ({whole})."
        )
    groups = _or_default(settings, "expert_group_count", 1)
    rope = config["rope_scaling"]
    mscale = settings.number("rope.scaling.yarn_log_multiplier", default=0.0) / 0.1
    if rope and mscale:
        rope = rope | {"mscale": shortest(mscale), "mscale_all_dim": shortest(mscale)}
    return {
        "model_type": "deepseek_v3" if is_v3 else "deepseek_v2",
        "num_key_value_heads": config["num_attention_heads"],
        "q_lora_rank": _or_default(settings, "attention.q_lora_rank", 0) or None,
        "kv_lora_rank": settings.integer("attention.kv_lora_rank"),
        "qk_nope_head_dim": whole - turning,
        "qk_rope_head_dim": turning,
        "v_head_dim": _or_default(settings, "attention.value_length_mla", value),
        "rope_scaling": rope,
        "first_k_dense_replace": _or_default(settings, "leading_dense_block_count", 0),
        "n_routed_experts": experts,
        "num_experts_per_tok": chosen,
        "n_shared_experts": settings.integer("expert_shared_count"),
        "moe_intermediate_size": settings.integer("expert_feed_forward_length"),
        "norm_topk_prob": settings.get("expert_weights_norm", False),
        "routed_scaling_factor": settings.number("expert_weights_scale", default=0.0) or 1.0,
        "n_group": groups,
        "topk_group": settings.integer("expert_group_used_count") if groups > 1 else 1,
        "topk_method": "group_limited_greedy" if groups > 1 else "greedy",
    }


def _expert_counts(settings: Settings) -> tuple[int, int]:
    """How many experts a layer has, and to how many of them a token is sent."""
    experts = settings.integer("expert_count")
    chosen = settings.integer("expert_used_count")
    if chosen > experts:
        raise CheckpointError(
            f"{settings.key('expert_used_count')} ({chosen}) must be at most "
            f"{settings.key('expert_count')} ({experts})."
        )
    return experts, chosen


def _or_default(settings: Settings, name: str, default: int) -> int:
    """A whole number; 0 is as if it were absent."""
    return settings.integer(name) if settings.get(name, 0) != 0 else default


def _phi3(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """A window of 0 is none (Phi-4). The part of a head that turns is stored as a width."""
    head_dim, context = config["head_dim"], config["max_position_embeddings"]
    width = settings.integer("rope.dimension_count", default=head_dim)
    return {
        "partial_rotary_factor": partial_rotary_factor(width, head_dim),
        "sliding_window": _window(settings),
        "original_max_position_embeddings": settings.integer(
            "rope.scaling.original_context_length", default=context
        ),
    }


def _gemma2(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """Gemma 2: windows in every other layer, two soft caps."""
    if settings.number("rope.freq_base_swa", default=config["rope_theta"]) != config["rope_theta"]:
        raise settings.refuse("rope.freq_base_swa", f"{config['rope_theta']}, as everywhere")
    return {
        "query_pre_attn_scalar": _query_pre_attn_scalar(settings, config, layers_of_27b=46),
        "sliding_window": _window(settings, default=4096),
        "layer_types": _layer_types(settings, config, period=2),
        "attn_logit_softcapping": settings.number("attn_logit_softcapping", default=50.0),
        "final_logit_softcapping": settings.number("final_logit_softcapping", default=30.0),
    }


def _gemma3(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """Gemma 3: windows in five of six layers, which turn by a smaller base."""
    window = _window(settings)
    period = 6 if window else 1
    return {
        "query_pre_attn_scalar": _query_pre_attn_scalar(settings, config, layers_of_27b=62),
        "rope_local_base_freq": settings.number("rope.freq_base_swa", default=10000.0),
        "layer_types": _layer_types(settings, config, period),
        "final_logit_softcapping": settings.number("final_logit_softcapping", default=0.0) or None,
    } | ({"sliding_window": window} if window else {})


def _granite(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """Granite's multipliers; what is absent or 0 means for llama.cpp what other models do."""
    own_scale = config["head_dim"] ** -0.5
    return {
        "attention_multiplier": settings.number("attention.scale", default=0.0) or own_scale,
        "embedding_multiplier": settings.number("embedding_scale", default=0.0) or 1.0,
        "residual_multiplier": settings.number("residual_scale", default=0.0) or 1.0,
        "logits_scaling": settings.number("logit_scale", default=1.0),
    }


def _smollm3(settings: Settings, config: Mapping[str, Any]) -> dict[str, Any]:
    """Every fourth layer turns nothing: no file says so, llama.cpp has it in its code."""
    return {"no_rope_layer_interval": 4}


def _query_pre_attn_scalar(
    settings: Settings, config: Mapping[str, Any], layers_of_27b: int
) -> float:
    """By the root of which Gemma divides scores.

    The converter does not store it, and llama.cpp tells the model of 27 billion by its layers.
    """
    scale = settings.number("attention.scale", default=0.0)
    if scale:
        return scale**-2
    if config["num_hidden_layers"] == layers_of_27b:
        width: int = config["hidden_size"] // config["num_attention_heads"]
        return width
    head_dim: int = config["head_dim"]
    return head_dim


def _window(settings: Settings, default: int = 0) -> int | None:
    """`attention.sliding_window`; 0 is none."""
    name = "attention.sliding_window"
    return settings.integer(name) if settings.get(name, default) != 0 else None


def _layer_types(settings: Settings, config: Mapping[str, Any], period: int) -> list[str]:
    """Hugging Face's type of each layer.

    Args:
        period: of so many layers the last has no window, where the file does not say.
    """
    name, layers = "attention.sliding_window_pattern", config["num_hidden_layers"]
    slides = settings.get(name)
    if isinstance(slides, list):
        if len(slides) != layers:
            raise CheckpointError(
                f"{settings.key(name)} has {len(slides)} values for {layers} layers; "
                "their numbers must be equal."
            )
    else:
        period = settings.integer(name, default=period)
        slides = [(layer + 1) % period != 0 for layer in range(layers)]
    return ["sliding_attention" if slide else "full_attention" for slide in slides]


_EXPERTS_READS = ("expert_count", "expert_used_count")
_QWEN_MOE_READS = (*_EXPERTS_READS, "expert_feed_forward_length")
_DEEPSEEK_READS = (
    *_QWEN_MOE_READS,
    "attention.key_length_mla",
    "attention.kv_lora_rank",
    "attention.q_lora_rank",
    "attention.value_length_mla",
    "expert_gating_func",
    "expert_group_count",
    "expert_group_used_count",
    "expert_shared_count",
    "expert_weights_norm",
    "expert_weights_scale",
    "leading_dense_block_count",
    "rope.scaling.yarn_log_multiplier",
)
_GEMMA_READS = (
    "attention.scale",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "final_logit_softcapping",
    "rope.freq_base_swa",
)
_GEMMA_NEUTRAL: dict[str, tuple[object, ...]] = {
    "hidden_activation": ("gelu", "gelu_pytorch_tanh"),
}

_MIXTRAL = Family(
    "mixtral",
    layer_names=_NORMS_BEFORE | _ATTENTION | {"ffn_gate_inp": "block_sparse_moe.gate"},
    expert_names=_EXPERTS_OF_MIXTRAL,
    interleaved=True,
    reads=_EXPERTS_READS,
    fields=_mixtral,
)

#: By `general.architecture`. Files of Mistral and of Mixtral are of architecture `llama`.
FAMILIES: dict[str, Family] = {
    "llama": Family("llama", with_experts=_MIXTRAL, interleaved=True),
    "qwen2": Family("qwen2", biased=("q_proj", "k_proj", "v_proj"), fields=_qwen),
    "qwen3": Family(
        "qwen3",
        layer_names=_NORMS_BEFORE | _NORMS_OF_HEADS | _ATTENTION | _MLP,
        fields=_qwen,
    ),
    "qwen2moe": Family(
        "qwen2_moe",
        layer_names=_NORMS_BEFORE | _ATTENTION | _ROUTER | _SHARED_EXPERT,
        expert_names=_EXPERTS,
        biased=("q_proj", "k_proj", "v_proj"),
        reads=(*_QWEN_MOE_READS, "expert_shared_feed_forward_length"),
        neutral={"expert_weights_norm": (False,)},
        fields=_qwen2_moe,
    ),
    "qwen3moe": Family(
        "qwen3_moe",
        layer_names=_NORMS_BEFORE | _NORMS_OF_HEADS | _ATTENTION | _ROUTER,
        expert_names=_EXPERTS,
        reads=_QWEN_MOE_READS,
        fields=_qwen_moe,
    ),
    "deepseek2": Family(
        "deepseek_v3",
        layer_names=_NORMS_BEFORE | _LATENT_ATTENTION | _MLP | _ROUTER_OF_DEEPSEEK,
        expert_names=_EXPERTS,
        has_latents=True,
        reads=_DEEPSEEK_READS,
        fields=_deepseek2,
    ),
    "phi3": Family(
        "phi3",
        layer_names=_NORMS_BEFORE | _FUSED,
        turns_in_part=True,
        reads=("attention.sliding_window",),
        fields=_phi3,
    ),
    "gemma2": Family(
        "gemma2",
        layer_names=_NORMS_ABOUT | _ATTENTION | _MLP,
        activation=_GELU,
        norm_offset=1,
        reads=(*_GEMMA_READS, "attn_logit_softcapping"),
        neutral=_GEMMA_NEUTRAL,
        fields=_gemma2,
    ),
    "gemma3": Family(
        "gemma3_text",
        layer_names=_NORMS_ABOUT | _NORMS_OF_HEADS | _ATTENTION | _MLP,
        activation=_GELU,
        norm_offset=1,
        reads=_GEMMA_READS,
        neutral=_GEMMA_NEUTRAL,
        fields=_gemma3,
    ),
    "olmo2": Family(
        "olmo2",
        layer_names=_NORMS_BEHIND | _NORMS_OF_HEADS | _ATTENTION | _MLP,
        # With a window it is an OLMo 3.
        neutral={"attention.sliding_window": (0,)},
    ),
    "granite": Family(
        "granite",
        interleaved=True,
        reads=("attention.scale", "embedding_scale", "residual_scale", "logit_scale"),
        # llama.cpp turns nothing where this is false.
        neutral={"rope.scaling.finetuned": (True,)},
        fields=_granite,
    ),
    "smollm3": Family("smollm3", interleaved=True, fields=_smollm3),
}
