"""Fuses the query, key and value projections of a layer into one matmul.

The three read the same input, so their matrices stand one below the other in
one table: one scan and one grouping instead of three.
"""

from __future__ import annotations

from dataclasses import replace

from relama import names
from relama.graph import Graph, Kind, Operator
from relama.operators import KvAppend, RotaryEmbedding
from relama.passes.rewrite import Stack, can_stack, readers, stack_matmuls


def fuse_qkv(graph: Graph) -> Graph:
    """Replaces the three matmuls by `qkv_proj` where nothing stands behind them.

    The rotary embedding then reads its heads from the front of the fused
    vector, where queries and keys stand side by side; the values follow.
    """
    read_by = readers(graph)
    stacks = []
    for rotary in graph.operators.values():
        if rotary.kind is Kind.ROTARY_EMBEDDING and len(rotary.inputs) == 2:
            for name in read_by[rotary.name]:
                append = graph.operators[name]
                if append.kind is Kind.KV_APPEND and _is_alone(graph, read_by, rotary, append):
                    stacks.append(_stack(graph, rotary, append))
    return stack_matmuls(graph, stacks)


def _is_alone(
    graph: Graph, read_by: dict[str, list[str]], rotary: Operator, append: Operator
) -> bool:
    """Whether queries, keys and values are matmuls of one input that nothing else reads."""
    query, key, value = *rotary.inputs, append.inputs[1]
    return (
        can_stack(graph, (query, key, value))
        and read_by[query] == read_by[key] == [rotary.name]
        and read_by[value] == [append.name]
    )


def _stack(graph: Graph, rotary: Operator, append: Operator) -> Stack:
    fused = names.operator("qkv_proj", rotary.layer)
    matmuls = (*rotary.inputs, append.inputs[1])
    width = sum(graph.shapes[name][0] for name in rotary.inputs)
    assert isinstance(rotary.computes, RotaryEmbedding) and isinstance(append.computes, KvAppend)
    turned = replace(rotary.computes, num_heads=(sum(rotary.computes.num_heads),))
    appended = replace(append.computes, value_offset=width)
    changed = (
        replace(rotary, inputs=(fused,), computes=turned),
        replace(append, inputs=(rotary.name, fused), computes=appended),
    )
    return Stack(matmuls, "qkv_proj", {operator.name: operator for operator in changed})
