"""What the YAML says of each model: a sentence with formula and shapes, columns, tests."""

from __future__ import annotations

from typing import Any

from relama import names
from relama.graph import Graph, Operator
from relama.operators.base import bracket

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


def operator_properties(graph: Graph, operator: Operator) -> Properties:
    """The YAML entry of an operator's model."""
    computes, reads, shape = operator.computes, graph.reads(operator), graph.shapes[operator.name]
    words = computes.words(reads, shape)
    keys = {"sequence_id": _SEQUENCE, "position": _POSITION}
    properties: Properties = {
        "name": operator.name,
        "description": f"{words.sentence} `{words.formula}`; {words.shapes}.",
        "config": {
            "tags": [*tags(operator.layer, computes.group), "step"],
            "docs": {"node_color": COLOURS[computes.group]},
        },
        "columns": described({**keys, **computes.columns(shape)}),
    }
    tests = computes.tests(reads, shape)
    if tests:
        properties["data_tests"] = tests
    return properties


def operator_comment(graph: Graph, operator: Operator) -> str:
    """The one comment at the top of an operator's model: formula and shapes."""
    words = operator.computes.words(graph.reads(operator), graph.shapes[operator.name])
    return f"-- {words.sentence}\n-- {words.formula}\n-- {words.shapes}"


def kv_cache_properties(graph: Graph, layer: int) -> Properties:
    """The YAML entry of a layer's cache of keys and values."""
    heads, head_dim = graph.shapes[graph.appended(layer).name]
    window = graph.windows.get(layer)
    arguments = {
        "sequences": "ref('sequences')",
        "num_kv_heads": graph.config.num_key_value_heads,
        **({} if window is None else {"sliding_window": window}),
    }
    kept = "" if window is None else f", or at least for those among the last {window}"
    return {
        "name": names.kv_cache(layer),
        "description": (
            f"Keys and values of layer {layer} for every position read so far{kept}: "
            f"[{heads}, {head_dim}] each; a step appends its own."
        ),
        "config": {
            "tags": [*tags(layer, "state"), "step"],
            "docs": {"node_color": COLOURS["state"]},
        },
        "columns": described(
            {
                "sequence_id": _SEQUENCE,
                "position": _POSITION,
                "kv_head": "The key-value head, shared by a group of query heads.",
                "key": f"The key after rotary embedding, [{head_dim}].",
                "value": f"The value, [{head_dim}].",
            }
        ),
        "data_tests": [{"relama.whole_tokens": {"arguments": arguments}}],
    }


def shared_kv_cache_properties(graph: Graph) -> Properties:
    """The YAML entry of a cache of the keys and values of all layers."""
    heads, head_dim = graph.shapes[graph.appended(0).name]
    properties = kv_cache_properties(graph, 0)
    return {
        **properties,
        "name": names.KV_CACHE,
        "description": (
            f"Keys and values of all layers for every position read so far: [{heads}, {head_dim}] "
            "each; a step appends its own."
        ),
        "config": {**properties["config"], "tags": ["state", "step"]},
        "columns": [*described({"layer": "The layer's number."}), *properties["columns"]],
        "data_tests": [
            {
                "relama.whole_tokens": {
                    "arguments": {
                        "sequences": "ref('sequences')",
                        "num_kv_heads": graph.config.num_key_value_heads,
                        "num_hidden_layers": graph.config.num_hidden_layers,
                    }
                }
            }
        ],
    }


def layer_properties(graph: Graph, layer: int) -> Properties:
    """The YAML entry of the model that stands for a layer."""
    shape = bracket(graph.shapes[graph.appended(layer).name])
    return {
        "name": names.layer_model(layer),
        "description": (
            f"All of layer {layer}: what a statement of the forward pass refers to. Its rows are "
            f"the keys and values, {shape} each, that the layer appends to the KV cache."
        ),
        "config": {
            "tags": [*tags(layer, "state"), "step"],
            "docs": {"node_color": COLOURS["state"]},
        },
        "columns": described(
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


def tags(layer: int | None, group: str) -> list[str]:
    """The layer and the group that a model belongs to."""
    return [group] if layer is None else [names.layer_model(layer), group]


def described(columns: dict[str, str]) -> list[Properties]:
    """The YAML entries of columns, from what each of them holds."""
    return [{"name": name, "description": text} for name, text in columns.items()]
