"""Mixtures of experts: what their configs say, and how the matrices of experts are stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from relama.architectures.base import Config
from relama.checkpoint.base import FloatArray, Tensor
from relama.config import flag, positive
from relama.errors import CheckpointError


@dataclass(frozen=True)
class Experts:
    """The experts of a layer.

    Attributes:
        num_experts: how many there are.
        num_experts_per_tok: how many of them a token is sent to.
        intermediate_size: width of the MLP of one.
        norm_topk_prob: whether the weights of the chosen ones are to sum to 1.
        routing: what else a `Router` has, by the names of its attributes.
        has_correction: whether the router reads `e_score_correction_bias`.
    """

    num_experts: int
    num_experts_per_tok: int
    intermediate_size: int
    norm_topk_prob: bool
    routing: Mapping[str, Any] = field(default_factory=dict)
    has_correction: bool = False


def counted_experts(fields: Config) -> Config:
    """The config with `num_experts`, which files of transformers 5 call `num_local_experts`."""
    if "num_local_experts" not in fields:
        return fields
    return {**fields, "num_experts": fields["num_local_experts"]}


def experts_of(fields: Config, count: str = "num_experts") -> Experts:
    """What a config says of experts.

    Args:
        count: the name of the field that says how many there are.

    Raises:
        CheckpointError: a field is missing or out of range.
    """
    experts = Experts(
        positive(fields, count),
        positive(fields, "num_experts_per_tok"),
        positive(fields, "moe_intermediate_size"),
        flag(fields, "norm_topk_prob"),
    )
    if experts.num_experts_per_tok > experts.num_experts:
        raise CheckpointError(
            f"config.json: num_experts_per_tok ({experts.num_experts_per_tok}) must be at most "
            f"{count} ({experts.num_experts})."
        )
    return experts


def stacked_experts(
    stored: Mapping[str, Tensor],
    num_experts: int,
    module: str = "mlp",
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
) -> dict[str, Tensor]:
    """The matrices of all experts of a layer one below the other, as the graph reads them.

    `model.layers.0.mlp.experts_gate_up_proj.weight` has the rows of gate and of up of the first
    expert, then those of the second; `experts_down_proj` likewise. Other tensors stay.

    Args:
        module: the module of a layer whose experts they are; the result calls it `mlp`.
        names: of the matrices of gate, up and down.

    Raises:
        CheckpointError: a matrix of an expert is missing, or not shaped as the others are.
    """
    pattern = re.compile(rf"(model\.layers\.\d+\.){module}\.experts\.(0|[1-9]\d*)\.(\w+)\.weight")
    found: dict[str, Tensor] = {}
    layers: dict[str, None] = {}
    for name, tensor in stored.items():
        match = pattern.fullmatch(name)
        if match is None or int(match[2]) >= num_experts or match[3] not in names:
            found[name.replace(f".{module}.", ".mlp.")] = tensor
        else:
            layers[match[1]] = None
    for layer in layers:
        for stacked, parts in (("gate_up_proj", names[:2]), ("down_proj", names[2:])):
            tensors = []
            for expert in range(num_experts):
                for part in parts:
                    name = f"{layer}{module}.experts.{expert}.{part}.weight"
                    if name not in stored:
                        raise CheckpointError(
                            f"The tensor '{name}' is missing from the checkpoint."
                        )
                    tensors.append(stored[name])
            name = f"{layer}mlp.experts_{stacked}.weight"
            found[name] = one_below_the_other(name, tensors)
    return found


def one_below_the_other(name: str, tensors: list[Tensor]) -> Tensor:
    """Matrices of one shape as one matrix.

    Raises:
        CheckpointError: one of them has another shape.
    """
    first = tensors[0]
    for tensor in tensors:
        if tensor.shape != first.shape:
            raise CheckpointError(
                f"The tensor '{tensor.name}' has shape {tensor.shape}, expected {first.shape}."
            )
    rows, *rest = first.shape
    shape = (rows * len(tensors), *rest)
    return Tensor(name, shape, first.dtype, partial(_rows_of_several, tensors, rows))


def _rows_of_several(tensors: list[Tensor], each: int, start: int, stop: int) -> FloatArray:
    """Rows of matrices of `each` rows, counted through all of them."""
    stop = min(stop, each * len(tensors))
    parts = [
        tensors[i].read_rows(max(0, start - i * each), min(each, stop - i * each))
        for i in range(start // each, -(-stop // each))
    ]
    return np.concatenate(parts) if parts else tensors[0].read_rows(0, 0)
