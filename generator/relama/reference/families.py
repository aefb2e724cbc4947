"""What each `model_type` of Hugging Face computes, as differences from Llama.

A family is a function from its config to a `Decoder`. Above it stands what `config.json` may leave
out: the values of transformers' configuration class (`configuration_*.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from relama.errors import UnsupportedError
from relama.reference.arithmetic import ACTIVATIONS
from relama.reference.configs import Config, rope_parameters, rope_parameters_by_layer_type
from relama.reference.decoder import Decoder, Experts, Latent, Layer
from relama.reference.rotary import mscale

Family = Callable[[Config], Decoder]

#: By `model_type`: what computes it, and what its configs leave out beside what is in `_ALL`.
FAMILIES: dict[str, Family] = {}
DEFAULTS: dict[str, dict[str, Any]] = {}

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


def decoder(config: Config) -> Decoder:
    """The decoder that a `config.json` describes.

    Raises:
        UnsupportedError: its `model_type`, its activation or a setting is not known here.
        KeyError: a field is missing that transformers has no default for.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise UnsupportedError(
            f"The reference knows no model_type '{model_type}'; "
            f"it knows {', '.join(sorted(FAMILIES))}."
        )
    model = FAMILIES[model_type](config)
    if model.activation not in ACTIVATIONS:
        raise UnsupportedError(
            f"The reference knows no activation '{model.activation}'; "
            f"it knows {', '.join(sorted(ACTIVATIONS))}."
        )
    return model


def completed(config: Config) -> dict[str, Any]:
    """The config with the values of its family where it says nothing; null is a value."""
    return {**_ALL, **DEFAULTS[config["model_type"]], **config}


def family(**defaults: Any) -> Callable[[Family], Family]:
    """Registers a family under its function's name, with what its configs may leave out."""

    def register(function: Family) -> Family:
        FAMILIES[function.__name__] = function
        DEFAULTS[function.__name__] = defaults
        return function

    return register


@family()
def llama(config: Config) -> Decoder:
    """Llama (arXiv 2302.13971); SmolLM2, TinyLlama. All families start from here."""
    config = completed(config)
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = rope_parameters(config)
    return Decoder(
        vocab_size=config["vocab_size"],
        num_attention_heads=heads,
        num_key_value_heads=config.get("num_key_value_heads") or heads,
        head_dim=head_dim,
        rms_norm_eps=config["rms_norm_eps"],
        activation=config["hidden_act"],
        tie_word_embeddings=config["tie_word_embeddings"],
        attention_scale=head_dim**-0.5,
        layers=tuple(Layer(rope) for _ in range(config["num_hidden_layers"])),
        qkv_bias=bool(config.get("attention_bias")),
        o_bias=bool(config.get("attention_bias")),
        mlp_bias=bool(config.get("mlp_bias")),
    )


@family(
    num_key_value_heads=8,
    sliding_window=4096,
    max_position_embeddings=131072,
)
def mistral(config: Config) -> Decoder:
    """Mistral (arXiv 2310.06825): a window in every layer, or none; no biases."""
    window = completed(config)["sliding_window"]
    return without_bias(with_layers(llama(config), window=lambda layer: window))


@family(
    num_key_value_heads=8,
    sliding_window=None,
    max_position_embeddings=131072,
    rms_norm_eps=1e-5,
    rope_theta=1e6,
    num_experts_per_tok=2,
)
def mixtral(config: Config) -> Decoder:
    """Mixtral (arXiv 2401.04088): Mistral, with experts in every layer."""
    experts = Experts(
        completed(config)["num_experts_per_tok"],
        module="block_sparse_moe",
        names=("w1", "w3", "w2"),
        norm_topk_prob=True,
    )
    return with_layers(mistral(config), experts=lambda layer: experts)


@family(**_QWEN, num_key_value_heads=32, max_window_layers=28)
def qwen2(config: Config) -> Decoder:
    """Qwen2 (arXiv 2407.10671): biases of Q, K and V, windows in the later layers."""
    model = without_bias(llama(config))
    return with_layers(replace(model, qkv_bias=True), window=_qwen_window(config))


