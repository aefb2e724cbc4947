"""Which tensors an architecture wants, leaves out quietly, or refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from relama.architectures import build_graph, left_out
from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import Checkpoint, Tensor
from relama.errors import CheckpointError, UnsupportedError
from relama.reference import forward
from tests.families import EACH, family, write_family
from tests.fixtures.make_tiny_llama import write_tiny_llama
from tests.unit.broken_checkpoints import CONFIG, put, write_directory, write_gguf


def opened(directory: Path, extra: dict[str, tuple[int, ...]], **overrides: object) -> Checkpoint:
    """A tiny checkpoint with additional tensors of the given shapes."""
    write_tiny_llama(directory, **overrides)  # type: ignore[arg-type]
    checkpoint = open_checkpoint(directory)
    tensors = dict(checkpoint.tensors)
    for name, shape in extra.items():
        rows = np.zeros(shape, np.float32)
        tensors[name] = Tensor(name, shape, "F32", lambda a, b, rows=rows: rows[a:b])
    checkpoint.tensors = tensors
    return checkpoint


def test_harmless_tensors_are_left_out_quietly(tmp_path: Path) -> None:
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": (4,)}
    graph = build_graph(opened(tmp_path / "c", extra, tie_word_embeddings=True))
    tensors = {part.tensor for weight in graph.weights.values() for part in weight.parts}
    assert not tensors & set(extra)


@pytest.mark.parametrize("changed", [None, (0, 0), (60, 7), (100, 47)])
def test_a_stored_head_counts_where_it_is_not_the_embedding(
    tmp_path: Path, changed: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relama.checkpoint.base.BLOCK_ELEMENTS", 10 * 48)
    checkpoint = opened(tmp_path / "c", {}, tie_word_embeddings=True)
    head = checkpoint.tensors["model.embed_tokens.weight"].read().copy()
    if changed is not None:
        head[changed] += 1
    stored = Tensor("lm_head.weight", head.shape, "F32", lambda a, b: head[a:b])
    checkpoint.tensors = {**checkpoint.tensors, "lm_head.weight": stored}
    graph = build_graph(checkpoint)
    assert ("lm_head_weight" in graph.weights) == (changed is not None)
    assert graph.config.tie_word_embeddings == (changed is None)
    reference = forward(checkpoint.config, checkpoint.tensors, [5, 60, 7])
    expected = reference.final_norm[-1:] @ head.T
    np.testing.assert_allclose(reference.logits, expected, atol=1e-5)


def test_a_stored_head_of_another_shape(tmp_path: Path) -> None:
    extra = {"lm_head.weight": (100, 48)}
    complaint = r"lm_head.weight' has shape \(100, 48\), expected \(101, 48\)"
    with pytest.raises(CheckpointError, match=complaint):
        build_graph(opened(tmp_path / "c", extra, tie_word_embeddings=True))


@pytest.mark.parametrize(
    ("extra", "complaint"),
    [
        ({"model.layers.0.self_attn.q_norm.weight": (8,)}, "q_norm.weight' is not part of"),
        ({"model.norm.weight": (47,)}, r"model.norm.weight' has shape \(47,\)"),
        ({"lm_head.weight": (100, 48)}, r"lm_head.weight' has shape \(100, 48\)"),
    ],
)
def test_tensors_that_do_not_fit(
    tmp_path: Path, extra: dict[str, tuple[int, ...]], complaint: str
) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        build_graph(opened(tmp_path / "c", extra))


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path / "c", {})
    tensors = dict(checkpoint.tensors)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    checkpoint.tensors = tensors
    with pytest.raises(CheckpointError, match=r"model.layers.1.mlp.up_proj.weight' is missing"):
        build_graph(checkpoint)


def test_more_layers_than_tensors_are_refused_in_either_format(tmp_path: Path) -> None:
    layers = {"llama.block_count": 2**31}
    path = write_gguf(tmp_path / "model.gguf", change=lambda writer: put(writer, layers))
    write_directory(tmp_path / "c")
    config = json.dumps({**CONFIG, "num_hidden_layers": 2**31})
    (tmp_path / "c" / "config.json").write_text(config)
    for checkpoint in (path, tmp_path / "c"):
        with pytest.raises(CheckpointError, match=f"gives {2**31} layers, but .* 21 tensors in"):
            build_graph(open_checkpoint(checkpoint))


#: Of text and images, in the names of their checkpoints, and others.
OTHERS = ["qwen2_vl", "qwen2_5_vl", "llava", "mllama", "phi4_multimodal", "phi4mm", "mistral3"]


@pytest.mark.parametrize("model_type", [*OTHERS, "mamba", None, ["llama"], {"a": 1}])
def test_another_architecture_is_refused_by_name(tmp_path: Path, model_type: object) -> None:
    write_tiny_llama(tmp_path / "c")
    config = json.loads((tmp_path / "c" / "config.json").read_text())
    (tmp_path / "c" / "config.json").write_text(json.dumps({**config, "model_type": model_type}))
    with pytest.raises(UnsupportedError, match=r"' is not supported; supported: .*llama, mistral"):
        build_graph(open_checkpoint(tmp_path / "c"))


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("qwen2", {"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported for qwen2; .*silu"),
        ("gemma2", {"hidden_activation": "silu"}, "hidden_activation 'silu' .* gelu_pytorch_tanh"),
        ("gemma3_text", {"layer_types": ["full_attention"]}, "layer_types must be 3 of"),
        ("smollm3", {"no_rope_layers": [1]}, "no_rope_layers must be a list of 3"),
        ("smollm3", {"layer_types": ["chunked_attention"] * 3}, "'chunked_attention', which is"),
        ("gemma2", {"layer_types": [None, "full_attention"]}, "layer_types has None, which is"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention is true"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention is"),
        ("granite", {"hidden_act": ["silu"]}, "hidden_act '.'silu'.' is not supported"),
        ("mistral", {"sliding_window": -1}, "sliding_window must be a positive whole number"),
        ("phi3_longrope", {"rope_scaling": {"type": "longrope"}}, "short_factor of longrope must"),
        (
            "phi3_longrope",
            {"rope_scaling": {"type": "longrope", "short_factor": [1] * 4, "long_factor": [1]}},
            "long_factor of longrope must be 4 positive numbers",
        ),
        ("phi3", {"intermediate_size": 27}, "expected 54 rows"),
        ("granite", {"logits_scaling": 0}, "logits_scaling must be a positive number"),
        ("gemma3", {"text_config": None}, "text_config of gemma3 must be an object"),
        ("olmo2", {"rope_scaling": {"rope_type": "su"}}, "of type 'su' is not supported"),
        ("olmo3", {"rope_parameters": {"rope_theta": 5.0}}, "rope_parameters for all layers"),
        ("olmo3", {"sliding_window": None}, "the field 'sliding_window' is missing"),
        ("deepseek_v3", {"v_head_dim": 15}, "v_head_dim is 15, .* qk_rope_head_dim, 14"),
        ("deepseek_v3", {"qk_nope_head_dim": 7}, "qk_nope_head_dim is 7, and an odd one"),
        ("deepseek_v3", {"kv_lora_rank": None}, "the field 'kv_lora_rank' is missing"),
        ("deepseek_v3", {"kv_lora_rank": 9}, "kv_a_proj_with_mqa.weight' .* expected 17 rows"),
        ("deepseek_v2", {"v_head_dim": 6}, "_proj.weight' .* expected"),
        ("deepseek_v3", {"topk_group": 4}, r"n_group \(3\) and topk_group \(4\) must leave"),
        ("deepseek_v3", {"n_group": 4}, r"n_group \(4\) .* n_routed_experts \(6\) to choose"),
        ("deepseek_v2", {"topk_method": "noaux_tc"}, "topk_method 'noaux_tc' .* greedy, group_lim"),
        ("deepseek_v2", {"first_k_dense_replace": -1}, "first_k_dense_replace must be a number of"),
        (
            "deepseek_v2",
            {"quantization_config": {"quant_method": "fp8"}},
            "has the method 'fp8', which is not",
        ),
    ],
)
def test_settings_of_a_family_that_are_not_computed(
    tmp_path: Path, name: str, change: dict[str, object], complaint: str
) -> None:
    directory = write_family(tmp_path / name, name)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises((CheckpointError, UnsupportedError), match=complaint):
        build_graph(open_checkpoint(directory))


def test_layers_for_tokens_after_the_next_are_left_out(tmp_path: Path) -> None:
    directory = write_family(tmp_path / "c", "deepseek_v3")
    checkpoint = open_checkpoint(directory)
    assert left_out(checkpoint) == []
    name = "model.layers.2.eh_proj.weight"
    rows = np.zeros((2, 4), np.float32)
    ahead = Tensor(name, rows.shape, "F32", lambda a, b: rows[a:b])
    checkpoint.tensors = {**checkpoint.tensors, name: ahead}
    with pytest.raises(CheckpointError, match=r"eh_proj.weight' is not part of"):
        build_graph(checkpoint)
    checkpoint.config["num_nextn_predict_layers"] = 1
    assert build_graph(checkpoint).operators
    assert left_out(checkpoint) == [
        "The layers that predict tokens after the next (num_nextn_predict_layers) are left out."
    ]


@pytest.mark.parametrize("name", EACH)
def test_what_no_family_computes_is_refused_with_what_is(tmp_path: Path, name: str) -> None:
    directory = write_family(tmp_path / name, name)
    whole = json.loads((directory / "config.json").read_text())
    text = whole.get("text_config", whole)
    activation = "hidden_activation" if "gemma" in name else "hidden_act"
    layers = ["chunked_attention"] * text["num_hidden_layers"]
    changes: list[tuple[dict[str, object], str]] = [
        ({activation: "relu2"}, f"{activation} 'relu2' is not supported .*; supported: "),
        ({"rope_scaling": {"rope_type": "spiral"}}, "type 'spiral' is not supported; supported: "),
        ({"is_causal": False}, "is_causal is false, .* not supported; supported: true"),
    ]
    if "layer_types" in text:
        changes.append(({"layer_types": layers}, "'chunked_attention', .*; supported: full_"))
    for change, complaint in changes:
        changed = {**text, **change}
        config = changed if text is whole else {**whole, "text_config": changed}
        (directory / "config.json").write_text(json.dumps(config))
        with pytest.raises(UnsupportedError, match=complaint):
            build_graph(open_checkpoint(directory))


@pytest.mark.parametrize("rope_type", ["su", "yarn"])
def test_older_files_of_phi3_call_longrope_otherwise(tmp_path: Path, rope_type: str) -> None:
    directory = write_family(tmp_path / "c", "phi3_longrope")
    graph = build_graph(open_checkpoint(directory))
    config = json.loads((directory / "config.json").read_text())
    config["rope_scaling"]["type"] = rope_type
    (directory / "config.json").write_text(json.dumps(config))
    assert build_graph(open_checkpoint(directory)) == graph


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
def test_the_number_of_experts_has_two_names(tmp_path: Path, name: str) -> None:
    directory = write_family(tmp_path / "c", name)
    graph = build_graph(open_checkpoint(directory))
    config = json.loads((directory / "config.json").read_text())
    names = ["num_experts", "num_local_experts"]
    (count,) = (config.pop(key) for key in names if key in config)
    for key in names:
        (directory / "config.json").write_text(json.dumps({**config, key: count}))
        assert build_graph(open_checkpoint(directory)) == graph


def test_of_text_and_images_the_text_is_compiled_and_that_is_said() -> None:
    assert left_out(family("gemma3")) == [
        "The checkpoint is one of text and images; the text half is compiled."
    ]
    assert left_out(family("gemma3_text")) == []


@pytest.mark.parametrize("activation", ["silu", "swish"])
def test_names_of_an_activation(tmp_path: Path, activation: str) -> None:
    assert build_graph(opened(tmp_path / "c", {}, hidden_act=activation)).operators
