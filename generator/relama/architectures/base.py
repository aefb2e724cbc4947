"""What architectures share, beside the operators that `decoder.py` composes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from relama.checkpoint.base import FloatArray, Tensor
from relama.config import ModelConfig
from relama.errors import CheckpointError, UnsupportedError

#: Hugging Face's `config.json`, complete with the defaults of its `model_type`.
Config = Mapping[str, Any]

#: Other names of an activation in transformers' `ACT2FN`.
_ALIASES = {"swish": "silu", "gelu_new": "gelu_pytorch_tanh"}


def check_activation(fields: Config, activation: str, key: str = "hidden_act") -> None:
    """Raises `UnsupportedError` where a config names another activation than a family has."""
    given = fields.get(key)
    if given is not None and _ALIASES.get(given, given) != activation:
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
        CheckpointError: there are more or fewer than layers, or others than these.
    """
    given = fields.get("layer_types")
    if given is None:
        layers = range(config.num_hidden_layers)
        return ["sliding_attention" if is_sliding(i) else "full_attention" for i in layers]
    known = {"sliding_attention", "full_attention"}
    if (
        not isinstance(given, list)
        or len(given) != config.num_hidden_layers
        or not all(kind in known for kind in given)
    ):
        raise CheckpointError(
            f"config.json: layer_types must be {config.num_hidden_layers} of "
            "'full_attention' and 'sliding_attention', one for each layer."
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
