"""The intermediate representation: operators with names and shapes, no SQL.

A `Graph` is a list of operators in the order of the forward pass. Each reads
the outputs of earlier ones and at most one weight. Adding an operator checks
its shapes, so a graph that exists is consistent.

A shape is what one `(sequence_id, position)` holds: `(hidden_size,)` for a
hidden state, `(heads, head_dim)` for rows by head. What an operator computes, and
which shapes fit, its module in `operators/` knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from relama.config import ModelConfig, RopeParameters
from relama.errors import GraphError
from relama.operators.base import Computation, Kind, Reads, Shape
from relama.operators.grouped_query import GroupedQuery

__all__ = ["Graph", "Kind", "Operator", "Part", "Weight"]


@dataclass(frozen=True)
class Part:
    """A tensor of the checkpoint, and its bias, within a weight.

    Attributes:
        tensor: Hugging Face's name of the matrix or vector.
        rows: output features; 1 for the weight of a norm.
        bias: Hugging Face's name of the bias, shape `(rows,)`.
    """

    tensor: str
    rows: int
    bias: str | None = None


@dataclass(frozen=True)
class Weight:
    """A weight table: the rows of its parts one below the other.

    Attributes:
        name: name of the table.
        layer: the layer it belongs to, `None` outside the layers.
        parts: what it is made of, top to bottom.
        columns: length of every row.
        storage: how a row is stored, see `passes/choose_storage.py`.
        blocks: into how many blocks the rows are cut, or those of each expert, see
            `passes/cut_blocks.py`; 0 for a table of rows.
        num_experts: how many experts have the rows, one below the other; 0 where all of them
            belong to one matrix.
    """

    name: str
    layer: int | None
    parts: tuple[Part, ...]
    columns: int
    storage: str = "float32"
    blocks: int = 0
    num_experts: int = 0

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def has_bias(self) -> bool:
        return any(part.bias for part in self.parts)


@dataclass(frozen=True)
class Operator:
    """One step of the forward pass.

    Attributes:
        name: name of the operator and of the dbt model that computes it.
        computes: what it computes, with its constants; see `operators/`.
        layer: the layer it belongs to, `None` outside the layers.
        inputs: names of the operators that it reads, in the order of its kind.
        weight: name of the weight that it reads.
    """

    name: str
    computes: Computation
    layer: int | None
    inputs: tuple[str, ...] = ()
    weight: str | None = None

    @property
    def kind(self) -> Kind:
        return self.computes.kind


@dataclass
class Graph:
    """A forward pass.

    Attributes:
        config: the model's hyperparameters.
        weights: weight tables by name.
        operators: operators by name, in the order of the forward pass.
        shapes: output shape of every operator.
        rotary: the rotary embedding behind each model of angles that operators read, by name.
    """

    config: ModelConfig
    weights: dict[str, Weight] = field(default_factory=dict)
    operators: dict[str, Operator] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    rotary: dict[str, RopeParameters] = field(default_factory=dict)

    @property
    def windows(self) -> dict[int, int]:
        """How many positions a layer attends to, the query's own the last of them.

        A layer that is not there attends to all.
        """
        return {
            operator.layer: operator.computes.sliding_window
            for operator in self.operators.values()
            if isinstance(operator.computes, GroupedQuery)
            and operator.computes.sliding_window is not None
            and operator.layer is not None
        }

    def add_weight(self, weight: Weight) -> str:
        """Adds a weight and returns its name. Raises `GraphError` where the name is taken."""
        if weight.name in self.weights:
            raise GraphError(f"The weight '{weight.name}' is defined twice.")
        self.weights[weight.name] = weight
        return weight.name

    def add(self, operator: Operator) -> str:
        """Checks an operator's shapes, adds it and returns its name.

        Raises:
            GraphError: the name is taken, an input or a weight is unknown, shapes do not fit,
                or a layer reads more of what is before it than the hidden state.
        """
        if operator.name in self.operators:
            raise GraphError(f"The operator '{operator.name}' is defined twice.")
        for name in operator.inputs:
            if name not in self.operators:
                raise GraphError(f"'{operator.name}' reads '{name}', which is not defined before.")
            if self.operators[name].layer != operator.layer:
                self._check_handed_on(operator, name)
        if operator.weight is not None and operator.weight not in self.weights:
            raise GraphError(f"'{operator.name}' reads the unknown weight '{operator.weight}'.")
        self.shapes[operator.name] = operator.computes.output_shape(self.reads(operator))
        self.operators[operator.name] = operator
        return operator.name

    def _check_handed_on(self, operator: Operator, name: str) -> None:
        """Of what is before it, a layer reads the operator that comes last, and nothing else."""
        before = (o for o in reversed(self.operators.values()) if o.layer != operator.layer)
        last = next(before).name
        if name != last:
            raise GraphError(
                f"'{operator.name}' reads '{name}' of another layer, which hands on '{last}' only."
            )

    def reads(self, operator: Operator) -> Reads:
        """The shapes and the weight that an operator reads."""
        inputs = tuple(self.shapes[name] for name in operator.inputs)
        weight = self.weights[operator.weight] if operator.weight else None
        return Reads(operator.name, operator.kind, inputs, weight)

    def layer(self, index: int | None) -> Iterator[Operator]:
        """The operators of one layer, in order."""
        return (operator for operator in self.operators.values() if operator.layer == index)

    def appended(self, layer: int) -> Operator:
        """The operator whose rows go into the cache of a layer."""
        (found,) = (operator for operator in self.layer(layer) if operator.kind is Kind.KV_APPEND)
        return found

    def rebuilt(
        self, weights: Mapping[str, Weight], operators: Mapping[str, Operator] | None = None
    ) -> Graph:
        """The same model with other weights and operators, every shape checked again."""
        graph = Graph(self.config, rotary=self.rotary)
        for weight in weights.values():
            graph.add_weight(weight)
        for operator in (self.operators if operators is None else operators).values():
            graph.add(replace(operator))
        return graph
