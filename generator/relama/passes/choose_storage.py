"""Chooses how each weight is stored.

`float32` keeps a row as `FLOAT[]`. `int8` keeps it as `TINYINT[]` with one scale
a row (LLM.int8, arXiv 2208.07339, section 2.1, row-wise). `int4` keeps groups of
32 with a step and a zero point each; see `relama.storage` and `macros/storage/`.

The weights of norms stay float32: they are few, and everything is multiplied by them. So do
those of routers and gates, which decide what is computed. In int4 the embedding and the output
head, which lose most, are `int567`: rows with one scale, of 7 bits for frequent tokens, 6 for
others and 5 for rare ones.
"""

from __future__ import annotations

from dataclasses import replace

from relama.graph import Graph, Kind
from relama.storage import STORAGES

_EXACT = "float32"
#: What multiplies with whole matrices.
MULTIPLIED = {Kind.LINEAR, Kind.EXPERT_LINEAR}


def choose_storage(graph: Graph, storage: str) -> Graph:
    """Marks every matrix with its storage; what norms, routers and gates read stays float32."""
    deciding: set[str] = set()
    for operator in graph.operators.values():
        if operator.kind is Kind.ROUTER:
            deciding |= {*operator.inputs}
        elif operator.kind is Kind.RESIDUAL:
            deciding |= {*operator.inputs[2:]}
    exact = {graph.operators[name].weight for name in deciding}
    readers: dict[str, set[Kind]] = {}
    for operator in graph.operators.values():
        if operator.weight:
            readers.setdefault(operator.weight, set()).add(operator.kind)

    tables = STORAGES[storage].tables
    assert tables is not None, f"'{storage}' says how the embedding is stored"

    def chosen(name: str) -> str:
        if name in exact or readers.get(name) in ({Kind.RMS_NORM}, {Kind.ROUTER}):
            return _EXACT
        return storage if readers.get(name, {Kind.EMBEDDING}) <= MULTIPLIED else tables

    return graph.rebuilt(
        {name: replace(weight, storage=chosen(name)) for name, weight in graph.weights.items()}
    )
