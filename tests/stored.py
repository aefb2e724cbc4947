"""The weights as a built project holds them, for the oracle to compute with."""

from __future__ import annotations

from copy import copy
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
    """The checkpoint's tensors with what the weight tables hold in their place."""
    tensors: dict[str, Tensor] = {}
    graph = run_passes(build_graph(checkpoint), storage, disabled)
    with open_database(project) as connection:
        for weight in graph.weights.values():
            if weight.rows == 1:
                continue
            if weight.blocks:
                columns = ", ".join(f"block_{i}" for i in range(weight.blocks))
                experts = " where expert_id >= 0 order by expert_id" if weight.num_experts else ""
                select = f"select {columns} from {weight.name}{experts}"
                blocks = [block for row in connection.execute(select).fetchall() for block in row]
                rows = [_row(row, weight) for block in blocks for row in block]
            else:
                relation = connection.execute(f"select * from {weight.name} order by row_id")
                names = [column[0] for column in relation.description]
                rows = [
                    _row(dict(zip(names, row, strict=True)), weight) for row in relation.fetchall()
                ]
            matrix, first = np.array(rows, np.float32), 0
            for part in weight.parts:
                part_rows = matrix[first : first + part.rows]
                tensors[part.tensor] = _tensor(part.tensor, part_rows)
                first += part.rows
    return _as_in_the_file(checkpoint, tensors)


def _as_in_the_file(checkpoint: Checkpoint, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The checkpoint's tensors, with the elements of `found` where its architecture has read them.

    Its elements are numbered, from 1, and read as it reads them: each number says whence an
    element of a tensor of the graph comes. 0 is of what the architecture puts beside them.
    """
    if graph_tensors(checkpoint) is checkpoint.tensors:
        return {**checkpoint.tensors, **found}
    values = [np.zeros(1, np.float32), *(t.read().ravel() for t in checkpoint.tensors.values())]
    flat, numbered, first = np.concatenate(values), copy(checkpoint), 1
    numbers: dict[str, Any] = {}
    for name, tensor in checkpoint.tensors.items():
        size = int(np.prod(tensor.shape))
        numbers[name] = np.arange(first, first + size, dtype=np.float64).reshape(tensor.shape)
        first += size
    numbered.tensors = {name: _tensor(name, rows) for name, rows in numbers.items()}
    for name, tensor in graph_tensors(numbered).items():
        if name in found:
            flat[tensor.read().astype(np.intp)] = found[name].read()
    return {name: _tensor(name, flat[rows.astype(np.intp)]) for name, rows in numbers.items()}


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
    return Tensor(name, rows.shape, "F32", lambda start, stop: rows[start:stop])
