"""The graph as `relama.json` keeps it: what a step computes from what, and all shapes.

Plain dbt needs none of it. The runtime puts statements together by it and plans a memory
limit, and whoever wants to know a project's shapes need not look for them in SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from relama.graph import Graph, Kind, Part, Weight
from relama.operators.base import Shape


@dataclass(frozen=True)
class KeptOperator:
    """An operator, without the constants that its model is written with.

    Attributes:
        kind: what it computes.
        layer: the layer it belongs to, `None` outside the layers.
        inputs: the models that it reads, those of the step itself before operators.
        weight: name of the weight that it reads, if any.
        shape: of what comes out for one position, `(hidden_size,)` or `(heads, head_dim)`.
    """

    kind: Kind
    layer: int | None
    inputs: tuple[str, ...]
    weight: str | None
    shape: Shape


@dataclass(frozen=True)
class KeptGraph:
    """What a project computes.

    Attributes:
        operators: by name, in the order of the forward pass.
        weights: weight tables by name.
        inputs: the models that each model of a step reads, operators and others; weights and
            what earlier steps have left are tables, and not among them.
        windows: how many positions a layer attends to, of layers that do not attend to all.
    """

    operators: Mapping[str, KeptOperator]
    weights: Mapping[str, Weight]
    inputs: Mapping[str, tuple[str, ...]]
    windows: Mapping[int, int]

    def readers(self, weight: str) -> set[Kind]:
        """The kinds of operators that read a weight."""
        return {operator.kind for operator in self.operators.values() if operator.weight == weight}

    def share(self, weight: Weight) -> float:
        """The part of a weight that a token reads: of experts, those that it is sent to."""
        if not weight.num_experts:
            return 1.0
        (chosen,) = (
            operator.shape[0]
            for operator in self.operators.values()
            if operator.kind is Kind.ROUTER and operator.layer == weight.layer
        )
        return chosen / weight.num_experts


def graph_fields(graph: Graph) -> dict[str, Any]:
    """The graph as fields of JSON: `operators` and `weights` by name, `windows` by layer."""
    operators = {
        operator.name: {
            "kind": operator.kind,
            "layer": operator.layer,
            "inputs": [*operator.computes.step_models, *operator.inputs],
            "weight": operator.weight,
            "shape": graph.shapes[operator.name],
        }
        for operator in graph.operators.values()
    }
    weights = {
        weight.name: {
            "layer": weight.layer,
            "rows": weight.rows,
            "columns": weight.columns,
            "storage": weight.storage,
            "blocks": weight.blocks,
            "num_experts": weight.num_experts,
            "tensors": [asdict(part) for part in weight.parts],
        }
        for weight in graph.weights.values()
    }
    windows = {str(layer): window for layer, window in graph.windows.items()}
    return {"operators": operators, "weights": weights, "windows": windows}


def kept_graph(
    operators: Mapping[str, Any],
    weights: Mapping[str, Any],
    inputs: Mapping[str, Any],
    windows: Mapping[str, int],
) -> KeptGraph:
    """Reads what `graph_fields` gives.

    Args:
        inputs: the models that each model of a step reads that is no operator.

    Raises:
        KeyError, TypeError, ValueError: a field is missing, or is not what it should be.
    """
    kept = {
        name: KeptOperator(
            Kind(fields["kind"]),
            fields["layer"],
            tuple(fields["inputs"]),
            fields["weight"],
            tuple(fields["shape"]),
        )
        for name, fields in operators.items()
    }
    tables = {
        name: Weight(
            name,
            fields["layer"],
            tuple(Part(**part) for part in fields["tensors"]),
            fields["columns"],
            fields["storage"],
            fields["blocks"],
            fields.get("num_experts", 0),
        )
        for name, fields in weights.items()
    }
    others = {name: tuple(models) for name, models in inputs.items()}
    read = {name: operator.inputs for name, operator in kept.items()} | others
    return KeptGraph(kept, tables, read, {int(layer): windows[layer] for layer in windows})
