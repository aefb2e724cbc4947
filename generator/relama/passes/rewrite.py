"""What the fusing passes share: stacking matmuls that read the same input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from relama import names
from relama.graph import Graph, Kind, Operator, Weight


@dataclass(frozen=True)
class Stack:
    """Matmuls to be made one, with their rows stacked.

    Attributes:
        matmuls: names of the operators, top to bottom.
        base: what the new one is called in its layer.
        readers: what reads them, by name, as it is to read the new one.
    """

    matmuls: tuple[str, ...]
    base: str
    readers: Mapping[str, Operator]


def readers(graph: Graph) -> dict[str, list[str]]:
    """The operators that read each operator, by name."""
    found: dict[str, list[str]] = {name: [] for name in graph.operators}
    for operator in graph.operators.values():
        for source in operator.inputs:
            found[source].append(operator.name)
    return found


def can_stack(graph: Graph, matmuls: Iterable[str]) -> bool:
    """Whether operators are linear layers, with nothing added, of the same input."""
    operators = [graph.operators[name] for name in matmuls]
    return len({operator.inputs for operator in operators}) == 1 and all(
        operator.kind is Kind.LINEAR and len(operator.inputs) == 1 for operator in operators
    )


def stack_matmuls(graph: Graph, stacks: Sequence[Stack]) -> Graph:
    """The graph with each stack's matmuls made one, in the place of the first."""
    first = {stack.matmuls[0]: stack for stack in stacks}
    gone = {name for stack in stacks for name in stack.matmuls[1:]}
    reread = {name: operator for stack in stacks for name, operator in stack.readers.items()}
    weights: dict[str, Weight] = dict(graph.weights)
    operators: dict[str, Operator] = {}
    for operator in graph.operators.values():
        if operator.name in first:
            stack = first[operator.name]
            fused = names.operator(stack.base, operator.layer)
            stacked = [weights[_weight(graph, name)] for name in stack.matmuls]
            parts = tuple(part for weight in stacked for part in weight.parts)
            new = replace(stacked[0], name=names.weight(fused), parts=parts)
            weights = _replaced(weights, stacked, new)
            operators[fused] = replace(operator, name=fused, weight=new.name)
        elif operator.name not in gone:
            operators[operator.name] = reread.get(operator.name, operator)
    return graph.rebuilt(weights, operators)


def _weight(graph: Graph, name: str) -> str:
    weight = graph.operators[name].weight
    assert weight is not None, f"a matmul has a weight, '{name}' too"
    return weight


def _replaced(weights: dict[str, Weight], old: Sequence[Weight], new: Weight) -> dict[str, Weight]:
    """`weights` with `new` in the place of the first of `old`, the others left out."""
    out: dict[str, Weight] = {}
    for name, weight in weights.items():
        if name == old[0].name:
            out[new.name] = new
        elif weight not in old:
            out[name] = weight
    return out
