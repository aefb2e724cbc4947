"""The intermediate representation: operators with names and shapes, no SQL.

A `Graph` is a list of operators in the order of the forward pass. Each reads
the outputs of earlier ones and at most one weight. Adding an operator checks
its shapes, so a graph that exists is consistent.

A shape is what one `(sequence_id, position)` holds: `(hidden_size,)` for a
hidden state, `(heads, head_dim)` for rows by head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from relama.config import ModelConfig
from relama.errors import GraphError

Shape = tuple[int, ...]


class Kind(StrEnum):
    """What an operator computes. Each kind has a macro of the same name."""

    EMBEDDING = "embedding"
    RMS_NORM = "rms_norm"
    MATMUL = "matmul"
    ROTARY_EMBEDDING = "rotary_embedding"
    KV_APPEND = "kv_append"
    ATTENTION_WEIGHTS = "attention_weights"
    ATTENTION = "attention"
    SWIGLU = "swiglu"
    LOGITS = "logits"


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
        blocks: into how many blocks the rows are cut, see `passes/cut_blocks.py`;
            0 for a table of rows.
    """

    name: str
    layer: int | None
    parts: tuple[Part, ...]
    columns: int
    storage: str = "float32"
    blocks: int = 0

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
        kind: what it computes.
        layer: the layer it belongs to, `None` outside the layers.
        inputs: names of the operators that it reads, in the order of its kind.
        weight: name of the weight that it reads.
        attributes: constants of the operator, such as `eps` or `num_heads`.
    """

    name: str
    kind: Kind
    layer: int | None
    inputs: tuple[str, ...] = ()
    weight: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Graph:
    """A forward pass.

    Attributes:
        config: the model's hyperparameters.
        weights: weight tables by name.
        operators: operators by name, in the order of the forward pass.
        shapes: output shape of every operator.
    """

    config: ModelConfig
    weights: dict[str, Weight] = field(default_factory=dict)
    operators: dict[str, Operator] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def add_weight(self, weight: Weight) -> str:
        """Adds a weight and returns its name. Raises `GraphError` where the name is taken."""
        if weight.name in self.weights:
            raise GraphError(f"The weight '{weight.name}' is defined twice.")
        self.weights[weight.name] = weight
        return weight.name

    def add(self, operator: Operator) -> str:
        """Checks an operator's shapes, adds it and returns its name.

        Raises:
            GraphError: the name is taken, an input or a weight is unknown, or
                shapes do not fit.
        """
        if operator.name in self.operators:
            raise GraphError(f"The operator '{operator.name}' is defined twice.")
        for name in operator.inputs:
            if name not in self.operators:
                raise GraphError(f"'{operator.name}' reads '{name}', which is not defined before.")
        if operator.weight is not None and operator.weight not in self.weights:
            raise GraphError(f"'{operator.name}' reads the unknown weight '{operator.weight}'.")
        self.shapes[operator.name] = _OUTPUT_SHAPE[operator.kind](self, operator)
        self.operators[operator.name] = operator
        return operator.name

    def layer(self, index: int | None) -> Iterator[Operator]:
        """The operators of one layer, in order."""
        return (operator for operator in self.operators.values() if operator.layer == index)

    def rebuilt(
        self, weights: Mapping[str, Weight], operators: Mapping[str, Operator] | None = None
    ) -> Graph:
        """The same model with other weights and operators, every shape checked again."""
        graph = Graph(self.config)
        for weight in weights.values():
            graph.add_weight(weight)
        for operator in (self.operators if operators is None else operators).values():
            graph.add(replace(operator))
        return graph


def _expect(operator: Operator, what: str, actual: object, expected: object) -> None:
    if actual != expected:
        raise GraphError(
            f"'{operator.name}' ({operator.kind}): {what} is {actual}, expected {expected}."
        )


def _weight(graph: Graph, operator: Operator) -> Weight:
    if operator.weight is None:
        raise GraphError(f"'{operator.name}' ({operator.kind}) needs a weight.")
    return graph.weights[operator.weight]


def _inputs(graph: Graph, operator: Operator, *counts: int) -> list[Shape]:
    if len(operator.inputs) not in counts:
        _expect(
            operator, "the number of inputs", len(operator.inputs), " or ".join(map(str, counts))
        )
    return [graph.shapes[name] for name in operator.inputs]


def _embedding(graph: Graph, operator: Operator) -> Shape:
    _inputs(graph, operator, 0)
    weight = _weight(graph, operator)
    _expect(operator, "the vocabulary", weight.rows, graph.config.vocab_size)
    return (weight.columns,)


def _rms_norm(graph: Graph, operator: Operator) -> Shape:
    (hidden,) = _inputs(graph, operator, 1)
    weight = _weight(graph, operator)
    _expect(operator, "the weight's shape", (weight.rows, weight.columns), (1, *hidden))
    return hidden


def _matmul(graph: Graph, operator: Operator) -> Shape:
    hidden, *residual = _inputs(graph, operator, 1, 2)
    weight = _weight(graph, operator)
    _expect(operator, "the weight's row length", (weight.columns,), hidden)
    if residual:
        _expect(operator, "the residual's shape", residual[0], (weight.rows,))
    return (weight.rows,)


def _rotary_embedding(graph: Graph, operator: Operator) -> Shape:
    config = graph.config
    heads = config.num_attention_heads + config.num_key_value_heads
    widths = _inputs(graph, operator, 1, 2)
    counts = operator.attributes["num_heads"]
    _expect(operator, "the number of rotated heads", sum(counts), heads)
    for (width,), count in zip(widths, counts, strict=True):
        if width < count * config.head_dim:
            _expect(operator, "an input's width", width, f"at least {count * config.head_dim}")
    return (heads, config.head_dim)


def _kv_append(graph: Graph, operator: Operator) -> Shape:
    config = graph.config
    rotated, values = _inputs(graph, operator, 2)
    heads = config.num_attention_heads + config.num_key_value_heads
    _expect(operator, "the rotated heads' shape", rotated, (heads, config.head_dim))
    width = operator.attributes["value_offset"] + config.num_key_value_heads * config.head_dim
    _expect(operator, "the values' width", values, (width,))
    return (config.num_key_value_heads, config.head_dim)


def _attention_weights(graph: Graph, operator: Operator) -> Shape:
    config = graph.config
    _heads_and_keys(graph, operator)
    return (config.num_attention_heads,)


def _attention(graph: Graph, operator: Operator) -> Shape:
    config = graph.config
    _heads_and_keys(graph, operator)
    return (config.num_attention_heads * config.head_dim,)


def _heads_and_keys(graph: Graph, operator: Operator) -> None:
    config = graph.config
    rotated, new = _inputs(graph, operator, 2)
    _expect(operator, "the heads' width", rotated[1], config.head_dim)
    _expect(operator, "the keys' shape", new, (config.num_key_value_heads, config.head_dim))


def _swiglu(graph: Graph, operator: Operator) -> Shape:
    shapes = _inputs(graph, operator, 1, 2)
    size = graph.config.intermediate_size
    _expect(operator, "the width of gate and up", sum(shape[0] for shape in shapes), 2 * size)
    return (size,)


def _logits(graph: Graph, operator: Operator) -> Shape:
    (hidden,) = _inputs(graph, operator, 1)
    weight = _weight(graph, operator)
    _expect(
        operator,
        "the head's shape",
        (weight.rows, weight.columns),
        (graph.config.vocab_size, *hidden),
    )
    return (weight.rows,)


_OUTPUT_SHAPE: dict[Kind, Callable[[Graph, Operator], Shape]] = {
    Kind.EMBEDDING: _embedding,
    Kind.RMS_NORM: _rms_norm,
    Kind.MATMUL: _matmul,
    Kind.ROTARY_EMBEDDING: _rotary_embedding,
    Kind.KV_APPEND: _kv_append,
    Kind.ATTENTION_WEIGHTS: _attention_weights,
    Kind.ATTENTION: _attention,
    Kind.SWIGLU: _swiglu,
    Kind.LOGITS: _logits,
}
