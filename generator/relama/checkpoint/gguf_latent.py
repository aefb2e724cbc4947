"""Latent attention in GGUF files: what keys and values are made with are two tensors there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

import numpy as np

from relama.checkpoint.base import FloatArray, Tensor
from relama.errors import CheckpointError

_PART = re.compile(r"(.*)\.[kv]_b_proj\.weight")


def joined_latents(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`kv_b_proj` where there are `k_b_proj` and `v_b_proj`; other tensors as they are.

    llama.cpp's converter takes `kv_b_proj` apart by heads and transposes the keys' part: shapes
    `(heads, kv_lora_rank, qk_nope_head_dim)` and `(heads, v_head_dim, kv_lora_rank)`. The first
    files of DeepSeek have it whole.

    Raises:
        CheckpointError: one of the two is missing, they do not fit together, or the whole is there.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        part = _PART.fullmatch(name)
        if part is None:
            found[name] = tensor
            continue
        joined = f"{part[1]}.kv_b_proj.weight"
        if joined in tensors:
            raise CheckpointError(f"it holds {joined!r} whole and in parts.")
        if joined not in found:
            found[joined] = _joined(tensors, part[1], joined)
    return found


def _joined(tensors: Mapping[str, Tensor], module: str, name: str) -> Tensor:
    keys, values = (tensors.get(f"{module}.{part}_b_proj.weight") for part in "kv")
    if keys is None or values is None:
        raise CheckpointError(f"of {name!r} the part of the keys or of the values is missing.")
    fits = len(keys.shape) == len(values.shape) == 3
    if not fits or (keys.shape[0], keys.shape[1]) != (values.shape[0], values.shape[2]):
        raise CheckpointError(
            f"the parts of {name!r} have shapes {keys.shape} and {values.shape}; they must be "
            "(heads, kv_lora_rank, width of a key) and (heads, width of a value, kv_lora_rank)."
        )
    shape = (keys.shape[0] * (keys.shape[2] + values.shape[1]), keys.shape[1])
    return Tensor(name, shape, keys.dtype, partial(_read_joined, keys, values))


def _read_joined(keys: Tensor, values: Tensor, start: int, stop: int) -> FloatArray:
    """Rows of all heads, of each the keys' before the values'."""
    each = keys.shape[2] + values.shape[1]
    first, last = start // each, -(-stop // each)
    heads = keys.read_rows(first, last).swapaxes(1, 2), values.read_rows(first, last)
    rows = np.concatenate(heads, axis=1).reshape(-1, keys.shape[1])
    return rows[start - first * each : stop - first * each]
