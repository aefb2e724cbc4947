"""Hugging Face's `llama`: Llama 2, 3, 3.1 and 3.2, TinyLlama, SmolLM2.

Tensor names and the order of operators are those of `modeling_llama.py`.
"""

from __future__ import annotations

import re
from functools import partial

from relama import names
from relama.config import ModelConfig
from relama.graph import Graph, Kind, Operator, Part, Weight

#: Tensors that some checkpoints carry and that a forward pass does not need.
HARMLESS = re.compile(r"(^|\.)rotary_emb\.(inv_freq|cos_cached|sin_cached)$|\.masked_bias$")


def build(config: ModelConfig) -> Graph:
    """The forward pass, operator by operator, before any pass has run.

    Raises:
        GraphError: the config's sizes do not fit together.
    """
    graph = Graph(config)
    eps = {"eps": config.rms_norm_eps}
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
    hidden = graph.add(Operator("embedding", Kind.EMBEDDING, None, weight=embedding))

    for layer in range(config.num_hidden_layers):
        tensors = f"model.layers.{layer}."
        of_layer = partial(names.operator, layer=layer)

        weight = norm_weight("attention_norm", layer, tensors + "input_layernorm.weight")
        normed = graph.add(
            Operator(of_layer("attention_norm"), Kind.RMS_NORM, layer, (hidden,), weight, eps)
        )
        projected = {}
        for name, rows in (("q_proj", query_width), ("k_proj", kv_width), ("v_proj", kv_width)):
            weight = matrix(
                layer, name, "self_attn", rows, config.hidden_size, config.attention_bias
            )
            projected[name] = graph.add(
                Operator(of_layer(name), Kind.MATMUL, layer, (normed,), weight)
            )
        rotated = graph.add(
            Operator(
                of_layer("rotary_embedding"),
                Kind.ROTARY_EMBEDDING,
                layer,
                (projected["q_proj"], projected["k_proj"]),
                attributes={"num_heads": (config.num_attention_heads, config.num_key_value_heads)},
            )
        )
        appended = graph.add(
            Operator(
                of_layer("kv_append"),
                Kind.KV_APPEND,
                layer,
                (rotated, projected["v_proj"]),
                attributes={"value_offset": 0},
            )
        )
        # Read by people only: `attention` computes the weights for itself, page by page.
        graph.add(
            Operator(
                of_layer("attention_weights"), Kind.ATTENTION_WEIGHTS, layer, (rotated, appended)
            )
        )
        attended = graph.add(
            Operator(of_layer("attention"), Kind.ATTENTION, layer, (rotated, appended))
        )
        weight = matrix(
            layer, "o_proj", "self_attn", config.hidden_size, query_width, config.attention_bias
        )
        hidden = graph.add(
            Operator(of_layer("o_proj"), Kind.MATMUL, layer, (attended, hidden), weight)
        )

        weight = norm_weight("mlp_norm", layer, tensors + "post_attention_layernorm.weight")
        normed = graph.add(
            Operator(of_layer("mlp_norm"), Kind.RMS_NORM, layer, (hidden,), weight, eps)
        )
        gated = []
        for name in ("gate_proj", "up_proj"):
            weight = matrix(
                layer, name, "mlp", config.intermediate_size, config.hidden_size, config.mlp_bias
            )
            gated.append(graph.add(Operator(of_layer(name), Kind.MATMUL, layer, (normed,), weight)))
        activated = graph.add(Operator(of_layer("swiglu"), Kind.SWIGLU, layer, tuple(gated)))
        weight = matrix(
            layer,
            "down_proj",
            "mlp",
            config.hidden_size,
            config.intermediate_size,
            config.mlp_bias,
        )
        hidden = graph.add(
            Operator(of_layer("down_proj"), Kind.MATMUL, layer, (activated, hidden), weight)
        )

    weight = norm_weight("final_norm", None, "model.norm.weight")
    hidden = graph.add(Operator("final_norm", Kind.RMS_NORM, None, (hidden,), weight, eps))
    head = embedding
    if not config.tie_word_embeddings:
        part = Part("lm_head.weight", config.vocab_size)
        head = graph.add_weight(Weight(names.HEAD_WEIGHT, None, (part,), config.hidden_size))
    graph.add(Operator("logits", Kind.LOGITS, None, (hidden,), head))
    return graph
