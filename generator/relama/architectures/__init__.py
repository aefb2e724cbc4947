"""One module for each Hugging Face `model_type`: from config to graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from relama.architectures import (
    deepseek_v2,
    deepseek_v3,
    gemma2,
    gemma3_text,
    granite,
    llama,
    mistral,
    mixtral,
    olmo2,
    olmo3,
    phi3,
    qwen2,
    qwen2_moe,
    qwen3,
    qwen3_moe,
    smollm3,
)
from relama.architectures.base import Architecture, Config
from relama.checkpoint.base import Checkpoint, Tensor
from relama.config import config_warnings, model_config
from relama.errors import CheckpointError, UnsupportedError
from relama.graph import Graph

__all__ = ["ARCHITECTURES", "build_graph", "graph_tensors", "left_out"]

ARCHITECTURES: dict[str, Architecture] = {
    "deepseek_v2": deepseek_v2.ARCHITECTURE,
    "deepseek_v3": deepseek_v3.ARCHITECTURE,
    "gemma2": gemma2.ARCHITECTURE,
    "gemma3": gemma3_text.ARCHITECTURE,
    "gemma3_text": gemma3_text.ARCHITECTURE,
    "granite": granite.ARCHITECTURE,
    "llama": llama.ARCHITECTURE,
    "mistral": mistral.ARCHITECTURE,
    "mixtral": mixtral.ARCHITECTURE,
    "olmo2": olmo2.ARCHITECTURE,
    "olmo3": olmo3.ARCHITECTURE,
    "phi3": phi3.ARCHITECTURE,
    "qwen2": qwen2.ARCHITECTURE,
    "qwen2_moe": qwen2_moe.ARCHITECTURE,
    "qwen3": qwen3.ARCHITECTURE,
    "qwen3_moe": qwen3_moe.ARCHITECTURE,
    "smollm3": smollm3.ARCHITECTURE,
}

#: Tensors that some checkpoints carry and that a forward pass does not need.
HARMLESS = re.compile(r"(^|\.)rotary_emb\.(inv_freq|cos_cached|sin_cached)$|\.masked_bias$")


def build_graph(checkpoint: Checkpoint) -> Graph:
    """The graph of a checkpoint, its tensors checked against it.

    Raises:
        UnsupportedError: the checkpoint's `model_type` is not supported, or a setting of it.
        CheckpointError: a tensor is missing, unknown, or has a wrong shape.
    """
    architecture, fields = _architecture(checkpoint)
    _check_layers(fields, checkpoint)
    config = model_config(fields, architecture.rope_of, architecture.partial_rotary)
    tensors = graph_tensors(checkpoint)
    if config.tie_word_embeddings and not _is_tied(tensors):
        config = replace(config, tie_word_embeddings=False)
    graph = architecture.build(config, fields)
    _check_tensors(graph, tensors)
    return graph


def graph_tensors(checkpoint: Checkpoint) -> Mapping[str, Tensor]:
    """The tensors that the graph of a checkpoint reads, by the names that it has for them."""
    architecture, fields = _architecture(checkpoint)
    return architecture.tensors(fields, checkpoint.tensors)


def left_out(checkpoint: Checkpoint) -> list[str]:
    """Sentences of what a checkpoint has and its graph has not."""
    architecture, fields = _architecture(checkpoint)
    sentences = architecture.left_out(checkpoint.config, checkpoint.tensors)
    return [*config_warnings(fields), *sentences]


def _architecture(checkpoint: Checkpoint) -> tuple[Architecture, Config]:
    """What a checkpoint's `model_type` is, and its config with the defaults of the family."""
    model_type = checkpoint.config.get("model_type")
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise UnsupportedError(
            f"The architecture '{model_type}' is not supported; "
            f"supported: {', '.join(sorted(ARCHITECTURES))}."
        )
    architecture = ARCHITECTURES[model_type]
    fields = architecture.decoder_fields(checkpoint.config)
    return architecture, {**architecture.defaults, **fields}


def _is_tied(tensors: Mapping[str, Tensor]) -> bool:
    """Whether no output head is stored, or the embedding once more.

    A stored head that differs counts, whatever `tie_word_embeddings` says: so
    does `tie_weights` in transformers' `modeling_utils.py`. Reads a block of each at a time.
    """
    embedding, head = tensors.get("model.embed_tokens.weight"), tensors.get("lm_head.weight")
    if embedding is None or head is None:
        return True
    return embedding.shape == head.shape and all(
        np.array_equal(rows, head.read_rows(start, start + len(rows)))
        for start, rows in embedding.blocks()
    )


def _check_layers(fields: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """Refuses more layers than there are tensors, before any is built."""
    layers, tensors = fields.get("num_hidden_layers"), len(checkpoint.tensors)
    if isinstance(layers, int) and layers > tensors:
        raise CheckpointError(
            f"The config gives {layers} layers, but the checkpoint has {tensors} tensors in all."
        )


def _check_tensors(graph: Graph, tensors: Mapping[str, Tensor]) -> None:
    """Compares the tensors with those that the graph reads."""
    expected: dict[str, tuple[int, ...]] = {}
    for weight in graph.weights.values():
        for part in weight.parts:
            norm = weight.rows == 1 and "norm" in weight.name
            expected[part.tensor] = (weight.columns,) if norm else (part.rows, weight.columns)
            if part.bias:
                expected[part.bias] = (part.rows,)
    for name, shape in expected.items():
        if name not in tensors:
            raise CheckpointError(f"The tensor '{name}' is missing from the checkpoint.")
        if tensors[name].shape != shape:
            raise CheckpointError(
                f"The tensor '{name}' has shape {tensors[name].shape}, expected {shape}."
            )
    for name in tensors:
        tied_head = name == "lm_head.weight" and graph.config.tie_word_embeddings
        if name not in expected and not tied_head and not HARMLESS.search(name):
            raise CheckpointError(
                f"The tensor {name!r} is not part of the architecture "
                f"'{graph.config.model_type}'; its weights would be ignored."
            )
