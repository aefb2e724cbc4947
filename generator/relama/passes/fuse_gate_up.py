"""Fuses the gate and up projections of a layer into one matmul.

Both read the output of `mlp_norm`; SwiGLU then takes the two halves of one
vector.
"""

from __future__ import annotations

from dataclasses import replace

from relama.graph import Graph, Kind, Operator
from relama.passes.rewrite import stack_matmuls


def fuse_gate_up(graph: Graph) -> Graph:
    """Replaces `gate_proj` and `up_proj` by `gate_up_proj` in every layer."""

    def reread(operator: Operator, fused: str) -> Operator:
        if operator.kind is Kind.SWIGLU:
            return replace(operator, inputs=(fused,))
        return operator

    return stack_matmuls(graph, ("gate_proj", "up_proj"), "gate_up_proj", reread)
