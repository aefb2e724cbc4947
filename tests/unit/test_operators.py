"""Each kind of operator is a module, a template and macros; what one reads has to fit it."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from importlib import import_module
from pathlib import Path

import pytest

from relama import operators
from relama.config import model_config
from relama.errors import GraphError
from relama.graph import Graph, Operator, Part, Weight
from relama.operators import (
    Attention,
    AttentionWeights,
    Embedding,
    KvAppend,
    Linear,
    RmsNorm,
    RotaryEmbedding,
)
from relama.operators.base import Computation, Kind
from relama.passes import run_passes
from relama.project.describe import operator_comment, operator_properties
from relama.project.models import Place, operator_sql
from relama.targets import DEFAULT

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "generator" / "relama" / "project" / "templates"

CONFIG = model_config(
    {
        "model_type": "llama",
        "vocab_size": 101,
        "hidden_size": 48,
        "intermediate_size": 88,
        "num_hidden_layers": 1,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
)
SIZES = {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8}


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_has_a_module_a_template_and_macros(kind: Kind) -> None:
    module = import_module(f"relama.operators.{kind}")
    (computation,) = (
        getattr(module, name)
        for name in operators.__all__
        if getattr(operators, name).__module__ == module.__name__
    )
    assert issubclass(computation, Computation) and is_dataclass(computation)
    assert computation.kind is kind
    template = (TEMPLATES / f"{kind}.sql").read_text()
    assert "config." not in template
    defined = {path.stem for path in (ROOT / "macros").rglob("*.sql")}
    assert set(computation.macros) <= defined
    called = template.replace("<% if blocks %>block_<% endif %>", "")
    assert f"relama.{computation.macros[0]}(" in called


def graph_with_a_norm_per_head(scaling: float | None = None) -> Graph:
    """One layer's attention as in Qwen3: queries and keys are normalised head by head."""
    graph = Graph(CONFIG)

    def weight(name: str, rows: int, columns: int) -> str:
        part = Part(f"model.layers.0.self_attn.{name}.weight", rows)
        return graph.add_weight(Weight(f"layer_00__{name}_weight", 0, (part,), columns))

    graph.add_weight(Weight("embedding_weight", None, (Part("model.e.weight", 101),), 48))
    graph.add(Operator("embedding", Embedding(101), None, weight="embedding_weight"))
    normed = []
    for name, heads in (("q", 6), ("k", 2)):
        read: tuple[str, ...] = ("embedding",)
        for step, computes, matrix in (
            (f"{name}_proj", Linear("attention"), (heads * 8, 48)),
            (f"{name}_norm", RmsNorm(1e-6, "attention", head_dim=8), (1, 8)),
        ):
            table = weight(step, *matrix)
            read = (graph.add(Operator(f"layer_00__{step}", computes, 0, read, table)),)
        normed += read
    table = weight("v_proj", 16, 48)
    value = graph.add(Operator("layer_00__v_proj", Linear("attention"), 0, ("embedding",), table))
    rotary = RotaryEmbedding((6, 2), 8)
    rotated = graph.add(Operator("layer_00__rotary_embedding", rotary, 0, tuple(normed)))
    append = KvAppend(**SIZES)
    keys = graph.add(Operator("layer_00__kv_append", append, 0, (rotated, value)))
    for last, kind in (("attention_weights", AttentionWeights), ("attention", Attention)):
        reading = kind(**SIZES, scaling=scaling)
        graph.add(Operator(f"layer_00__{last}", reading, 0, (rotated, keys)))
    return graph


def test_a_norm_per_head_before_the_rotary_embedding() -> None:
    graph = run_passes(graph_with_a_norm_per_head())
    assert graph.shapes["layer_00__q_norm"] == (48,)
    assert graph.shapes["layer_00__rotary_embedding"] == (64,)
    assert graph.shapes["layer_00__attention"] == (48,)
    assert "layer_00__q_proj" in graph.operators  # the norms keep fuse_qkv away
    norm = graph.operators["layer_00__q_norm"]
    assert "x: [48], weight: [8] -> y: [48]" in operator_comment(graph, norm)
    properties = operator_properties(graph, norm)
    assert properties["data_tests"][0]["relama.finite_vector"]["arguments"] == {"length": 48}
    assert "eps=1e-06, head_dim=8)" in operator_sql(graph, norm, Place(DEFAULT, 2))


@pytest.mark.parametrize("name", ["attention", "attention_weights"])
def test_attention_with_a_scaling_of_its_own(name: str) -> None:
    graph = graph_with_a_norm_per_head(scaling=0.25)
    operator = graph.operators[f"layer_00__{name}"]
    assert "softmax(query . key * 0.25)" in operator_comment(graph, operator)
    assert "scaling=0.25" in operator_sql(graph, operator, Place(DEFAULT, 2))
    plain = graph_with_a_norm_per_head()
    assert "scaling" not in operator_sql(plain, plain.operators[operator.name], Place(DEFAULT, 2))


@pytest.mark.parametrize(
    ("name", "computes", "match"),
    [
        ("layer_00__q_norm", RmsNorm(1e-6, "attention"), "weight's shape"),
        ("layer_00__q_norm", RmsNorm(1e-6, "attention", head_dim=7), "weight's shape"),
        ("layer_00__rotary_embedding", RotaryEmbedding((7, 2), 8), r"at least \(56,\)"),
        ("layer_00__rotary_embedding", RotaryEmbedding((8,), 8), "number of inputs"),
        ("layer_00__kv_append", KvAppend(6, 2, 8, value_offset=8), "values' width"),
        ("layer_00__attention", Attention(7, 1, 8), "keys' shape"),
        ("layer_00__attention", Attention(6, 4, 8), "rotated heads' width"),
    ],
)
def test_heads_that_do_not_fit(name: str, computes: Computation, match: str) -> None:
    graph = graph_with_a_norm_per_head()
    changed = {**graph.operators, name: replace(graph.operators[name], computes=computes)}
    with pytest.raises(GraphError, match=match):
        graph.rebuilt(graph.weights, changed)
