"""Hugging Face's `llama`: Llama 2, 3, 3.1 and 3.2, TinyLlama, SmolLM2.

Tensor names and the order of operators are those of `modeling_llama.py`.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from relama import names
from relama.config import ModelConfig
from relama.graph import Graph, Operator, Part, Weight
from relama.operators import (
    Attention,
    AttentionWeights,
    Embedding,
    KvAppend,
    Linear,
    Logits,
    RmsNorm,
    RotaryEmbedding,
    Swiglu,
)

#: Tensors that some checkpoints carry and that a forward pass does not need.
HARMLESS = re.compile(r"(^|\.)rotary_emb\.(inv_freq|cos_cached|sin_cached)$|\.masked_bias$")


def build(config: ModelConfig) -> Graph:
    """The forward pass, operator by operator, before any pass has run.

    Raises:
        GraphError: the config's sizes do not fit together.
    """
    graph = Graph(config)
    heads: dict[str, Any] = {
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
    }
    query_width = config.num_attention_heads * config.head_dim
    kv_width = config.num_key_value_heads * config.head_dim

    def norm_weight(name: str, layer: int | None, tensor: str) -> str:
        table = names.weight(names.operator(name, layer))
        return graph.add_weight(Weight(table, layer, (Part(tensor, rows=1),), config.hidden_size))

    def matrix(layer: int, name: str, module: str, rows: int, columns: int, bias: bool) -> str:
        tensor = f"model.layers.{layer}.{module}.{name}"
        part = Part(f"{tensor}.weight", rows, f"{tensor}.bias" if bias else None)
        table = names.weight(names.operator(name, layer))
        return graph.add_weight(Weight(table, layer, (part,), columns))

    embedding = graph.add_weight(
        Weight(
            names.EMBEDDING_WEIGHT,
            None,
            (Part("model.embed_tokens.weight", config.vocab_size),),
            config.hidden_size,
        )
    )
    hidden = graph.add(Operator("embedding", Embedding(config.vocab_size), None, weight=embedding))

    for layer in range(config.num_hidden_layers):
        tensors = f"model.layers.{layer}."
        of_layer = partial(names.operator, layer=layer)

        weight = norm_weight("attention_norm", layer, tensors + "input_layernorm.weight")
        norm = RmsNorm(config.rms_norm_eps, "attention")
        normed = graph.add(Operator(of_layer("attention_norm"), norm, layer, (hidden,), weight))
        projected = {}
        for name, rows in (("q_proj", query_width), ("k_proj", kv_width), ("v_proj", kv_width)):
            weight = matrix(
                layer, name, "self_attn", rows, config.hidden_size, config.attention_bias
            )
            projected[name] = graph.add(
                Operator(of_layer(name), Linear("attention"), layer, (normed,), weight)
            )
        rotated = graph.add(
            Operator(
                of_layer("rotary_embedding"),
                RotaryEmbedding(
                    num_heads=(config.num_attention_heads, config.num_key_value_heads),
                    head_dim=config.head_dim,
                ),
                layer,
                (projected["q_proj"], projected["k_proj"]),
            )
        )
        appended = graph.add(
            Operator(
                of_layer("kv_append"),
                KvAppend(**heads),
                layer,
                (rotated, projected["v_proj"]),
            )
        )
        # Read by people only: `attention` computes the weights for itself, page by page.
        graph.add(
            Operator(
                of_layer("attention_weights"),
                AttentionWeights(**heads),
                layer,
                (rotated, appended),
            )
        )
        attended = graph.add(
            Operator(of_layer("attention"), Attention(**heads), layer, (rotated, appended))
        )
        weight = matrix(
            layer, "o_proj", "self_attn", config.hidden_size, query_width, config.attention_bias
        )
        hidden = graph.add(
            Operator(of_layer("o_proj"), Linear("attention"), layer, (attended, hidden), weight)
        )

        weight = norm_weight("mlp_norm", layer, tensors + "post_attention_layernorm.weight")
        norm = RmsNorm(config.rms_norm_eps, "mlp")
        normed = graph.add(Operator(of_layer("mlp_norm"), norm, layer, (hidden,), weight))
        gated = []
        for name in ("gate_proj", "up_proj"):
            weight = matrix(
                layer, name, "mlp", config.intermediate_size, config.hidden_size, config.mlp_bias
            )
            gated.append(
                graph.add(Operator(of_layer(name), Linear("mlp"), layer, (normed,), weight))
            )
        swiglu = Swiglu(config.intermediate_size)
        activated = graph.add(Operator(of_layer("swiglu"), swiglu, layer, tuple(gated)))
        weight = matrix(
            layer,
            "down_proj",
            "mlp",
            config.hidden_size,
            config.intermediate_size,
            config.mlp_bias,
        )
        hidden = graph.add(
            Operator(of_layer("down_proj"), Linear("mlp"), layer, (activated, hidden), weight)
        )

    weight = norm_weight("final_norm", None, "model.norm.weight")
    norm = RmsNorm(config.rms_norm_eps, "hidden")
    hidden = graph.add(Operator("final_norm", norm, None, (hidden,), weight))
    head = embedding
    if not config.tie_word_embeddings:
        part = Part("lm_head.weight", config.vocab_size)
        head = graph.add_weight(Weight(names.HEAD_WEIGHT, None, (part,), config.hidden_size))
    graph.add(Operator("logits", Logits(config.vocab_size), None, (hidden,), head))
    return graph
