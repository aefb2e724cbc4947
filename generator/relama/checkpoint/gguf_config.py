"""GGUF metadata, translated to the fields of Hugging Face's `config.json`.

The keys are described at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
under "LLM"; what a file must hold is what llama.cpp's converter writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relama.checkpoint.base import FloatArray
from relama.checkpoint.gguf_families import FAMILIES, Family
from relama.checkpoint.gguf_header import quoted
from relama.checkpoint.gguf_rope import has_factors, rope_scaling
from relama.checkpoint.gguf_settings import Settings, shown
from relama.errors import CheckpointError, UnsupportedError

#: Metadata of a file that is more than one model, with the values that say it is not.
WHOLE_MODEL: dict[str, tuple[object, ...]] = {
    "general.type": ("model",),
    "split.count": (0, 1),
}

#: Settings that change what is computed, with the values that leave it as it is. The first
#: are those that llama.cpp reads for a Llama (`load_hparams` in llama-model.cpp), the others
#: those that it reads for architectures near it. A family reads some of them.
NEUTRAL_VALUES: dict[str, tuple[object, ...]] = {
    "attention.causal": (True,),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "expert_group_count": (0,),
    "expert_group_used_count": (0,),
    "expert_gating_func": (0, 1),
    "expert_shared_feed_forward_length": (0,),
    "expert_weights_norm": (True,),
    "expert_weights_scale": (0.0, 1.0),
    "nextn_predict_layers": (0,),
    "rope.scaling.attn_factor": (1.0,),
    "rope.scaling.alpha": (0.0,),
    "adapters.count": (0,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.output_scale": (0.0, 1.0),
    "attention.scale": (0.0,),
    "attention.temperature_scale": (0.0,),
    "attention.value_scale": (0.0, 1.0),
    "attn_logit_softcapping": (0.0,),
    "embedding_scale": (0.0, 1.0),
    "final_logit_softcapping": (0.0,),
    "hidden_activation": ("swish", "silu"),
    "logit_scale": (0.0, 1.0),
    "n_deepstack_layers": (0,),
    "num_loops": (0, 1),
    "residual_scale": (0.0, 1.0),
    "rope.scaling.yarn_attn_factor": (1.0,),
    "rope.scaling.yarn_ext_factor": (-1.0, 0.0),
    "rope.scaling.yarn_log_multiplier": (0.0,),
    "swin_norm": (False,),
    "use_parallel_residual": (False,),
}

#: Other settings: what is read of all families, and what changes nothing.
OTHER_SETTINGS = (
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "pooling_type",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "tensor_data_layout",
    "vocab_size",
)


def family_of(metadata: Mapping[str, Any]) -> Family:
    """How a file of this `general.architecture` is read, with experts or without.

    Raises:
        UnsupportedError: the architecture is not supported.
    """
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in FAMILIES:
        raise UnsupportedError(
            f"the architecture {shown(architecture)} (general.architecture) is not supported; "
            f"supported: {', '.join(FAMILIES)}."
        )
    family = FAMILIES[architecture]
    if family.with_experts and metadata.get(f"{architecture}.expert_count", 0) != 0:
        return family.with_experts
    return family


def huggingface_config(
    metadata: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    rope_vectors: Mapping[str, FloatArray],
) -> dict[str, Any]:
    """The fields of `config.json`, from the metadata of a GGUF file.

    Args:
        metadata: the file's key-value pairs.
        shapes: the shapes of its tensors by their GGUF names, in Hugging Face's order.
        rope_vectors: the tensors that scale RoPE, see `rope_scaling`, if the file has any.

    Raises:
        CheckpointError: a key is missing or is not a number.
        UnsupportedError: the architecture, a setting or the RoPE scaling is not supported.
    """
    family = family_of(metadata)
    settings = Settings(metadata["general.architecture"], metadata)
    for key, neutral in _must_be_neutral(family, settings, rope_vectors).items():
        if key in metadata and not _is_neutral(metadata[key], neutral):
            raise UnsupportedError(
                f"{key} is {shown(metadata[key])}, which is not supported; "
                f"supported: {neutral[-1]}."
            )

    heads = settings.integer("attention.head_count")
    hidden_size = settings.integer("embedding_length")
    head_dim, width = _head_dim(family, settings, heads, hidden_size)
    theta = settings.number("rope.freq_base", default=10000.0)
    # As in llama.cpp: the key counts only where nothing else says it.
    vocab_size = shapes.get("token_embd.weight", (None,))[0]
    config = {
        "model_type": family.model_type,
        "vocab_size": vocab_size or settings.integer("vocab_size"),
        "hidden_size": hidden_size,
        "intermediate_size": settings.integer("feed_forward_length"),
        "num_hidden_layers": settings.integer("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": settings.integer("attention.head_count_kv", default=heads),
        "head_dim": head_dim,
        **family.activation,
        "max_position_embeddings": settings.integer("context_length"),
        "rms_norm_eps": settings.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": theta,
        "rope_scaling": rope_scaling(settings, rope_vectors, theta, width),
        "tie_word_embeddings": "output.weight" not in shapes,
        "attention_bias": _has_bias(shapes, "attn_q", "attn_k", "attn_v", "attn_output"),
        "mlp_bias": _has_bias(shapes, "ffn_gate", "ffn_up", "ffn_down"),
    }
    return config | family.fields(settings, config)


def ignored_settings(metadata: Mapping[str, Any]) -> list[str]:
    """A sentence about the settings of the architecture that nothing here knows, if any."""
    family, architecture = family_of(metadata), metadata["general.architecture"]
    names = {*NEUTRAL_VALUES, *OTHER_SETTINGS, *family.reads, *family.neutral}
    known = {f"{architecture}.{name}" for name in names}
    unknown = [key for key in metadata if key.startswith(f"{architecture}.") and key not in known]
    if not unknown:
        return []
    shown = ", ".join(map(quoted, unknown[:4])) + (", ..." if len(unknown) > 4 else "")
    return [
        f"{len(unknown)} settings are not such as llama.cpp reads for this architecture, "
        f"and were left out: {shown}."
    ]


def _must_be_neutral(
    family: Family, settings: Settings, rope_vectors: Mapping[str, FloatArray]
) -> dict[str, tuple[object, ...]]:
    """The keys of settings that nothing here computes, with the values that change nothing."""
    neutral = {**NEUTRAL_VALUES, **family.neutral}
    read = [*family.reads]
    if has_factors(rope_vectors):
        read.append("rope.scaling.attn_factor")
    elif settings.get("rope.scaling.type") == "yarn":
        read.append("rope.scaling.yarn_attn_factor")
        neutral |= {"rope.scaling.yarn_ext_factor": (-1.0, 1.0)}
    own = {settings.key(name): values for name, values in neutral.items() if name not in read}
    return WHOLE_MODEL | own


def _is_neutral(value: object, neutral: tuple[object, ...]) -> bool:
    """Whether a setting, or each of an array of one per layer, leaves everything as it is."""
    return all(element in neutral for element in (value if isinstance(value, list) else [value]))


def _has_bias(shapes: Mapping[str, tuple[int, ...]], *parts: str) -> bool:
    """Whether any of these parts of a layer has a bias; `GgufCheckpoint` adds the others."""
    return any(name.endswith(tuple(f".{part}.bias" for part in parts)) for name in shapes)


def _head_dim(family: Family, settings: Settings, heads: int, hidden_size: int) -> tuple[int, int]:
    """The width of a head, which keys and values must have, and how much of it turns."""
    own = hidden_size // heads
    width = settings.integer("rope.dimension_count", default=own)
    head_dim = settings.integer(
        "attention.key_length", default=own if family.turns_in_part else width
    )
    names = ["attention.value_length"]
    if not family.turns_in_part or width > head_dim:
        names.append("rope.dimension_count")
    for name in names:
        if settings.integer(name, default=head_dim) != head_dim:
            raise UnsupportedError(
                f"{settings.key(name)} ({shown(settings.get(name))}) differs from the width of a "
                f"head ({head_dim}), which is not supported; supported: equal ones."
            )
    width = settings.integer("rope.dimension_count", default=head_dim)
    if head_dim % 2 or width % 2:
        raise CheckpointError(
            f"the width of a head ({head_dim}) must be even: rotary embedding turns pairs."
        )
    return head_dim, width
