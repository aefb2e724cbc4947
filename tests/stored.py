"""The weights as a built project holds them, for the oracle to compute with."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from relama.architectures import build_graph, graph_tensors
from relama.checkpoint import Checkpoint
from relama.checkpoint.base import FloatArray, Tensor
from relama.graph import Weight
from relama.passes import run_passes
from relama.project.manifest import Project
from relama.runtime.database import open_database


def stored_tensors(
    project: Project, checkpoint: Checkpoint, storage: str, disabled: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """The checkpoint's tensors with what the weight tables hold in their place.

    Norms and biases, which are never rounded, are the checkpoint's own.
    """
    found: dict[str, FloatArray] = {}
    graph = run_passes(build_graph(checkpoint), storage, disabled)
    with open_database(project) as connection:
        for weight in graph.weights.values():
            if weight.rows == 1:
                continue
            if weight.blocks:
                columns = ", ".join(f"block_{i}" for i in range(weight.blocks))
                blocks = connection.execute(f"select {columns} from {weight.name}").fetchall()[0]
                rows = [_row(row, weight) for block in blocks for row in block]
            else:
                relation = connection.execute(f"select * from {weight.name} order by row_id")
                names = [column[0] for column in relation.description]
                rows = [
                    _row(dict(zip(names, row, strict=True)), weight) for row in relation.fetchall()
                ]
            matrix, first = np.array(rows, np.float32), 0
            for part in weight.parts:
                found[part.tensor] = matrix[first : first + part.rows]
                first += part.rows
    return dict(checkpoint.tensors) | _under_names_of_the_file(found, checkpoint)


def _under_names_of_the_file(
    found: Mapping[str, FloatArray], checkpoint: Checkpoint
) -> dict[str, Tensor]:
    """Tensors of the graph put back to where the checkpoint has them: Phi-3's `qkv_proj`.

    The checkpoint's elements are numbered, to see where each element of the graph's comes from.
    """
    stored: Mapping[str, Tensor] = checkpoint.tensors
    sizes = [int(np.prod(tensor.shape)) for tensor in stored.values()]
    starts = dict(zip(stored, np.cumsum([0, *sizes[:-1]]), strict=True))
    values = np.full(sum(sizes), np.nan, np.float32)
    assert len(values) < 2**24, "numbers that float32 tells apart"
    numbered = copy.copy(checkpoint)
    numbered.tensors = {
        name: _tensor(name, np.arange(starts[name], starts[name] + size).reshape(tensor.shape))
        for (name, tensor), size in zip(stored.items(), sizes, strict=True)
    }
    numbers = graph_tensors(numbered)
    for name, matrix in found.items():
        values[numbers[name].read().astype(int)] = matrix
    back = {}
    for name, size in zip(stored, sizes, strict=True):
        rows = values[starts[name] : starts[name] + size].reshape(stored[name].shape)
        is_absent = np.isnan(rows)
        assert is_absent.all() or not is_absent.any(), f"a part of {name} alone is in tables"
        if not is_absent.any():
            back[name] = _tensor(name, rows)
    return back


def _row(row: Any, weight: Weight) -> FloatArray:
    """A row of the table, or of a block, as float32."""
    if weight.storage == "float32":
        return np.array(row["vector"] if isinstance(row, dict) else row, np.float32)
    codes = np.array(row["vector"], np.float64)
    if weight.storage == "int4":
        steps, zero_points = np.array(row["steps"], float), codes[:, 32] + codes[:, 33] / 16
        codes = (codes[:, :32] - zero_points[:, None]) * steps[:, None]
        codes = codes.ravel()[: weight.columns]
    return (codes * row["scale"]).astype(np.float32)


def _tensor(name: str, rows: FloatArray) -> Tensor:
    values = rows.astype(np.float32)
    return Tensor(name, rows.shape, "F32", lambda start, stop: values[start:stop])
