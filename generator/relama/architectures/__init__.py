"""One module for each Hugging Face `model_type`: from config to graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from relama.architectures import llama
from relama.checkpoint.base import Checkpoint, Tensor
from relama.config import ModelConfig, model_config
from relama.errors import CheckpointError, UnsupportedError
from relama.graph import Graph

__all__ = ["build_graph"]


class Architecture(NamedTuple):
    """How to build a graph, and which tensors to leave out quietly."""

    build: Callable[[ModelConfig], Graph]
    harmless: re.Pattern[str]


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(llama.build, llama.HARMLESS),
}


def build_graph(checkpoint: Checkpoint) -> Graph:
    """The graph of a checkpoint, its tensors checked against it.

    Raises:
        UnsupportedError: the checkpoint's `model_type` is not supported.
        CheckpointError: a tensor is missing, unknown, or has a wrong shape.
    """
    architecture = _architecture(checkpoint.config)
    _check_layers(checkpoint)
    config = model_config(checkpoint.config)
    if config.tie_word_embeddings and not _is_tied(checkpoint.tensors):
        config = replace(config, tie_word_embeddings=False)
    graph = architecture.build(config)
    _check_tensors(graph, checkpoint.tensors, architecture.harmless)
    return graph


def _architecture(config: Mapping[str, Any]) -> Architecture:
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise UnsupportedError(
            f"The architecture '{model_type}' is not supported; "
            f"supported: {', '.join(sorted(ARCHITECTURES))}."
        )
    return ARCHITECTURES[model_type]


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


def _check_layers(checkpoint: Checkpoint) -> None:
    """Refuses more layers than there are tensors, before any is built."""
    layers, tensors = checkpoint.config.get("num_hidden_layers"), len(checkpoint.tensors)
    if isinstance(layers, int) and layers > tensors:
        raise CheckpointError(
            f"The config gives {layers} layers, but the checkpoint has {tensors} tensors in all."
        )


def _check_tensors(graph: Graph, tensors: Mapping[str, Tensor], harmless: re.Pattern[str]) -> None:
    """Compares the checkpoint's tensors with those that the graph reads."""
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
        if name not in expected and not tied_head and not harmless.search(name):
            raise CheckpointError(
                f"The tensor {name!r} is not part of the architecture "
                f"'{graph.config.model_type}'; its weights would be ignored."
            )
