"""Chooses how each weight is stored.

`float32` keeps a row as `FLOAT[]`. `int8` keeps it as `TINYINT[]` with one scale
a row (LLM.int8, arXiv 2208.07339, section 2.1, row-wise). `int4` keeps groups of
32 with a step and a zero point each; see the macros `quantize_int8` and
`quantize_int4`.

The weights of norms stay float32: they are few, and everything is multiplied by
them. In int4 the embedding and the output head, which lose most, are `int6`: rows
with one scale, of 7 bits for frequent tokens and down to 5 for rare ones (macro
`quantize_int6`).
"""

from __future__ import annotations

from dataclasses import replace

from relama.graph import Graph, Kind

#: What `relama new --storage` takes.
STORAGES = ("float32", "int8", "int4")


def choose_storage(graph: Graph, storage: str) -> Graph:
    """Marks every matrix with its storage; what only norms read stays float32."""
    readers: dict[str, set[Kind]] = {}
    for operator in graph.operators.values():
        if operator.weight:
            readers.setdefault(operator.weight, set()).add(operator.kind)

    def chosen(name: str) -> str:
        if readers.get(name) == {Kind.RMS_NORM}:
            return "float32"
        return "int6" if storage == "int4" and readers.get(name) != {Kind.MATMUL} else storage

    return graph.rebuilt(
        {name: replace(weight, storage=chosen(name)) for name, weight in graph.weights.items()}
    )
