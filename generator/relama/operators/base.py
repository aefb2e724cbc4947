"""What every operator says of itself; each module of this package is one kind.

An operator's class holds its constants as fields, and answers four questions: which
shape comes out, how the documentation puts it into words, which columns its relation
has, and which data tests run on them. Its template and its macros have its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from relama.errors import GraphError

if TYPE_CHECKING:
    from relama.graph import Weight

#: What one `(sequence_id, position)` holds: `(hidden_size,)`, or `(heads, head_dim)` in rows.
Shape = tuple[int, ...]

#: The parts of the lineage that an operator can be in; each has a colour in dbt's docs.
Group = Literal["attention", "mlp", "hidden", "state"]

#: An entry of dbt's `data_tests`.
DataTest = dict[str, Any]

#: Where activations are tables, tests run on them; where they are not, there is nothing to test.
TRACED = {"enabled": "{{ var('relama_trace', false) }}"}


class Kind(StrEnum):
    """What an operator computes: a module of this package and a template have its name."""

    EMBEDDING = "embedding"
    RMS_NORM = "rms_norm"
    LINEAR = "linear"
    SHARED_KEY = "shared_key"
    ROTARY_EMBEDDING = "rotary_embedding"
    KV_APPEND = "kv_append"
    ATTENTION_WEIGHTS = "attention_weights"
    ATTENTION = "attention"
    RESIDUAL = "residual"
    SWIGLU = "swiglu"
    GEGLU = "geglu"
    ROUTER = "router"
    EXPERT_LINEAR = "expert_linear"
    MIXTURE = "mixture"
    LOGITS = "logits"


@dataclass(frozen=True)
class Words:
    """What the documentation says of an operator.

    Attributes:
        sentence: what it does, for someone who reads the lineage.
        formula: in the letters of `shapes`.
        shapes: of what goes in and of what comes out, `x: [48] -> y: [88]`.
    """

    sentence: str
    formula: str
    shapes: str


@dataclass(frozen=True)
class Reads:
    """What an operator reads, with what to call it in a message.

    Attributes:
        operator: name of the operator.
        kind: what it computes.
        inputs: shapes of its inputs, in their order.
        weight: the weight that it reads, if any.
    """

    operator: str
    kind: Kind
    inputs: tuple[Shape, ...]
    weight: Weight | None

    def expect(self, what: str, actual: object, expected: object) -> None:
        """Raises `GraphError` where the two are not equal."""
        if actual != expected:
            raise GraphError(
                f"'{self.operator}' ({self.kind}): {what} is {actual}, expected {expected}."
            )

    def some(self, *counts: int) -> tuple[Shape, ...]:
        """The shapes of the inputs. Raises `GraphError` where their number is none of `counts`."""
        if len(self.inputs) not in counts:
            expected = " or ".join(map(str, counts))
            self.expect("the number of inputs", len(self.inputs), expected)
        return self.inputs

    def the_weight(self) -> Weight:
        """The weight. Raises `GraphError` where there is none."""
        if self.weight is None:
            raise GraphError(f"'{self.operator}' ({self.kind}) needs a weight.")
        return self.weight

    @property
    def matrix(self) -> str:
        """The shape of the weight, `[rows, columns]`."""
        weight = self.the_weight()
        return bracket((weight.rows, weight.columns))


class Computation(ABC):
    """An operator without its place in a graph: what it computes, and with which constants.

    A subclass is a frozen dataclass. Its fields are the operator's attributes, which the
    architecture sets and the template reads.

    Attributes:
        kind: names the template.
        macros: what the template calls to compute it.
        group: the part of the lineage that it is in. A class attribute where a kind is
            always in the same one, otherwise a field.
        step_models: what it reads of the step itself beside its inputs, models of those names.
        state_tables: what it reads of earlier steps, tables that each layer has one of.
        only_traced: whether it is for people to read, and no step computes it.
    """

    kind: ClassVar[Kind]
    macros: ClassVar[tuple[str, ...]]
    step_models: ClassVar[tuple[str, ...]] = ()
    state_tables: ClassVar[tuple[str, ...]] = ()
    only_traced: ClassVar[bool] = False
    group: Group

    @abstractmethod
    def output_shape(self, reads: Reads) -> Shape:
        """The shape of what comes out. Raises `GraphError` where shapes do not fit."""

    @abstractmethod
    def words(self, reads: Reads, shape: Shape) -> Words:
        """Its sentence, formula and shapes, where `shape` comes out."""

    def columns(self, shape: Shape) -> Mapping[str, str]:
        """The columns behind `sequence_id` and `position`, with what they hold."""
        return {"vector": f"The hidden state, {bracket(shape)}."}

    def tests(self, reads: Reads, shape: Shape) -> list[DataTest]:
        """The data tests that run on its relation in a traced project."""
        return [{"relama.finite_vector": {"arguments": {"length": shape[-1]}, "config": TRACED}}]


def bracket(shape: Shape) -> str:
    """`[6, 8]`, as the documentation writes a shape."""
    return "[" + ", ".join(map(str, shape)) + "]"
