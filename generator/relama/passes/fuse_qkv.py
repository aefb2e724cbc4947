"""Fuses the query, key and value projections of a layer into one matmul.

The three read the same input, so their matrices stand one below the other in
one table: one scan and one grouping instead of three.
"""

from __future__ import annotations

from dataclasses import replace

from relama.graph import Graph, Kind, Operator
from relama.passes.rewrite import stack_matmuls


def fuse_qkv(graph: Graph) -> Graph:
    """Replaces `q_proj`, `k_proj`, `v_proj` by `qkv_proj` in every layer.

    The rotary embedding then reads its heads from the front of the fused
    vector, where queries and keys stand side by side; the values follow.
    """
    config = graph.config
    names = ("q_proj", "k_proj", "v_proj")
    heads = config.num_attention_heads + config.num_key_value_heads

    def reread(operator: Operator, fused: str) -> Operator:
        if operator.kind is Kind.ROTARY_EMBEDDING:
            return replace(operator, inputs=(fused,), attributes={"num_heads": (heads,)})
        if operator.kind is Kind.KV_APPEND:
            offset = {"value_offset": heads * config.head_dim}
            return replace(operator, inputs=(operator.inputs[0], fused), attributes=offset)
        return operator

    return stack_matmuls(graph, names, "qkv_proj", reread)
