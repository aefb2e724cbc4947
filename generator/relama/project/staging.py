"""Stages a checkpoint's tensors as Parquet, one file per tensor, block by block.

A matrix becomes rows `(row_id INTEGER, vector FLOAT[])`, one per feature of the
output; a bias becomes rows `(row_id INTEGER, value FLOAT)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from relama import names
from relama.checkpoint.base import FloatArray, Tensor
from relama.errors import CheckpointError, GraphError
from relama.graph import Graph

Progress = Callable[[int], None]


@dataclass(frozen=True)
class StagedTensor:
    """A tensor and the name of its staged table.

    Attributes:
        name: name of the Parquet file and of the dbt source table.
        tensor: Hugging Face's name of the tensor.
        is_bias: whether it holds one number a row.
    """

    name: str
    tensor: str
    is_bias: bool = False


def staged_tensors(graph: Graph) -> list[StagedTensor]:
    """What the graph's weights are staged as. Names come from the graph, never from the file.

    Raises:
        GraphError: two tensors would be staged under one name.
    """
    staged: dict[str, StagedTensor] = {}

    def add(tensor: str, is_bias: bool = False) -> None:
        name = names.staged(tensor)
        if name in staged:
            raise GraphError(
                f"The tensors '{staged[name].tensor}' and '{tensor}' would both be staged "
                f"as '{name}'."
            )
        staged[name] = StagedTensor(name, tensor, is_bias)

    for weight in graph.weights.values():
        for part in weight.parts:
            add(part.tensor)
            if part.bias:
                add(part.bias, is_bias=True)
    return list(staged.values())


def stage(graph: Graph, tensors: Mapping[str, Tensor], directory: Path, progress: Progress) -> str:
    """Writes every tensor of the graph to `directory`; calls `progress` with elements written.

    Memory: one block of `BLOCK_ELEMENTS` at a time, whatever the model's size.

    Returns:
        A digest of what was written.

    Raises:
        CheckpointError: a tensor holds NaN or infinity.
    """
    directory.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for staged in staged_tensors(graph):
        tensor = tensors[staged.tensor]
        path = directory / f"{staged.name}.parquet"
        schema = _BIAS_SCHEMA if staged.is_bias else _MATRIX_SCHEMA
        with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
            for first_row, block in tensor.blocks():
                _check_finite(staged.tensor, block)
                writer.write_table(_table(first_row, block, staged.is_bias, len(tensor.shape)))
                digest.update(f"{staged.name} {first_row} {block.shape}".encode())
                digest.update(block.tobytes())
                progress(block.size)
    return digest.hexdigest()[:16]


_MATRIX_SCHEMA = pa.schema([("row_id", pa.int32()), ("vector", pa.list_(pa.float32()))])
_BIAS_SCHEMA = pa.schema([("row_id", pa.int32()), ("value", pa.float32())])


def _table(first_row: int, block: FloatArray, is_bias: bool, dimensions: int) -> pa.Table:
    """One block as an Arrow table. The weight of a norm, of one dimension, is one row."""
    if is_bias:
        row_ids = np.arange(first_row, first_row + len(block), dtype=np.int32)
        return pa.table([pa.array(row_ids), pa.array(block)], schema=_BIAS_SCHEMA)
    rows = block.reshape(1, -1) if dimensions == 1 else block
    row_ids = np.arange(first_row, first_row + len(rows), dtype=np.int32)
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(rows.shape[1])
    vectors = pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.reshape(-1)))
    return pa.table([pa.array(row_ids), vectors], schema=_MATRIX_SCHEMA)


def _check_finite(name: str, block: FloatArray) -> None:
    # A sum is NaN or infinite if any element is; only then is it worth looking closer.
    if not np.isfinite(block.sum(dtype=np.float64)) and not np.isfinite(block).all():
        raise CheckpointError(f"The tensor '{name}' holds NaN or infinity.")
