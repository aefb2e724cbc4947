"""What the YAML says of each model: a sentence with formula and shapes, columns, tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relama import names
from relama.graph import Graph, Kind, Operator, Weight

Properties = dict[str, Any]

#: Colours of the lineage graph in dbt's docs, by what a model is about.
COLOURS = {
    "weights": "#8d99ae",
    "attention": "#1f77b4",
    "mlp": "#2ca02c",
    "state": "#d62728",
    "hidden": "#9467bd",
}

_SEQUENCE = "The sequence that a row belongs to."
_POSITION = "Position of the token in its sequence, from 0."
#: Where activations are tables, tests run on them; where they are not, there is nothing to test.
_TRACED = {"enabled": "var('relama_trace', false)"}


@dataclass(frozen=True)
class _Words:
    """The sentence, the formula and the comment of an operator."""

    sentence: str
    formula: str
    shapes: str


def operator_properties(graph: Graph, operator: Operator) -> Properties:
    """The YAML entry of an operator's model."""
    words = _words(graph, operator)
    properties: Properties = {
        "name": operator.name,
        "description": f"{words.sentence} `{words.formula}`; {words.shapes}.",
        "config": {
            "tags": [*_tags(operator.layer, colour_group(operator)), "step"],
            "docs": {"node_color": COLOURS[colour_group(operator)]},
        },
        "columns": _columns(_operator_columns(graph, operator)),
    }
    tests = _operator_tests(graph, operator)
    if tests:
        properties["data_tests"] = tests
    return properties


def operator_comment(graph: Graph, operator: Operator) -> str:
    """The one comment at the top of an operator's model: formula and shapes."""
    words = _words(graph, operator)
    return f"-- {words.sentence}\n-- {words.formula}\n-- {words.shapes}"


def weight_properties(weight: Weight) -> Properties:
    """The YAML entry of a weight table: what it is made of, and the test of its shape."""
    tensors = ", ".join(f"`{part.tensor}`" for part in weight.parts)
    columns = {}
    if weight.blocks:
        scale = "" if weight.storage == "float32" else ", and what to multiply them by"
        for block in range(weight.blocks):
            columns[f"block_{block}"] = (
                f"Output features {weight.rows * block // weight.blocks} to "
                f"{weight.rows * (block + 1) // weight.blocks - 1}: the weights of all "
                f"{weight.columns} input features of each{scale}."
            )
    else:
        columns["row_id"] = "The output feature; for the embedding, the token id."
        columns["vector"] = f"The weights of all {weight.columns} input features."
        if weight.storage != "float32":
            columns["scale"] = "What the row is to be multiplied by."
    if weight.blocks and weight.storage == "int8":
        columns["norm"] = "The length of the longest row of codes."
    if weight.has_bias:
        columns["bias"] = "What is added to the output feature."
    return {
        "name": weight.name,
        "description": f"Weights [{weight.rows}, {weight.columns}], {weight.storage}: {tensors}.",
        "config": {
            "tags": _tags(weight.layer, "weights"),
            "docs": {"node_color": COLOURS["weights"]},
        },
        "columns": _columns(columns),
        "data_tests": _weight_tests(weight),
    }


def _weight_tests(weight: Weight) -> list[Properties]:
    arguments: Properties = {"rows": weight.rows, "columns": weight.columns}
    if weight.blocks:
        arguments["blocks"] = weight.blocks
    if weight.storage != "float32":
        arguments["storage"] = weight.storage
    tests: list[Properties] = [{"relama.matrix": {"arguments": arguments}}]
    if weight.storage != "float32":
        staged = [names.staged(part.tensor) for part in weight.parts]
        arguments = {"staged": staged, "rows": [part.rows for part in weight.parts]}
        arguments |= {"blocks": weight.blocks, "storage": weight.storage}
        tests.append({"relama.quantization_error": {"arguments": arguments}})
    return tests


def kv_cache_properties(graph: Graph, layer: int) -> Properties:
    """The YAML entry of a layer's cache of keys and values."""
    head_dim = graph.config.head_dim
    return {
        "name": names.kv_cache(layer),
        "description": (
            f"Keys and values of layer {layer} for every position read so far: "
            f"[{graph.config.num_key_value_heads}, {head_dim}] each; a step appends its own."
        ),
        "config": {
            "tags": [*_tags(layer, "state"), "step"],
            "docs": {"node_color": COLOURS["state"]},
        },
        "columns": _columns(
            {
                "sequence_id": _SEQUENCE,
                "position": _POSITION,
                "kv_head": "The key-value head, shared by a group of query heads.",
                "key": f"The key after rotary embedding, [{head_dim}].",
                "value": f"The value, [{head_dim}].",
            }
        ),
        "data_tests": [
            {
                "relama.whole_tokens": {
                    "arguments": {
                        "sequences": "ref('sequences')",
                        "num_kv_heads": graph.config.num_key_value_heads,
                    }
                }
            }
        ],
    }


def layer_properties(graph: Graph, layer: int) -> Properties:
    """The YAML entry of the model that stands for a layer."""
    shape = f"[{graph.config.num_key_value_heads}, {graph.config.head_dim}]"
    return {
        "name": names.layer_model(layer),
        "description": (
            f"All of layer {layer}: what a statement of the forward pass refers to. Its rows are "
            f"the keys and values, {shape} each, that the layer appends to the KV cache."
        ),
        "config": {
            "tags": [*_tags(layer, "state"), "step"],
            "docs": {"node_color": COLOURS["state"]},
        },
        "columns": _columns(
            {
                "layer": "The layer's number.",
                "sequence_id": _SEQUENCE,
                "position": _POSITION,
                "kv_head": "The key-value head.",
                "key": "The key after rotary embedding.",
                "value": "The value.",
            }
        ),
    }


