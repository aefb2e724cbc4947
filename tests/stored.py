"""The weights as a built project holds them, for the oracle to compute with."""

from __future__ import annotations

from typing import Any

import numpy as np

from relama.architectures import build_graph
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
    tensors = dict(checkpoint.tensors)
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
    return tensors


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
