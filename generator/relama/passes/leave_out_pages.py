"""Lets attention read the KV cache as it is, where a database has no use for pages of it.

Pages are DuckDB's: they turn values around once, for its inner product (docs/decisions/0010).
"""

from __future__ import annotations

from dataclasses import replace

from relama.graph import Graph
from relama.operators.attention import Attention


def leave_out_pages(graph: Graph) -> Graph:
    """The same graph, whose attention reads no pages."""
    operators = {
        name: replace(operator, computes=replace(operator.computes, in_pages=False))
        if isinstance(operator.computes, Attention)
        else operator
        for name, operator in graph.operators.items()
    }
    return graph.rebuilt(graph.weights, operators)