def colour_group(operator: Operator) -> str:
    """Attention, MLP or the hidden state: the part of the lineage that an operator is in."""
    if operator.layer is None:
        return "hidden"
    if operator.kind is Kind.KV_APPEND:
        return "state"
    name = names.parsed(operator.name).base
    mlp = ("mlp_norm", "gate_proj", "up_proj", "gate_up_proj", "swiglu", "down_proj")
    return "mlp" if name in mlp else "attention"


def _tags(layer: int | None, group: str) -> list[str]:
    return [group] if layer is None else [names.layer_model(layer), group]


def _columns(columns: dict[str, str]) -> list[Properties]:
    return [{"name": name, "description": text} for name, text in columns.items()]


def _words(graph: Graph, operator: Operator) -> _Words:
    shape = _bracket(graph.shapes[operator.name])
    inputs = [_bracket(graph.shapes[name]) for name in operator.inputs]
    weight = graph.weights[operator.weight] if operator.weight else None
    matrix = f"[{weight.rows}, {weight.columns}]" if weight else ""
    match operator.kind:
        case Kind.EMBEDDING:
            return _Words(
                "Looks up the vector of each token.",
                "x = weight[token_id]",
                f"weight: {matrix} -> x: {shape}",
            )
        case Kind.RMS_NORM:
            return _Words(
                "Root mean square normalisation.",
                "y = x / sqrt(mean(x^2) + eps) * weight",
                f"x: {inputs[0]}, weight: {shape} -> y: {shape}",
            )
        case Kind.MATMUL:
            bias = " + bias" if weight and weight.has_bias else ""
            residual = " + residual" if len(inputs) == 2 else ""
            text = "Linear layer, with the residual connection." if residual else "Linear layer."
            return _Words(
                text,
                f"y = weight x{bias}{residual}",
                f"weight: {matrix}, x: {inputs[0]} -> y: {shape}",
            )
        case Kind.ROTARY_EMBEDDING:
            return _Words(
                "Turns queries and keys by an angle that grows with the position.",
                "y = x * cos(angle) + rotate_half(x) * sin(angle)",
                f"x: {inputs[0]} -> y: {shape}, query heads before key heads",
            )
        case Kind.KV_APPEND:
            return _Words(
                "The keys and values of this step, as they go into the cache.",
                "key = rotated[kv_head], value = projected[kv_head]",
                f"key, value: {shape}",
            )
        case Kind.ATTENTION_WEIGHTS:
            return _Words(
                "How much each head attends to each position up to its own.",
                f"weight = softmax(query . key / sqrt({graph.config.head_dim}))",
                f"query: [{graph.config.num_attention_heads}, {graph.config.head_dim}] "
                f"-> weight: [{graph.config.num_attention_heads}, positions]",
            )
        case Kind.ATTENTION:
            return _Words(
                "Weighs the values of all positions by how well their keys fit the query.",
                f"y = softmax(query . key / sqrt({graph.config.head_dim})) . value",
                f"query: [{graph.config.num_attention_heads}, {graph.config.head_dim}] "
                f"-> y: {shape}",
            )
        case Kind.SWIGLU:
            return _Words(
                "The gated activation of the MLP.",
                "y = gate * sigmoid(gate) * up",
                f"gate, up: {shape} -> y: {shape}",
            )
        case Kind.LOGITS:
            return _Words(
                "Scores every token of the vocabulary as the next one.",
                "logit = weight x",
                f"weight: {matrix}, x: {inputs[0]} -> logit: {shape}",
            )


def _bracket(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def _operator_columns(graph: Graph, operator: Operator) -> dict[str, str]:
    columns = {"sequence_id": _SEQUENCE, "position": _POSITION}
    shape = graph.shapes[operator.name]
    match operator.kind:
        case Kind.ROTARY_EMBEDDING:
            columns["head"] = "The head, query heads before key heads."
            columns["vector"] = f"The turned head, [{shape[1]}]."
        case Kind.KV_APPEND:
            columns["kv_head"] = "The key-value head."
            columns["key"] = f"The key after rotary embedding, [{shape[1]}]."
            columns["value"] = f"The value, [{shape[1]}]."
        case Kind.ATTENTION_WEIGHTS:
            columns["head"] = "The query head."
            columns["vector"] = "One weight per position, in order; they sum to 1."
        case Kind.LOGITS:
            columns["token_id"] = "The token that might come next."
            columns["logit"] = "Its unnormalised log-probability."
        case _:
            columns["vector"] = f"The hidden state, {_bracket(shape)}."
    return columns


def _operator_tests(graph: Graph, operator: Operator) -> list[Properties]:
    match operator.kind:
        case Kind.KV_APPEND | Kind.LOGITS:
            return []
        case Kind.ATTENTION_WEIGHTS:
            return [{"relama.sums_to_one": {"config": _TRACED}}]
        case Kind.ROTARY_EMBEDDING:
            length = graph.shapes[operator.name][1]
        case _:
            length = graph.shapes[operator.name][0]
    tests: list[Properties] = [
        {"relama.finite_vector": {"arguments": {"length": length}, "config": _TRACED}}
    ]
    if operator.kind is Kind.RMS_NORM:
        arguments = {"weight": f"ref('{operator.weight}')"}
        tests.append({"relama.unit_mean_square": {"arguments": arguments, "config": _TRACED}})
    return tests
