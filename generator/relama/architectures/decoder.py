"""What decoders are composed of: each method adds operators, and returns the name of the last.

An architecture calls them in the order of its `modeling_*.py` in transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from relama import names
from relama.architectures.experts import Experts
from relama.config import ModelConfig, RopeParameters
from relama.graph import Graph, Operator, Part, Weight
from relama.operators import (
    Attention,
    AttentionWeights,
    Embedding,
    ExpertLinear,
    Geglu,
    KvAppend,
    Linear,
    Logits,
    Mixture,
    Residual,
    RmsNorm,
    RotaryEmbedding,
    Router,
    SharedKey,
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
        self,
        name: str,
        hidden: str,
        module: str,
        group: Group,
        head_dim: int | None = None,
        eps: float | None = None,
    ) -> str:
        """An RMSNorm of a vector, or of each head in it.

        Args:
            module: its name in the layer, or outside the layers that in the model.
            eps: where it is not the config's.
        """
        tensor = self._tensor(module, "weight")
        width = head_dim or self.graph.shapes[hidden][0]
        weight = self._weight(name, Part(tensor, rows=1), width)
        computes = RmsNorm(eps or self.config.rms_norm_eps, group, head_dim)
        return self._add(name, computes, (hidden,), weight)

    def linear(
        self,
        name: str,
        hidden: str,
        module: str,
        rows: int,
        bias: bool = False,
        residual: str | None = None,
        tensor: str | None = None,
    ) -> str:
        """A linear layer, to which a residual stream is added where one is given.

        Args:
            module: the module of the layer that it is in, `self_attn` or `mlp`.
            tensor: its name in that module, where it is another.
        """
        module_name = f"{module}.{tensor or name}"
        bias_tensor = self._tensor(module_name, "bias") if bias else None
        part = Part(self._tensor(module_name, "weight"), rows, bias_tensor)
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

    def shared_key(self, own: str, shared: str) -> str:
        """Keys, the middle of whose halves is one for all heads; see the operator."""
        config = self.config
        computes = SharedKey(
            config.num_key_value_heads, config.head_dim, self.graph.shapes[shared][0]
        )
        return self._add("shared_key", computes, (own, shared))

    def attention(
        self,
        query: str,
        key: str,
        value: str,
        angles: str | None = ANGLES,
        scaling: float | None = None,
        softcap: float | None = None,
        sliding_window: int | None = None,
        value_offset: int = 0,
    ) -> str:
        """Rotary embedding and attention, without the linear layers about them.

        Args:
            angles: the table that queries and keys are turned by, `None` where they are not.
            sliding_window: one that no text is longer than is none.
            value_offset: where in their vector the values begin.
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
        appended = self._add(
            "kv_append", KvAppend(**heads, value_offset=value_offset), (rotated, value)
        )
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
        size: int | None = None,
        module: str = "",
    ) -> str:
        """`gate_proj` and `up_proj`, the activation of the one times the other, `down_proj`.

        Args:
            size: the width of the first two, if not `intermediate_size`.
            module: the module within `mlp` that it is, `shared_expert` or none.
        """
        size = size or self.config.intermediate_size
        prefix = f"{module}_" if module else ""

        def linear(name: str, x: str, rows: int, residual: str | None = None) -> str:
            tensor = f"{module}.{name}" if module else None
            return self.linear(f"{prefix}{name}", x, "mlp", rows, bias, residual, tensor)

        gate, up = linear("gate_proj", hidden, size), linear("up_proj", hidden, size)
        activated = self._add(f"{prefix}{activation.kind}", activation(size), (gate, up))
        return linear("down_proj", activated, self.config.hidden_size, residual)

    def mixture(self, hidden: str, experts: Experts, residual: str) -> str:
        """A router, the MLP of each expert that it chooses, and their weighted sum.

        Reads the tensors that `architectures/experts.py` makes.

        Args:
            residual: the residual stream, with what an expert gave that all tokens share.
        """
        counts = experts.num_experts, experts.num_experts_per_tok
        logits = self.linear("router_logits", hidden, "mlp", counts[0], tensor="gate")
        correction = None
        if experts.has_correction:
            part = Part(self._tensor("mlp.e_score_correction_bias", "weight"), rows=1)
            correction = self._weight("router", part, counts[0])
        computes = Router(*counts, experts.norm_topk_prob, **experts.routing)
        router = self._add("router", computes, (logits,), correction)
        size, width = experts.intermediate_size, self.config.hidden_size

        def linear(name: str, rows: int, columns: int, inputs: tuple[str, ...]) -> str:
            tensor = self._tensor(f"mlp.{name}", "weight")
            part = Part(tensor, counts[0] * rows)
            weight = self._weight(name, part, columns, counts[0])
            return self._add(name, ExpertLinear(*counts), inputs, weight)

        gate_up = linear("experts_gate_up_proj", 2 * size, width, (hidden, router))
        activated = self._add("experts_swiglu", Swiglu(size, by_expert=True), (gate_up,))
        down = linear("experts_down_proj", width, size, (activated,))
        return self._add("mixture", Mixture(), (down, residual))

    def residual(
        self,
        name: str,
        hidden: str,
        residual: str,
        multiplier: float = 1.0,
        gate: str | None = None,
    ) -> str:
        """The residual connection behind attention or MLP, whose gate is one number, if any."""
        group: Group = "attention" if name.startswith("attention") else "mlp"
        inputs = (hidden, residual) if gate is None else (hidden, residual, gate)
        return self._add(name, Residual(group, multiplier), inputs)

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

    def _weight(self, name: str, part: Part, columns: int, num_experts: int = 0) -> str:
        table = names.weight(names.operator(name, self.layer))
        weight = Weight(table, self.layer, (part,), columns, num_experts=num_experts)
        return self.graph.add_weight(weight)

    def _tensor(self, module: str, kind: str) -> str:
        layer = "" if self.layer is None else f"layers.{self.layer}."
        return f"model.{layer}{module}.{kind}"


_GROUPS: dict[str, Group] = {"self_attn": "attention", "mlp": "mlp"}
