"""Shapes are checked as the graph is built; passes rewrite it and leave it consistent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relama.architectures import llama
from relama.config import ModelConfig, model_config
from relama.errors import GraphError, InputError
from relama.graph import Graph, Operator, Part, Weight
from relama.operators import Embedding, Linear, Logits, RmsNorm, Router, SharedKey, Swiglu
from relama.operators.base import Computation
from relama.passes import PASSES, run_passes

CONFIG = model_config(
    {
        "model_type": "llama",
        "vocab_size": 101,
        "hidden_size": 48,
        "intermediate_size": 88,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "attention_bias": True,
    }
)


def test_llama_in_the_order_of_the_paper() -> None:
    graph = llama.build(CONFIG, {})
    names = [operator.name.rpartition("__")[2] for operator in graph.layer(0)]
    assert names == [
        "attention_norm",
        "q_proj",
        "k_proj",
        "v_proj",
        "rotary_embedding",
        "kv_append",
        "attention_weights",
        "attention",
        "o_proj",
        "mlp_norm",
        "gate_proj",
        "up_proj",
        "swiglu",
        "down_proj",
    ]
    assert graph.shapes["layer_01__rotary_embedding"] == (64,)
    assert graph.shapes["logits"] == (101,)


def test_fused_graph() -> None:
    graph = run_passes(llama.build(CONFIG, {}))
    names = [operator.name.rpartition("__")[2] for operator in graph.layer(1)]
    assert "qkv_proj" in names and "gate_up_proj" in names
    assert not {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"} & set(names)
    weight = graph.weights["layer_01__qkv_proj_weight"]
    assert (weight.rows, weight.columns, weight.has_bias) == (48 + 16 + 16, 48, True)
    assert weight.parts[1].bias == "model.layers.1.self_attn.k_proj.bias"
    assert {weight.storage for weight in graph.weights.values()} == {"float32"}


def test_what_stands_behind_a_projection_keeps_it_apart() -> None:
    """As the norms of queries and keys do that some models have; the rest is fused."""
    plain = llama.build(CONFIG, {})
    between = Part("model.layers.0.self_attn.q_norm.weight", rows=1)
    weight = Weight("layer_00__q_norm_weight", 0, (between,), 48)
    graph = plain.rebuilt({**plain.weights, weight.name: weight})
    operators = {}
    for operator in graph.operators.values():
        if operator.name == "layer_00__rotary_embedding":
            norm = Operator(
                "layer_00__q_norm",
                RmsNorm(1e-5, "attention"),
                0,
                ("layer_00__q_proj",),
                weight.name,
            )
            operators[norm.name] = norm
            operator = replace(operator, inputs=(norm.name, operator.inputs[1]))
        operators[operator.name] = operator
    fused = run_passes(graph.rebuilt(graph.weights, operators))
    assert {"layer_00__q_proj", "layer_00__gate_up_proj", "layer_01__qkv_proj"} <= set(
        fused.operators
    )
    assert fused.operators["layer_00__rotary_embedding"].inputs == (
        "layer_00__q_norm",
        "layer_00__k_proj",
    )


def test_a_projection_that_is_read_twice_is_kept() -> None:
    graph = llama.build(CONFIG, {})
    gated = ("layer_01__gate_proj", "layer_01__up_proj")
    graph.add(Operator("twice", Swiglu(CONFIG.intermediate_size), 1, gated))
    fused = run_passes(graph)
    assert "layer_00__gate_up_proj" in fused.operators
    assert "layer_01__gate_up_proj" not in fused.operators


@pytest.mark.parametrize("disabled", [[], *([name] for name in PASSES), list(PASSES)])
def test_passes_keep_every_tensor_exactly_once(disabled: list[str]) -> None:
    graph = run_passes(llama.build(CONFIG, {}), disabled=disabled)
    tensors = [part.tensor for weight in graph.weights.values() for part in weight.parts]
    expected = [
        part.tensor for weight in llama.build(CONFIG, {}).weights.values() for part in weight.parts
    ]
    assert sorted(tensors) == sorted(expected)


def test_passes_do_not_change_their_input() -> None:
    graph = llama.build(CONFIG, {})
    before = dict(graph.operators)
    run_passes(graph)
    assert graph.operators == before


def test_unknown_pass() -> None:
    with pytest.raises(InputError, match="no pass 'fuse'"):
        run_passes(llama.build(CONFIG, {}), disabled=["fuse"])


def test_unknown_storage() -> None:
    with pytest.raises(InputError, match=r"no storage 'float8'; storages: float32, int8"):
        run_passes(llama.build(CONFIG, {}), "float8")


def test_norms_stay_float32() -> None:
    weights = run_passes(llama.build(CONFIG, {}), "int8").weights
    assert {w.storage for name, w in weights.items() if "norm" in name} == {"float32"}
    assert {w.storage for name, w in weights.items() if "norm" not in name} == {"int8"}


def test_int4_keeps_the_embedding_and_the_head_in_int567() -> None:
    weights = run_passes(llama.build(CONFIG, {}), "int4").weights
    assert weights["layer_00__qkv_proj_weight"].storage == "int4"
    assert weights["embedding_weight"].storage == weights["lm_head_weight"].storage == "int567"
    assert weights["final_norm_weight"].storage == "float32"
    with pytest.raises(InputError, match="int4 needs the pass cut_blocks"):
        run_passes(llama.build(CONFIG, {}), "int4", ["cut_blocks"])


@pytest.mark.parametrize(
    ("intermediate_size", "blocks"),
    [(88, 1), (6000, 1), (7000, 2), (80_000, 2), (120_000, 3)],
)
def test_only_linear_layers_are_cut_into_blocks(intermediate_size: int, blocks: int) -> None:
    """Less than 300,000 elements are one block; none has more than 2.1 million."""
    weights = run_passes(
        llama.build(replace(CONFIG, intermediate_size=intermediate_size), {})
    ).weights
    assert weights["layer_00__down_proj_weight"].blocks == blocks
    assert weights["embedding_weight"].blocks == weights["lm_head_weight"].blocks == 0
    assert weights["layer_00__mlp_norm_weight"].blocks == 0


@pytest.mark.parametrize(("parallelism", "blocks"), [(1, 1), (2, 2), (5, 5)])
def test_a_large_matrix_has_a_block_a_thread(parallelism: int, blocks: int) -> None:
    config = replace(CONFIG, intermediate_size=7000)
    weights = run_passes(llama.build(config, {}), parallelism=parallelism).weights
    assert weights["layer_00__down_proj_weight"].blocks == blocks
    assert weights["layer_00__o_proj_weight"].blocks == 1
    with pytest.raises(InputError, match="parallelism is 0"):
        run_passes(llama.build(config, {}), parallelism=0)


def small_graph(config: ModelConfig = CONFIG) -> Graph:
    graph = Graph(config)
    graph.add_weight(Weight("embedding_weight", None, (Part("e", 101),), 48))
    graph.add(Operator("embedding", Embedding(101), None, weight="embedding_weight"))
    return graph


@pytest.mark.parametrize(
    ("weight", "operator", "match"),
    [
        (Weight("w", 0, (Part("t", 48),), 47), {"computes": Linear("mlp")}, "row length"),
        (Weight("w", 0, (Part("t", 1),), 47), {"computes": RmsNorm(1e-5, "mlp")}, "weight's shape"),
        (
            Weight("w", 0, (Part("t", 40),), 48),
            {"computes": Linear("mlp"), "inputs": ("embedding", "embedding")},
            "residual",
        ),
        (Weight("w", 0, (Part("t", 100),), 48), {"computes": Logits(101)}, "head's shape"),
        (Weight("w", 0, (Part("t", 48),), 48), {"inputs": ("nobody",)}, "not defined before"),
        (Weight("w", 0, (Part("t", 48),), 48), {"weight": "v"}, "unknown weight"),
        (Weight("w", 0, (Part("t", 48),), 48), {"name": "embedding"}, "defined twice"),
        (Weight("w", 0, (Part("t", 48),), 48), {"inputs": ()}, "number of inputs"),
    ],
)
def test_shapes_that_do_not_fit(weight: Weight, operator: dict[str, object], match: str) -> None:
    graph = small_graph()
    graph.add_weight(weight)
    good = Operator("x", Linear("mlp"), 0, ("embedding",), "w")
    with pytest.raises(GraphError, match=match):
        graph.add(replace(good, **operator))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("computes", "match"),
    [
        (Router(48, 2), r"the correction's shape is \(2, 48\)"),
        (Router(48, 2, n_group=5), "no group holds of the experts is 3"),
        (Router(48, 9, n_group=6, topk_group=1), "9 experts are to be chosen of 8"),
        (Router(48, 2, n_group=6, topk_group=7), "2 experts are to be chosen of 56"),
        (SharedKey(7, 10, 3), r"heads' own parts is \(48,\), expected at least \(49,\)"),
        (SharedKey(4, 16, 8), r"the shape of the shared part is \(48,\), expected \(8,\)"),
    ],
)
def test_experts_and_keys_that_do_not_fit(computes: Computation, match: str) -> None:
    graph = small_graph()
    graph.add_weight(Weight("w", 0, (Part("t", 2),), 48))
    is_router = isinstance(computes, Router)
    inputs = ("embedding",) if is_router else ("embedding", "embedding")
    weight = "w" if "correction" in match else None
    with pytest.raises(GraphError, match=match):
        graph.add(Operator("x", computes, 0, inputs, weight))


@pytest.mark.parametrize("read", ["embedding", "layer_00__o_proj"])
def test_a_layer_reads_what_the_layer_before_hands_on(read: str) -> None:
    graph = llama.build(CONFIG, {})
    norm = graph.operators["layer_01__attention_norm"]
    operators = {**graph.operators, norm.name: replace(norm, inputs=(read,))}
    with pytest.raises(GraphError, match=f"reads '{read}' .* hands on 'layer_00__down_proj' only"):
        graph.rebuilt(graph.weights, operators)
