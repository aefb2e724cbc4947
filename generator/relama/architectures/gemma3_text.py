"""Hugging Face's `gemma3_text`, and the text half of `gemma3` (`modeling_gemma3.py`)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from relama.architectures import gemma2
from relama.architectures.base import (
    Architecture,
    Config,
    check_activation,
    layer_types,
    with_added_ones,
)
from relama.architectures.decoder import ANGLES, LOCAL_ANGLES, Decoder
from relama.checkpoint.base import Tensor
from relama.config import ModelConfig, RopeParameters, number, positive, rope_parameters
from relama.errors import CheckpointError
from relama.graph import Graph

DEFAULTS = {
    **gemma2.DEFAULTS,
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
    "rope_theta": 1e6,
    "rope_local_base_freq": 10000.0,
    "sliding_window_pattern": 6,
    "final_logit_softcapping": None,
}

#: Where a checkpoint of text and images has the text's tensors.
_TEXT = re.compile(r"^(language_model\.model|model\.language_model)\.")
_HEAD = re.compile(r"^language_model\.lm_head\.")
_IMAGES = re.compile(r"^(model\.)?(vision_tower|multi_modal_projector)\.")


def decoder_fields(fields: Config) -> Config:
    """The config of the text half of `gemma3`, that of `gemma3_text` as it is."""
    if fields.get("model_type") != "gemma3":
        return fields
    text = fields.get("text_config")
    if not isinstance(text, Mapping):
        raise CheckpointError("config.json: text_config of gemma3 must be an object.")
    tied = fields.get("tie_word_embeddings", True)
    return {**text, "model_type": "gemma3_text", "tie_word_embeddings": tied}


def tensors(fields: Config, stored: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Those of the text, with their norms as in Gemma 2; those of images are left out."""
    named = {
        _HEAD.sub("lm_head.", _TEXT.sub("model.", name)): tensor
        for name, tensor in stored.items()
        if not _IMAGES.match(name)
    }
    return with_added_ones(named)


def left_out(fields: Config, stored: Mapping[str, Tensor]) -> list[str]:
    """A sentence where the checkpoint has images."""
    if fields["model_type"] != "gemma3":
        return []
    return ["The checkpoint is one of text and images; the text half is compiled."]


def build(config: ModelConfig, fields: Config) -> Graph:
    """`Gemma3ForCausalLM` (arXiv 2503.19786): Gemma 2 with norms of heads instead of a soft cap.

    Layers with a window turn by a table of their own, which is not scaled.
    """
    check_activation(fields, "gelu_pytorch_tanh", "hidden_activation")
    pattern = positive(fields, "sliding_window_pattern")
    types = layer_types(config, fields, lambda layer: (layer + 1) % pattern != 0)
    window = positive(fields, "sliding_window")
    cap = fields["final_logit_softcapping"]
    decoder = Decoder(config)
    decoder.add_angles(LOCAL_ANGLES, _local_rope(fields))
    hidden = decoder.embedding(gemma2.embedding_multiplier(config))
    for layer in decoder.layers():
        is_local = types[layer] == "sliding_attention"
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        query, key, value = decoder.projections(normed, config.attention_bias)
        query = decoder.norm("q_norm", query, "self_attn.q_norm", "attention", config.head_dim)
        key = decoder.norm("k_norm", key, "self_attn.k_norm", "attention", config.head_dim)
        attended = decoder.attention(
            query,
            key,
            value,
            angles=LOCAL_ANGLES if is_local else ANGLES,
            scaling=number(fields, "query_pre_attn_scalar") ** -0.5,
            sliding_window=window if is_local else None,
        )
        hidden = gemma2.behind_attention(decoder, attended, hidden)
    return decoder.head(hidden, softcap=None if cap is None else float(cap))


def _local_rope(fields: Config) -> RopeParameters:
    """The rotary embedding of layers with a window, in either dialect of `config.json`."""
    both = fields.get("rope_parameters") or {}
    if "sliding_attention" in both:
        return rope_parameters(fields, "sliding_attention")
    return RopeParameters(number(fields, "rope_local_base_freq"))


ARCHITECTURE = Architecture(
    build, DEFAULTS, tensors, decoder_fields, left_out, rope_of="full_attention"
)
