"""Fuses the gate and up projections of a layer into one matmul.

Both read the output of `mlp_norm`; SwiGLU then takes the two halves of one
vector.
"""

from __future__ import annotations

from dataclasses import replace

from relama import names
from relama.graph import Graph, Kind
from relama.passes.rewrite import Stack, can_stack, readers, stack_matmuls


def fuse_gate_up(graph: Graph) -> Graph:
    """Replaces the two matmuls that a gated activation alone reads by `gate_up_proj`."""
    read_by = readers(graph)
    stacks = []
    for swiglu in graph.operators.values():
        if (
            swiglu.kind in (Kind.SWIGLU, Kind.GEGLU)
            and len(swiglu.inputs) == 2
            and can_stack(graph, swiglu.inputs)
            and all(read_by[name] == [swiglu.name] for name in swiglu.inputs)
        ):
            prefix = names.parsed(swiglu.name).base.removesuffix(str(swiglu.kind))
            fused = f"{prefix}gate_up_proj"
            reading = replace(swiglu, inputs=(names.operator(fused, swiglu.layer),))
            stacks.append(Stack(swiglu.inputs, fused, {swiglu.name: reading}))
    return stack_matmuls(graph, stacks)
