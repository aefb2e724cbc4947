"""What decoders are composed of: each method adds operators, and returns the name of the last.

An architecture calls them in the order of its `modeling_*.py` in transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from relama import names
from relama.config import ModelConfig, RopeParameters
from relama.graph import Graph, Operator, Part, Weight
from relama.operators import (
    Attention,
    AttentionWeights,
    Embedding,
    Geglu,
    KvAppend,
    Linear,
    Logits,
    Residual,
    RmsNorm,
    RotaryEmbedding,
    Swiglu,
)
from relama.operators.base import Computation, Group

#: The models of the angles of rotary embedding: of most layers, and of those with a window.
ANGLES, LOCAL_ANGLES = "rotary_angles", "rotary_angles_local"


class Decoder:
    """A graph that grows, operator by operator.

    Attributes:
        graph: what has been added.
        layer: the layer that operators are added to, `None` outside the layers.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.graph = Graph(config, rotary={ANGLES: config.rope})
        self.layer: int | None = None

    def layers(self) -> Iterator[int]:
        """The layers, one by one: what is added meanwhile is part of them."""
        for layer in range(self.config.num_hidden_layers):
            self.layer = layer
            yield layer
        self.layer = None

    def add_angles(self, name: str, rope: RopeParameters) -> None:
        """Another table of rotary embedding, beside that of the config."""
        self.graph.rotary[name] = rope

    def embedding(self, multiplier: float = 1.0) -> str:
        """`embed_tokens`, every vector times a number."""
        config = self.config
        part = Part("model.embed_tokens.weight", config.vocab_size)
        self.graph.add_weight(Weight(names.EMBEDDING_WEIGHT, None, (part,), config.hidden_size))
        computes = Embedding(config.vocab_size, multiplier)
        return self._add("embedding", computes, weight=names.EMBEDDING_WEIGHT)

    def norm(
        self, name: str, hidden: str, module: str, group: Group, head_dim: int | None = None
    ) -> str:
        """An RMSNorm of a vector, or of each head in it.

        Args:
            module: its name in the layer, or outside the layers that in the model.
        """
        tensor = self._tensor(module, "weight")
        width = head_dim or self.graph.shapes[hidden][0]
        weight = self._weight(name, Part(tensor, rows=1), width)
        computes = RmsNorm(self.config.rms_norm_eps, group, head_dim)
        return self._add(name, computes, (hidden,), weight)

    def linear(
        self,
        name: str,
        hidden: str,
        module: str,
        rows: int,
        bias: bool = False,
        residual: str | None = None,
    ) -> str:
        """A linear layer, to which a residual stream is added where one is given.

        Args:
            module: the module of the layer that it is in, `self_attn` or `mlp`.
        """
        tensor = self._tensor(f"{module}.{name}", "weight")
        part = Part(tensor, rows, self._tensor(f"{module}.{name}", "bias") if bias else None)
        weight = self._weight(name, part, self.graph.shapes[hidden][0])
        inputs = (hidden,) if residual is None else (hidden, residual)
        return self._add(name, Linear(_GROUPS[module]), inputs, weight)

    def projections(self, hidden: str, bias: bool = False) -> tuple[str, str, str]:
        """`q_proj`, `k_proj` and `v_proj`."""
        config = self.config
        query_width = config.num_attention_heads * config.head_dim
        kv_width = config.num_key_value_heads * config.head_dim
        return (
            self.linear("q_proj", hidden, "self_attn", query_width, bias),
            self.linear("k_proj", hidden, "self_attn", kv_width, bias),
            self.linear("v_proj", hidden, "self_attn", kv_width, bias),
        )

    def attention(
        self,
        query: str,
        key: str,
        value: str,
        angles: str | None = ANGLES,
        scaling: float | None = None,
        softcap: float | None = None,
        sliding_window: int | None = None,
    ) -> str:
        """Rotary embedding and attention, without the linear layers about them.

        Args:
            angles: the table that queries and keys are turned by, `None` where they are not.
            sliding_window: one that no text is longer than is none.
        """
        config = self.config
        if sliding_window is not None and sliding_window >= config.max_position_embeddings:
            sliding_window = None
        heads: dict[str, Any] = {
            "num_attention_heads": config.num_attention_heads,
            "num_key_value_heads": config.num_key_value_heads,
            "head_dim": config.head_dim,
        }
        scores: dict[str, Any] = {
            "scaling": scaling,
            "softcap": softcap,
            "sliding_window": sliding_window,
        }
        counts = (config.num_attention_heads, config.num_key_value_heads)
        rotated = self._add(
            "rotary_embedding" if angles else "query_key",
            RotaryEmbedding(
                num_heads=counts,
                head_dim=config.head_dim,
                angles=angles,
                by_sequence=bool(angles and self.graph.rotary[angles].long_factor),
            ),
            (query, key),
        )
        appended = self._add("kv_append", KvAppend(**heads), (rotated, value))
        # Read by people only: `attention` computes the weights for itself, page by page.
        weights = AttentionWeights(**heads, **scores)
        self._add("attention_weights", weights, (rotated, appended))
        return self._add("attention", Attention(**heads, **scores), (rotated, appended))

    def gated_mlp(
        self,
        hidden: str,
        activation: type[Swiglu] | type[Geglu] = Swiglu,
        bias: bool = False,
        residual: str | None = None,
    ) -> str:
        """`gate_proj` and `up_proj`, the activation of the one times the other, `down_proj`."""
        size = self.config.intermediate_size
        gate = self.linear("gate_proj", hidden, "mlp", size, bias)
        up = self.linear("up_proj", hidden, "mlp", size, bias)
        activated = self._add(str(activation.kind), activation(size), (gate, up))
        width = self.config.hidden_size
        return self.linear("down_proj", activated, "mlp", width, bias, residual)

    def residual(self, name: str, hidden: str, residual: str, multiplier: float = 1.0) -> str:
        """The residual connection behind attention or MLP."""
        group: Group = "attention" if name.startswith("attention") else "mlp"
        return self._add(name, Residual(group, multiplier), (hidden, residual))

    def head(self, hidden: str, multiplier: float = 1.0, softcap: float | None = None) -> Graph:
        """The final norm and `lm_head`, with which the graph is complete."""
        config = self.config
        normed = self.norm("final_norm", hidden, "norm", "hidden")
        weight = names.EMBEDDING_WEIGHT
        if not config.tie_word_embeddings:
            part = Part("lm_head.weight", config.vocab_size)
            weight = self.graph.add_weight(
                Weight(names.HEAD_WEIGHT, None, (part,), config.hidden_size)
            )
        self._add("logits", Logits(config.vocab_size, multiplier, softcap), (normed,), weight)
        return self.graph

    def _add(
        self,
        name: str,
        computes: Computation,
        inputs: tuple[str, ...] = (),
        weight: str | None = None,
    ) -> str:
        own = names.operator(name, self.layer)
        return self.graph.add(Operator(own, computes, self.layer, inputs, weight))

    def _weight(self, name: str, part: Part, columns: int) -> str:
        table = names.weight(names.operator(name, self.layer))
        return self.graph.add_weight(Weight(table, self.layer, (part,), columns))

    def _tensor(self, module: str, kind: str) -> str:
        layer = "" if self.layer is None else f"layers.{self.layer}."
        return f"model.{layer}{module}.{kind}"


_GROUPS: dict[str, Group] = {"self_attn": "attention", "mlp": "mlp"}
