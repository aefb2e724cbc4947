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
        decoder_fields: the config as `ModelConfig` has it, where `config.json` has it otherwise:
            the text half of a model that has others too, settings that older files call otherwise.
        left_out: sentences of what a checkpoint has and the graph has not, of its `config.json`
            and of what is stored.
        rope_of: the type of layers whose rotary embedding `ModelConfig` has, where types differ.
        partial_rotary: whether it turns the front of a head alone, if the config says so.
    """

    build: Callable[[ModelConfig, Config], Graph]
    defaults: Config = field(default_factory=dict)
    tensors: Callable[[Config, Tensors], Tensors] = lambda fields, stored: stored
    decoder_fields: Callable[[Config], Config] = lambda fields: fields
    left_out: Callable[[Config, Tensors], list[str]] = lambda fields, stored: []
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


def chosen_rows(name: str, tensor: Tensor, rows: npt.NDArray[np.intp]) -> Tensor:
    """Some rows of a tensor, in their order, as a tensor of their own; -1 is a row of zeros."""
    shape = (len(rows), *tensor.shape[1:])
    return Tensor(name, shape, tensor.dtype, partial(_read_chosen, tensor, rows))


def chosen_columns(name: str, tensor: Tensor, columns: npt.NDArray[np.intp]) -> Tensor:
    """Some columns of a matrix, likewise."""
    shape = (tensor.shape[0], len(columns))
    return Tensor(
        name,
        shape,
        tensor.dtype,
        lambda start, stop: _taken(tensor.read_rows(start, stop), columns, axis=1),
    )


def as_row(name: str, tensor: Tensor) -> Tensor:
    """A vector as a matrix of one row."""
    return Tensor(
        name,
        (1, *tensor.shape),
        tensor.dtype,
        lambda start, stop: tensor.read()[None][start:stop],
    )


def _read_chosen(tensor: Tensor, rows: npt.NDArray[np.intp], start: int, stop: int) -> FloatArray:
    wanted = rows[start:stop]
    stored = wanted[wanted >= 0]
    if not len(stored):
        return np.zeros((len(wanted), *tensor.shape[1:]), np.float32)
    first = int(stored.min())
    read = tensor.read_rows(first, int(stored.max()) + 1)
    return _taken(read, np.where(wanted < 0, -1, wanted - first), axis=0)


def _taken(values: FloatArray, wanted: npt.NDArray[np.intp], axis: int) -> FloatArray:
    """The rows or columns of those numbers, zeros for -1."""
    taken = np.take(values, wanted, axis)
    taken[(slice(None),) * axis + (wanted < 0,)] = 0
    return taken
