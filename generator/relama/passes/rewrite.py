"""What the fusing passes share: stacking matmuls that read the same input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from relama.graph import Graph, Operator, Weight


def stack_matmuls(
    graph: Graph,
    names: Sequence[str],
    fused_name: str,
    reread: Callable[[Operator, str], Operator],
) -> Graph:
    """In every layer, replaces the matmuls `names` by one with their rows stacked.

    Args:
        graph: the graph to rewrite; it is not changed.
        names: the operators without their `layer_NN__` prefix, top to bottom.
        fused_name: the new operator, likewise without its prefix.
        reread: gives each later operator of the layer its new inputs, from the
            operator and the full name of the fused one.
    """
    operators: dict[str, Operator] = {}
    weights: dict[str, Weight] = dict(graph.weights)
    for operator in graph.operators.values():
        prefix, _, name = operator.name.rpartition("__")
        if name == names[0]:
            fused = f"{prefix}__{fused_name}"
            stacked = [graph.weights[f"{prefix}__{part}_weight"] for part in names]
            parts = tuple(part for weight in stacked for part in weight.parts)
            weights = _replaced(
                weights, stacked, replace(stacked[0], name=f"{fused}_weight", parts=parts)
            )
            operators[fused] = replace(operator, name=fused, weight=f"{fused}_weight")
        elif name not in names:
            fused = (
                f"layer_{operator.layer:02d}__{fused_name}" if operator.layer is not None else ""
            )
            operators[operator.name] = reread(operator, fused)
    return graph.rebuilt(weights, operators)


def _replaced(weights: dict[str, Weight], old: Sequence[Weight], new: Weight) -> dict[str, Weight]:
    """`weights` with `new` in the place of the first of `old`, the others left out."""
    out: dict[str, Weight] = {}
    for name, weight in weights.items():
        if name == old[0].name:
            out[new.name] = new
        elif weight not in old:
            out[name] = weight
    return out