@family(**_QWEN, num_key_value_heads=32, max_window_layers=28, head_dim=128)
def qwen3(config: Config) -> Decoder:
    """Qwen3 (arXiv 2505.09388): each query and key head is normalised."""
    model = replace(llama(config), qk_norm="head", mlp_bias=False)
    return with_layers(model, window=_qwen_window(config))


@family(
    **_QWEN_MOE,
    num_key_value_heads=16,
    max_window_layers=28,
    qkv_bias=True,
    num_experts_per_tok=4,
)
def qwen2_moe(config: Config) -> Decoder:
    """Qwen1.5-MoE and Qwen2-MoE: experts, and one that all tokens share behind a gate."""
    experts = replace(_qwen_experts(config), shared="shared_expert", is_shared_gated=True)
    model = replace(without_bias(llama(config)), qkv_bias=completed(config)["qkv_bias"])
    return with_layers(model, _qwen_window(config), _qwen_sparse_layers(config, experts))


@family(**_QWEN_MOE, num_key_value_heads=4, num_experts_per_tok=8)
def qwen3_moe(config: Config) -> Decoder:
    """Qwen3-MoE: Qwen3 with experts. Its window, if any, is that of every layer."""
    full = completed(config)
    window = full["sliding_window"] if full["use_sliding_window"] else None
    experts = _qwen_sparse_layers(config, _qwen_experts(config))
    return with_layers(qwen3(config), lambda layer: window, experts)


@family(
    sliding_window=None,
    max_position_embeddings=4096,
    original_max_position_embeddings=4096,
    rms_norm_eps=1e-5,
)
def phi3(config: Config) -> Decoder:
    """Phi-3 (arXiv 2404.14219) and Phi-4: fused matrices, part of a head turns, LongRoPE."""
    return replace(mistral(config), is_fused=True)


@family(
    **_GEMMA,
    max_position_embeddings=8192,
    attn_logit_softcapping=50.0,
    final_logit_softcapping=30.0,
)
def gemma2(config: Config) -> Decoder:
    """Gemma 2 (arXiv 2408.00118): norms at four places, soft caps, a window in every other layer.

    The embedding is multiplied by sqrt(hidden_size), rounded to the type of the computation:
    float32 here.

    Raises:
        UnsupportedError: attention goes both ways, as in a model of embeddings.
    """
    full = completed(config)
    if full.get("use_bidirectional_attention"):
        raise UnsupportedError("The reference has no use_bidirectional_attention.")
    return with_layers(
        replace(
            llama(config),
            activation=full["hidden_activation"],
            mlp_bias=False,
            norms="both",
            norm_offset=1.0,
            embedding_multiplier=float(np.float32(math.sqrt(full["hidden_size"]))),
            attention_scale=full["query_pre_attn_scalar"] ** -0.5,
            attn_logit_softcapping=full["attn_logit_softcapping"],
            final_logit_softcapping=full["final_logit_softcapping"],
        ),
        window=_window_of_types(full, lambda layer: layer % 2 == 0),
    )


@family(
    **_GEMMA,
    vocab_size=262208,
    max_position_embeddings=131072,
    rope_theta=1e6,
    rope_local_base_freq=10000.0,
    attn_logit_softcapping=None,
    final_logit_softcapping=None,
)
def gemma3_text(config: Config) -> Decoder:
    """Gemma 3 (arXiv 2503.19786): Gemma 2 with norms of query and key heads instead of a cap.

    Layers with a window turn by a table of their own, whose base is smaller and which is not
    scaled. transformers passes `attn_logit_softcapping` over.
    """
    full = completed(config)
    pattern = full.get("sliding_window_pattern") or 6
    window = _window_of_types(full, lambda layer: (layer + 1) % pattern != 0)
    model = replace(gemma2({**config, **_NO_ROPE}), qk_norm="head", attn_logit_softcapping=None)
    return _with_local_layers(model, full, window, full["rope_local_base_freq"])


def gemma3(config: Config) -> Decoder:
    """The decoder of Gemma 3's models of text and images."""
    tied = config.get("tie_word_embeddings", True)
    text = {**config["text_config"], "model_type": "gemma3_text", "tie_word_embeddings": tied}
    return gemma3_text(text)


