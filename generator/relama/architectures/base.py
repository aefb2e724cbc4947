"""What architectures share, beside the operators that `decoder.py` composes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from relama.checkpoint.base import FloatArray, Tensor
from relama.config import ModelConfig
from relama.errors import CheckpointError, UnsupportedError
from relama.graph import Graph

#: Hugging Face's `config.json`, complete with the defaults of its `model_type`.
Config = Mapping[str, Any]

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Architecture:
    """A family: how its graph is built, and what of its files is not as in Llama's.

    Attributes:
        build: the graph of a config that is complete.
        defaults: what `config.json` may leave out, as in the family's `configuration_*.py`.
        tensors: what the graph reads, made of what is stored.
        text_fields: the config of the text half of a model that has others too; settings that
            older files of the family call otherwise, by their names.
        rope_of: the type of layers whose rotary embedding `ModelConfig` has, where types differ.
        partial_rotary: whether it turns the front of a head alone, if the config says so.
    """

    build: Callable[[ModelConfig, Config], Graph]
    defaults: Config = field(default_factory=dict)
    tensors: Callable[[Config, Tensors], Tensors] = lambda fields, stored: stored
    text_fields: Callable[[Config], Config] = lambda fields: fields
    rope_of: str | None = None
    partial_rotary: bool = False


#: Other names of an activation in transformers' `ACT2FN`.
_ALIASES = {"swish": "silu", "gelu_new": "gelu_pytorch_tanh"}


def check_activation(fields: Config, activation: str, key: str = "hidden_act") -> None:
    """Raises `UnsupportedError` where a config names another activation than a family has."""
    given = fields.get(key)
    name = _ALIASES.get(given, given) if isinstance(given, str) else given
    if name is not None and name != activation:
        raise UnsupportedError(
            f"config.json: {key} '{given}' is not supported for {fields['model_type']}; "
            f"supported: {activation}."
        )


def layer_types(
    config: ModelConfig, fields: Config, is_sliding: Callable[[int], bool]
) -> list[str]:
    """`sliding_attention` or `full_attention` for each layer.

    Args:
        is_sliding: what holds where the config has no `layer_types`.

    Raises:
        CheckpointError: there are more or fewer than layers.
        UnsupportedError: there are others than these.
    """
    given = fields.get("layer_types")
    if given is None:
        layers = range(config.num_hidden_layers)
        return ["sliding_attention" if is_sliding(i) else "full_attention" for i in layers]
    known = ("full_attention", "sliding_attention")
    if not isinstance(given, list) or len(given) != config.num_hidden_layers:
        raise CheckpointError(
            f"config.json: layer_types must be {config.num_hidden_layers} of "
            f"{' and '.join(map(repr, known))}, one for each layer."
        )
    for kind in given:
        if kind not in known:
            raise UnsupportedError(
                f"config.json: layer_types has {kind!r}, which is not supported for "
                f"{fields['model_type']}; supported: {', '.join(known)}."
            )
    return given


def with_added_ones(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, 1 added to the weights of norms; in float32, as Gemma adds it."""
    return {
        name: Tensor(name, tensor.shape, tensor.dtype, partial(_one_more, tensor))
        if name.endswith("norm.weight")
        else tensor
        for name, tensor in tensors.items()
    }


def _one_more(tensor: Tensor, start: int, stop: int) -> FloatArray:
    return tensor.read_rows(start, stop) + np.float32(1)


def stacked_rows(name: str, tensor: Tensor, rows: npt.NDArray[np.intp]) -> Tensor:
    """Some rows of a tensor, in their order, as a tensor of their own."""
    shape = (len(rows), *tensor.shape[1:])
    return Tensor(name, shape, tensor.dtype, partial(_chosen_rows, tensor, rows))


def _chosen_rows(tensor: Tensor, rows: npt.NDArray[np.intp], start: int, stop: int) -> FloatArray:
    wanted = rows[start:stop]
    if not len(wanted):
        return tensor.read_rows(0, 0)
    first = int(wanted.min())
    return tensor.read_rows(first, int(wanted.max()) + 1)[wanted - first]
