"""Chooses how each weight is stored.

`float32` keeps a row as `FLOAT[]`. `int8` keeps it as `TINYINT[]` with one scale
a row (LLM.int8, arXiv 2208.07339, section 2.1, row-wise). The weights of norms
stay float32: they are few, and everything is multiplied by them.
"""

from __future__ import annotations

from dataclasses import replace

from generator.graph import Graph, Kind

#: What `relama new --storage` takes.
STORAGES = ("float32", "int8")


def choose_storage(graph: Graph, storage: str) -> Graph:
    """Marks every matrix with the storage; the weights of norms stay float32."""
    norms = {o.weight for o in graph.operators.values() if o.kind is Kind.RMS_NORM}
    return graph.rebuilt(
        {
            name: weight if name in norms else replace(weight, storage=storage)
            for name, weight in graph.weights.items()
        }
    )
