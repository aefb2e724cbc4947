"""`config.json` as transformers completes it: its defaults, and both dialects of rotary embedding.

What is left out has the values of transformers' configuration classes
(`configuration_*.py`), in `DEFAULTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relama.errors import UnsupportedError
from relama.reference.rotary import Rope

Config = Mapping[str, Any]

_ALL = {
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
_QWEN = {"use_sliding_window": False, "sliding_window": 4096, "max_position_embeddings": 32768}
_QWEN_MOE = {**_QWEN, "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": False}
_GEMMA = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "num_hidden_layers": 26,
    "hidden_size": 2304,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "tie_word_embeddings": True,
}
_DEEPSEEK = {
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
}

#: What the configuration classes of transformers say where `config.json` says nothing.
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {
        "num_key_value_heads": 8,
        "sliding_window": 4096,
        "max_position_embeddings": 131072,
    },
    "mixtral": {
        "num_key_value_heads": 8,
        "sliding_window": None,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e6,
        "num_experts_per_tok": 2,
    },
    "qwen2": {**_QWEN, "num_key_value_heads": 32, "max_window_layers": 28},
    "qwen3": {**_QWEN, "num_key_value_heads": 32, "max_window_layers": 28, "head_dim": 128},
    "qwen2_moe": {
        **_QWEN_MOE,
        "num_key_value_heads": 16,
        "max_window_layers": 28,
        "qkv_bias": True,
        "num_experts_per_tok": 4,
    },
    "qwen3_moe": {**_QWEN_MOE, "num_key_value_heads": 4, "num_experts_per_tok": 8},
    "phi3": {
        "sliding_window": None,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
    },
    "gemma2": {
        **_GEMMA,
        "max_position_embeddings": 8192,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    },
    "gemma3_text": {
        **_GEMMA,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "rope_theta": 1e6,
        "rope_local_base_freq": 10000.0,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    },
    "olmo2": {"rms_norm_eps": 1e-5},
    "granite": {
        "attention_multiplier": 1.0,
        "embedding_multiplier": 1.0,
        "residual_multiplier": 1.0,
        "logits_scaling": 1.0,
    },
    "smollm3": {
        "max_position_embeddings": 32768,
        "num_key_value_heads": 4,
        "rope_theta": 2e6,
        "no_rope_layer_interval": 4,
        "use_sliding_window": False,
        "sliding_window": None,
        "tie_word_embeddings": True,
    },
    "deepseek_v2": {
        **_DEEPSEEK,
        "first_k_dense_replace": 0,
        "mlp_bias": False,
        "routed_scaling_factor": 1.0,
        "topk_method": "greedy",
    },
    "deepseek_v3": {
        **_DEEPSEEK,
        "first_k_dense_replace": 3,
        "max_position_embeddings": 4096,
        "n_group": 8,
        "norm_topk_prob": True,
        "num_experts_per_tok": 8,
        "rope_interleave": True,
        "routed_scaling_factor": 2.5,
        "topk_group": 4,
    },
}


def completed(config: Config) -> dict[str, Any]:
    """The config with the values of its family where it says nothing; null is a value."""
    return {**_ALL, **DEFAULTS[config["model_type"]], **config}


def rope_parameters(config: Config) -> Rope:
    """Rotary embedding's parameters, the same for all layers, from either dialect.

    As `convert_rope_params_to_dict` and `standardize_rope_params` of transformers: `rope_scaling`
    goes before `rope_parameters`, what is in it before what is beside it, and the other way
    round for `original_max_position_embeddings`. Without scaling, no head is turned in part
    except by Phi-3, which calls LongRoPE `su` or `yarn` in its older files.

    Raises:
        UnsupportedError: there are parameters by layer type, which only Gemma 3 has.
    """
    given = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    if set(given) & set(config.get("layer_types") or ()):
        raise UnsupportedError(
            f"The reference has no rope_parameters by layer type for '{config['model_type']}', "
            "and transformers has none."
        )
    rope_type = given.get("rope_type", given.get("type", "default"))
    is_phi3 = config["model_type"] == "phi3"
    if is_phi3 and rope_type in ("su", "yarn"):
        rope_type = "longrope"
    context = config["max_position_embeddings"]
    original = given.get("original_max_position_embeddings", context)
    partial = given.get("partial_rotary_factor", config.get("partial_rotary_factor") or 1.0)
    return {
        "rope_theta": config["rope_theta"],
        **given,
        "rope_type": rope_type,
        "partial_rotary_factor": partial if is_phi3 or rope_type != "default" else 1.0,
        "max_position_embeddings": context,
        "original_max_position_embeddings": config.get(
            "original_max_position_embeddings", original
        ),
    }


def gemma3_rope_parameters(full: Config) -> dict[str, Rope]:
    """The parameters of layers that see all and of those with a window.

    As `Gemma3TextConfig.convert_rope_params_to_dict`: older files scale the former by
    `rope_scaling` and have `rope_theta` and `rope_local_base_freq` beside it.
    """
    by_type = full.get("rope_parameters") or {}
    everywhere = {**(by_type.get("full_attention") or {}), **(full.get("rope_scaling") or {})}
    nearby = by_type.get("sliding_attention") or {}
    # transformers looks for this one setting of YaRN beside the two, not in them.
    truncate = {"truncate": by_type.get("truncate", True)}
    everywhere, nearby = {**everywhere, **truncate}, {**nearby, **truncate}
    common = {**full, "rope_scaling": None}
    return {
        "full_attention": rope_parameters({**common, "rope_parameters": everywhere}),
        "sliding_attention": rope_parameters(
            {**common, "rope_parameters": nearby, "rope_theta": full["rope_local_base_freq"]}
        ),
    }