FAMILIES["gemma3"] = gemma3  # What it leaves out is in `text_config`.


@family(rms_norm_eps=1e-5)
def olmo2(config: Config) -> Decoder:
    """OLMo 2 (arXiv 2501.00656): norms after attention and MLP, of all queries and all keys."""
    return replace(llama(config), norms="post", qk_norm="vector", mlp_bias=False)


@family(rms_norm_eps=1e-5, rope_theta=500000.0, sliding_window=4096)
def olmo3(config: Config) -> Decoder:
    """OLMo 3: OLMo 2 with a window in three of four layers, whose rotary embedding is unscaled.

    `Olmo3Config` of transformers 5.24 gives those layers its own `rope_theta` as well, unless
    `rope_parameters` has theirs.
    """
    full = completed(config)
    window = _window_of_types(full, lambda layer: (layer + 1) % 4 != 0)
    local_theta = DEFAULTS["olmo3"]["rope_theta"]
    return _with_local_layers(olmo2({**config, **_NO_ROPE}), full, window, local_theta)


@family(
    attention_multiplier=1.0,
    embedding_multiplier=1.0,
    residual_multiplier=1.0,
    logits_scaling=1.0,
)
def granite(config: Config) -> Decoder:
    """Granite 3 (arXiv 2405.04324 and `modeling_granite.py`): Llama with four multipliers."""
    full = completed(config)
    return replace(
        llama(config),
        attention_scale=full["attention_multiplier"],
        embedding_multiplier=full["embedding_multiplier"],
        residual_multiplier=full["residual_multiplier"],
        logits_scaling=full["logits_scaling"],
    )


@family(
    max_position_embeddings=32768,
    num_key_value_heads=4,
    rope_theta=2e6,
    no_rope_layer_interval=4,
    use_sliding_window=False,
    sliding_window=None,
    tie_word_embeddings=True,
)
def smollm3(config: Config) -> Decoder:
    """SmolLM3: nothing turns in every fourth layer (arXiv 2501.18795), which may have a window.

    `no_rope_layers` has a 1 for each layer that turns.
    """
    full = completed(config)
    model = llama(config)
    interval = full["no_rope_layer_interval"]
    turning = full.get("no_rope_layers") or [
        (layer + 1) % interval for layer in range(len(model.layers))
    ]
    has_windows = full["use_sliding_window"]
    window = _window_of_types(full, lambda layer: has_windows and not turning[layer])
    layers = tuple(
        Layer(layer.rope if turning[i] else None, window(i)) for i, layer in enumerate(model.layers)
    )
    return replace(model, layers=layers)


@family(
    **_DEEPSEEK,
    first_k_dense_replace=0,
    mlp_bias=False,
    routed_scaling_factor=1.0,
    topk_method="greedy",
)
def deepseek_v2(config: Config) -> Decoder:
    """DeepSeek-V2 (arXiv 2405.04434): latent attention, experts that all tokens share."""
    full = completed(config)
    grouped = full["topk_method"] == "group_limited_greedy"
    experts = Experts(
        full["num_experts_per_tok"],
        routed_scaling_factor=full["routed_scaling_factor"],
        n_group=full.get("n_group") or 1,
        topk_group=full["topk_group"] if grouped else None,
        shared="shared_experts",
    )
    return replace(_deepseek(full, experts), mlp_bias=full["mlp_bias"])


@family(
    **_DEEPSEEK,
    first_k_dense_replace=3,
    max_position_embeddings=4096,
    n_group=8,
    norm_topk_prob=True,
    num_experts_per_tok=8,
    rope_interleave=True,
    routed_scaling_factor=2.5,
    topk_group=4,
)
def deepseek_v3(config: Config) -> Decoder:
    """DeepSeek-V3 (arXiv 2412.19437): scores by sigmoid, and a bias that balances the choice."""
    full = completed(config)
    experts = Experts(
        full["num_experts_per_tok"],
        scoring="sigmoid",
        norm_topk_prob=full["norm_topk_prob"],
        routed_scaling_factor=full["routed_scaling_factor"],
        n_group=full["n_group"],
        topk_group=full["topk_group"],
        group_score_of=2,
        has_correction_bias=True,
        shared="shared_experts",
    )
    return _deepseek(full, experts)


