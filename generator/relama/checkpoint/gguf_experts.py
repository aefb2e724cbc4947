"""Mixtures of experts in GGUF files: a tensor holds the matrices of all experts of a layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from relama.checkpoint.gguf_header import StoredTensor
from relama.errors import CheckpointError

_SHARED_GATE = "ffn_gate_inp_shexp"


def experts_apart(stored: Mapping[str, StoredTensor], num_experts: int) -> dict[str, StoredTensor]:
    """A matrix for each expert, which stays in the file; other tensors as they are.

    `blk.0.ffn_gate_exps.weight`, shape `(num_experts, rows, columns)`, becomes
    `blk.0.ffn_gate.0.weight` and so on, shape `(rows, columns)`: so the first files of Mixtral
    have them. The gate of a shared expert gets the shape `(1, columns)` if it is a vector.

    Raises:
        CheckpointError: a tensor is not of so many matrices, or holds one that is there already.
    """
    found: dict[str, StoredTensor] = {}
    for tensor in stored.values():
        for own in _apart(tensor, num_experts):
            if own.name in found:
                raise CheckpointError(
                    f"it holds the matrix {own.name!r} twice, once within another tensor."
                )
            found[own.name] = own
    return found


def _apart(tensor: StoredTensor, num_experts: int) -> Iterator[StoredTensor]:
    match tensor.name.split("."):
        case ["blk", layer, part, "weight"] if part.endswith("_exps"):
            if len(tensor.shape) != 3 or tensor.shape[0] != num_experts:
                raise CheckpointError(
                    f"tensor {tensor.name!r} has shape {tensor.shape}, but the metadata give "
                    f"{num_experts} experts; it must have a matrix for each."
                )
            module = f"blk.{layer}.{part.removesuffix('_exps')}"
            for expert, data in enumerate(tensor.data):
                yield StoredTensor(f"{module}.{expert}.weight", tensor.shape[1:], tensor.kind, data)
        case ["blk", _, part, "weight"] if part == _SHARED_GATE and len(tensor.shape) == 1:
            yield replace(tensor, shape=(1, *tensor.shape), data=tensor.data[None])
        case _:
            yield tensor