def without_bias(model: Decoder) -> Decoder:
    """The same, whatever `attention_bias` and `mlp_bias` say."""
    return replace(model, qkv_bias=False, o_bias=False, mlp_bias=False)


def with_layers(
    model: Decoder,
    window: Callable[[int], int | None] | None = None,
    experts: Callable[[int], Experts | None] | None = None,
) -> Decoder:
    """The same with a window, or with experts, in the layers for which there are any."""
    layers = list(model.layers)
    for i, layer in enumerate(layers):
        if window is not None:
            layer = replace(layer, window=window(i))
        if experts is not None:
            layer = replace(layer, experts=experts(i))
        layers[i] = layer
    return replace(model, layers=tuple(layers))


#: Of a config that has parameters by layer type, which `_with_local_layers` reads.
_NO_ROPE = {"rope_parameters": None, "rope_scaling": None}


def _with_local_layers(
    model: Decoder, full: Config, window: Callable[[int], int | None], local_theta: float
) -> Decoder:
    """The same with windows, and with another rotary embedding in the layers that have one."""
    ropes = rope_parameters_by_layer_type(full, local_theta)
    layers = tuple(
        Layer(ropes["full_attention" if window(i) is None else "sliding_attention"], window(i))
        for i in range(len(model.layers))
    )
    return replace(model, layers=layers)


def _window_of_types(full: Config, otherwise: Callable[[int], bool]) -> Callable[[int], int | None]:
    """The window of layers of type `sliding_attention`.

    Args:
        otherwise: which layers those are where there are no `layer_types`.
    """
    types = full.get("layer_types")

    def window(layer: int) -> int | None:
        slides = types[layer] == "sliding_attention" if types else otherwise(layer)
        size: int | None = full["sliding_window"] if slides else None
        return size

    return window


def _qwen_window(config: Config) -> Callable[[int], int | None]:
    """Without `use_sliding_window` there are none.

    Without `layer_types`, Qwen2 and Qwen3 have them from `max_window_layers` on, and
    Qwen2-MoE in every other layer before it.
    """
    full = completed(config)
    if not full["use_sliding_window"]:
        return lambda layer: None
    first = full.get("max_window_layers", 0)
    if full["model_type"] == "qwen2_moe":
        return _window_of_types(full, lambda layer: layer % 2 == 0 and layer < first)
    return _window_of_types(full, lambda layer: layer >= first)


def _qwen_experts(config: Config) -> Experts:
    full = completed(config)
    return Experts(full["num_experts_per_tok"], norm_topk_prob=full["norm_topk_prob"])


def _qwen_sparse_layers(config: Config, experts: Experts) -> Callable[[int], Experts | None]:
    """Every `decoder_sparse_step`-th layer has experts, except `mlp_only_layers`."""
    full = completed(config)
    dense, step = full["mlp_only_layers"] or [], full["decoder_sparse_step"]
    return lambda layer: experts if layer not in dense and (layer + 1) % step == 0 else None


def _deepseek(full: Config, experts: Experts) -> Decoder:
    """Latent attention, and experts from layer `first_k_dense_replace` on.

    YaRN's `mscale_all_dim` makes the softmax sharper: scores are multiplied by its square.
    """
    latent = Latent(
        q_lora_rank=full["q_lora_rank"],
        kv_lora_rank=full["kv_lora_rank"],
        qk_nope_head_dim=full["qk_nope_head_dim"],
        rope_interleave=full["model_type"] == "deepseek_v2" or full["rope_interleave"],
    )
    model = llama(full)
    rope = rope_parameters(full)
    scale = (full["qk_nope_head_dim"] + full["qk_rope_head_dim"]) ** -0.5
    if rope["rope_type"] != "default" and rope.get("mscale_all_dim"):
        scale *= mscale(rope["factor"], rope["mscale_all_dim"]) ** 2
    first = full["first_k_dense_replace"]
    return with_layers(
        replace(model, latent=latent, attention_scale=scale, mlp_bias=False),
        experts=lambda layer: experts if layer >= first else None,
    )
