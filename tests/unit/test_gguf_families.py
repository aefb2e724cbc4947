"""GGUF files of each family, written as llama.cpp's converter writes them, read back.

The families' tiny models (`tests/fixtures/families`) are written with the `gguf` package: names by
its `TensorNameMap`, settings and values as the modules of llama.cpp's `conversion/` have them.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import save_file

from relama.architectures import build_graph
from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import Checkpoint
from relama.checkpoint.gguf_families import FAMILIES
from relama.errors import CheckpointError, UnsupportedError
from relama.reference import forward
from relama.reference.families import completed
from tests.families import expected, family
from tests.unit.broken_checkpoints import (
    HIDDEN,
    INTERMEDIATE,
    LAYERS,
    gguf_tensors,
    interleaved,
    put,
    weights,
    write_gguf,
)

TOKENS = ["<unk>", "<s>", "</s>", *(chr(33 + i) for i in range(98))]


@dataclass(frozen=True)
class Case:
    """A model of a family, and what its file says.

    Attributes:
        fixture: its directory in `tests/fixtures/families`.
        architecture: of llama.cpp.
        changes: to `config.json`, where a GGUF file cannot say what that has.
        settings: beside those that the converter writes; None removes one.
        fields: of the config that is read.
    """

    fixture: str
    architecture: str
    changes: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        return {**family(self.fixture).config, **self.changes}

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """Hugging Face's, with copies of the second layer for those that were added.

        Where every layer was made one of experts, what the second has stands for what others lack.
        """
        biased = self.changes.get("attention_bias", True)
        found = {
            name: tensor.read()
            for name, tensor in family(self.fixture).tensors.items()
            if biased or not name.endswith(".bias")
        }
        is_sparse = self.changes.get("decoder_sparse_step") == 1
        if is_sparse:
            dense = re.compile(r"\.mlp\.(gate|up|down)_proj\.")
            found = {name: value for name, value in found.items() if not dense.search(name)}
        for layer in range(0 if is_sparse else 2, self.config["num_hidden_layers"]):
            for name, value in list(found.items()):
                own = name.replace("layers.1.", f"layers.{layer}.")
                found.setdefault(own, value)
        return found


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
YARN_SETTINGS = YARN | {"attention_factor": 1.25, "beta_fast": 4.0, "beta_slow": 0.5}
LATENT_YARN = {"rope_theta": 1000.0, **YARN, "mscale": 0.8, "mscale_all_dim": 0.8}
# llama.cpp takes rms_norm_eps for the norms of latents, which have 1e-6 whatever a config says.
DEEPSEEK = {"rms_norm_eps": 1e-6, "attention_bias": False, "mlp_bias": False}
DEFAULT_ROPE = {"rope_parameters": None, "rope_theta": 10000.0}
SMOLLM3 = {"num_hidden_layers": 4, "no_rope_layer_interval": 4}
FULL = {"use_sliding_window": False, "sliding_window": None}
GEMMA3 = {"sliding_window_pattern": 6, "rope_local_base_freq": 10000.0}

CASES = {
    "mistral": Case("mistral_full", "llama", {"model_type": "llama"}, {}, {"rope_scaling": None}),
    "llama, yarn": Case(
        "llama_yarn", "llama", DEFAULT_ROPE | {"rope_scaling": YARN}, {}, {"rope_scaling": YARN}
    ),
    "qwen2": Case("qwen2", "qwen2", {}, {}, {"use_sliding_window": False}),
    "qwen2, untied": Case("qwen2_sliding", "qwen2", {"use_sliding_window": False}),
    "qwen2, yarn": Case(
        "qwen2",
        "qwen2",
        DEFAULT_ROPE | {"rope_scaling": YARN_SETTINGS},
        {},
        {"rope_scaling": YARN_SETTINGS},
    ),
    "qwen3": Case(
        "qwen3", "qwen3", {"use_sliding_window": False, "layer_types": None}, {}, {"head_dim": 8}
    ),
    "qwen3, without biases": Case(
        "qwen3",
        "qwen3",
        {"use_sliding_window": False, "layer_types": None, "attention_bias": False},
    ),
    "phi3": Case(
        "phi3",
        "phi3",
        {},
        {},
        {"partial_rotary_factor": 0.5, "sliding_window": 12, "rope_scaling": None},
    ),
    "phi3, without a window": Case("phi3", "phi3", {"sliding_window": None}),
    "phi3, longrope": Case(
        "phi3_longrope",
        "phi3",
        {},
        {},
        {"original_max_position_embeddings": 48, "sliding_window": None},
    ),
    "phi3, part of a head, longrope": Case(
        "phi3_longrope_partial", "phi3", {}, {}, {"partial_rotary_factor": 0.75}
    ),
    "gemma2": Case(
        "gemma2",
        "gemma2",
        {"query_pre_attn_scalar": 8},
        {},
        {
            "query_pre_attn_scalar": 8,
            "sliding_window": 12,
            "layer_types": ["sliding_attention", "full_attention"],
            "attn_logit_softcapping": 4.0,
            "final_logit_softcapping": 10.0,
            "hidden_activation": "gelu_pytorch_tanh",
        },
    ),
    "gemma2, scale": Case("gemma2", "gemma2", {}, {"gemma2.attention.scale": 10**-0.5}),
    "gemma3": Case(
        "gemma3_text",
        "gemma3",
        {**GEMMA3, "query_pre_attn_scalar": 8, "num_hidden_layers": 6},
        {},
        {
            "model_type": "gemma3_text",
            "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
            "rope_local_base_freq": 10000.0,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            "final_logit_softcapping": None,
        },
    ),
    "gemma3, all that is said": Case(
        "gemma3_text",
        "gemma3",
        {"final_logit_softcapping": 12.0, "query_pre_attn_scalar": 8},
        {
            "gemma3.attention.sliding_window_pattern": 3,
            "gemma3.rope.freq_base_swa": 1000.0,
        },
        {"rope_local_base_freq": 1000.0, "final_logit_softcapping": 12.0},
    ),
    "gemma3, a pattern by layers": Case(
        "gemma3_text",
        "gemma3",
        {
            **GEMMA3,
            "query_pre_attn_scalar": 8,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        },
        {"gemma3.attention.sliding_window_pattern": [False, True, False]},
    ),
    "gemma3, without windows": Case(
        "gemma3_text",
        "gemma3",
        {**GEMMA3, "query_pre_attn_scalar": 8, "sliding_window_pattern": 1},
        {"gemma3.attention.sliding_window": None},
        {"layer_types": ["full_attention"] * 3},
    ),
    "olmo2": Case("olmo2", "olmo2", {}, {}, {"attention_bias": True, "rms_norm_eps": 0.01}),
    "olmo2, without biases": Case("olmo2", "olmo2", {"attention_bias": False}),
    "granite": Case(
        "granite",
        "granite",
        {},
        {},
        {
            "attention_multiplier": 0.3,
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.6,
            "logits_scaling": 0.5,
        },
    ),
    "granite, without multipliers": Case(
        "granite",
        "granite",
        {
            "attention_multiplier": 6**-0.5,
            "embedding_multiplier": 1.0,
            "residual_multiplier": 1.0,
            "logits_scaling": 1.0,
        },
        {
            "granite.attention.scale": None,
            "granite.embedding_scale": None,
            "granite.residual_scale": None,
            "granite.logit_scale": 1.0,
        },
    ),
    "smollm3": Case("smollm3", "smollm3", SMOLLM3, {}, {"no_rope_layer_interval": 4}),
    "mixtral": Case(
        "mixtral",
        "llama",
        {"sliding_window": None},
        {},
        {"num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "qwen2_moe": Case(
        "qwen2_moe",
        "qwen2moe",
        {**FULL, "norm_topk_prob": False, "decoder_sparse_step": 1},
        {},
        {
            "num_experts": 5,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "shared_expert_intermediate_size": 16,
            "norm_topk_prob": False,
            "qkv_bias": True,
        },
    ),
    "qwen2_moe, without biases": Case(
        "qwen2_moe_unnormalised", "qwen2moe", {}, {}, {"qkv_bias": False}
    ),
    "deepseek_v3": Case(
        "deepseek_v3",
        "deepseek2",
        DEEPSEEK | {"rope_scaling": LATENT_YARN},
        {},
        {
            "model_type": "deepseek_v3",
            "n_routed_experts": 6,
            "n_shared_experts": 2,
            "n_group": 3,
            "topk_group": 2,
            "q_lora_rank": 14,
            "kv_lora_rank": 10,
            "qk_nope_head_dim": 6,
            "v_head_dim": 5,
            "norm_topk_prob": True,
            "routed_scaling_factor": 1.5,
            "first_k_dense_replace": 1,
        },
    ),
    "deepseek_v2": Case(
        "deepseek_v2",
        "deepseek2",
        DEEPSEEK | {"rope_scaling": LATENT_YARN},
        {},
        {"topk_method": "group_limited_greedy", "norm_topk_prob": False},
    ),
    "deepseek_v2, lite": Case(
        "deepseek_v2_lite",
        "deepseek2",
        DEEPSEEK | {"n_group": 1, "topk_group": 1},
        {},
        {"topk_method": "greedy", "q_lora_rank": None, "rope_scaling": None},
    ),
    "qwen3_moe": Case(
        "qwen3_moe_sliding",
        "qwen3moe",
        {**FULL, "norm_topk_prob": True},
        {},
        {"num_experts": 5, "norm_topk_prob": True, "use_sliding_window": False},
    ),
}


def settings(architecture: str, config: dict[str, Any]) -> dict[str, Any]:
    """What `set_gguf_parameters` of llama.cpp's converter writes, without the prefix."""
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    head_dim = config.get("head_dim")
    context = config["max_position_embeddings"]
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    found: dict[str, Any] = {
        "block_count": config["num_hidden_layers"],
        "context_length": context,
        "embedding_length": hidden,
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": heads,
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "rope.freq_base": float(rope.get("rope_theta", config["rope_theta"])),
    }
    if head_dim:
        found |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    if rope.get("rope_type") in ("linear", "yarn"):
        found |= {"rope.scaling.type": rope["rope_type"], "rope.scaling.factor": rope["factor"]}
    if rope.get("rope_type") == "yarn":
        original = rope["original_max_position_embeddings"]
        found["rope.scaling.original_context_length"] = original
        for name, key in (
            ("attention_factor", "yarn_attn_factor"),
            ("beta_fast", "yarn_beta_fast"),
            ("beta_slow", "yarn_beta_slow"),
        ):
            if name in rope:
                found[f"rope.scaling.{key}"] = rope[name]
    if "num_experts_per_tok" in config:
        counts = ("num_local_experts", "num_experts", "n_routed_experts")
        found["expert_count"] = next(config[name] for name in counts if name in config)
        found["expert_used_count"] = config["num_experts_per_tok"]
    for name in ("moe_intermediate_size", "shared_expert_intermediate_size"):
        if architecture.endswith("moe") and name in config:
            key = "expert_shared" if name.startswith("shared") else "expert"
            found[f"{key}_feed_forward_length"] = config[name]
    if architecture == "deepseek2":
        rank, turning = config["kv_lora_rank"], config["qk_rope_head_dim"]
        found |= {
            "attention.head_count_kv": 1,
            "attention.key_length": rank + turning,
            "attention.value_length": rank,
            "attention.key_length_mla": config["qk_nope_head_dim"] + turning,
            "attention.value_length_mla": config["v_head_dim"],
            "attention.kv_lora_rank": rank,
            "leading_dense_block_count": config["first_k_dense_replace"],
            "expert_feed_forward_length": config["moe_intermediate_size"],
            "expert_shared_count": config["n_shared_experts"],
            "expert_weights_scale": config["routed_scaling_factor"],
            "expert_group_count": config["n_group"],
            "expert_group_used_count": config["topk_group"],
            "rope.dimension_count": turning,
            "vocab_size": config["vocab_size"],
        }
        if config["q_lora_rank"]:
            found["attention.q_lora_rank"] = config["q_lora_rank"]
        if config["model_type"] == "deepseek_v3":
            found |= {"expert_weights_norm": config["norm_topk_prob"], "expert_gating_func": 2}
        if rope.get("mscale_all_dim"):
            found["rope.scaling.yarn_log_multiplier"] = 0.1 * rope["mscale_all_dim"]
    if architecture in ("llama", "granite", "smollm3"):
        found["rope.dimension_count"] = head_dim or hidden // heads
        found["vocab_size"] = config["vocab_size"]
    if architecture == "phi3":
        original = config["original_max_position_embeddings"]
        part = config.get("partial_rotary_factor", 1.0)
        found["rope.dimension_count"] = int(part * hidden) // heads
        found["rope.scaling.original_context_length"] = original
        found["attention.sliding_window"] = config["sliding_window"] or 0
        if rope:
            stretch = math.log(context / original) / math.log(original)
            found["rope.scaling.attn_factor"] = math.sqrt(1 + stretch)
    if architecture in ("gemma2", "gemma3"):
        found["attention.sliding_window"] = config["sliding_window"]
        for name in ("attn_logit_softcapping", "final_logit_softcapping"):
            if config[name]:
                found[name] = config[name]
    if architecture == "granite":
        found["attention.scale"] = config["attention_multiplier"]
        found["embedding_scale"] = config["embedding_multiplier"]
        found["residual_scale"] = config["residual_multiplier"]
        found["logit_scale"] = config["logits_scaling"]
    return found


def stored_tensors(
    architecture: str, config: dict[str, Any], tensors: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What `modify_tensors` of llama.cpp's converter makes of tensors, by the names of a file."""
    kind = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    heads = {"q": config["num_attention_heads"], "k": config["num_key_value_heads"]}
    found = {}
    for name, value in merged(latents_apart(config, tensors)).items():
        name = name.replace("e_score_correction_bias", "e_score_correction.bias")
        if architecture in ("llama", "granite", "smollm3"):
            for part, count in heads.items():
                if f".{part}_proj." in name:
                    value = interleaved(value, count)
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            value = value + 1
        own = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert own is not None, name
        found[own] = value
    factors = config.get("rope_scaling") or {}
    for length in ("short", "long"):
        if architecture == "phi3" and factors:
            values = np.array(factors[f"{length}_factor"], np.float32)
            found[f"rope_factors_{length}.weight"] = values
    return found


def latents_apart(config: dict[str, Any], tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`kv_b_proj` as the part of the keys, transposed, and that of the values, by heads."""
    found = {}
    for name, value in tensors.items():
        if ".kv_b_proj." in name:
            heads = value.reshape(config["num_attention_heads"], -1, config["kv_lora_rank"])
            keys, values = np.split(heads, [config["qk_nope_head_dim"]], axis=1)
            found[name.replace("kv_b_proj", "k_b_proj")] = keys.swapaxes(1, 2)
            found[name.replace("kv_b_proj", "v_b_proj")] = values
        else:
            found[name] = value
    return found


def merged(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The matrices of all experts of a layer as one tensor, under the name that the map knows."""
    found: dict[str, np.ndarray] = {}
    experts: dict[str, dict[int, np.ndarray]] = {}
    for name, value in tensors.items():
        expert = re.fullmatch(r"(.*\.experts)\.(\d+)(\..*)", name)
        if expert is None:
            found[name] = value
        else:
            experts.setdefault(expert[1] + expert[3], {})[int(expert[2])] = value
    for name, matrices in experts.items():
        own = re.sub(r"^model\.(.*)\.block_sparse_moe\.", r"\1.feed_forward.", name)
        found[own] = np.stack([matrices[expert] for expert in range(len(matrices))])
    return found


def write_file(
    path: Path,
    case: Case,
    tensors: dict[str, np.ndarray] | None = None,
    changes: dict[str, Any] | None = None,
) -> Path:
    """Writes the file of a case, with other tensors or with changes to its settings."""
    config = completed(case.config)
    writer = gguf.GGUFWriter(path, case.architecture)
    own = {
        f"{case.architecture}.{name}": value
        for name, value in settings(case.architecture, config).items()
    }
    put(writer, own | case.settings | (changes or {}))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([float(-i) for i in range(len(TOKENS))])
    writer.add_token_types([2, 3, 3, *[1] * (len(TOKENS) - 3)])
    writer.add_add_space_prefix(False)
    stored = stored_tensors(case.architecture, config, case.tensors)
    for name, value in (stored if tensors is None else tensors).items():
        writer.add_tensor(name, np.ascontiguousarray(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def directory(path: Path, case: Case) -> Checkpoint:
    """The same model as a directory of Hugging Face's."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps(case.config))
    save_file(case.tensors, path / "model.safetensors")
    return open_checkpoint(path)


#: 40 tokens, of which some lie beyond the windows.
IDS = [82, 11, 20, 26, 20, 81, 88, 60, 6, 12, 35, 45, 63, 49, 28, 18, 70, 74, 6, 14]
IDS += [47, 41, 90, 53, 44, 45, 68, 60, 19, 75, 77, 96, 80, 30, 34, 66, 66, 71, 88, 31]

# Recorded from llama.cpp (xllamacpp 2026.10.11549) reading these files: logarithms of what
# `handle_completions` of a Server with n_ctx = 256, caches of F32, and flash attention disabled
# gives as probabilities of tokens 5, 35, 65 and 95 after IDS. llama.cpp has GELU in a
# table of float16, hence the tolerance for Gemma. It takes no biases of Qwen3 and OLMo 2, and
# passes over Phi-3's window, yarn_attn_factor, and Gemma's attention.scale. DeepSeek-V2 without
# q_lora_rank it reads only with 26 layers or more.
RECORDED = {
    "mistral": [-4.14935, -8.55796, -7.17343, -4.93628],
    "llama, yarn": [-3.87014, -4.48837, -11.17601, -11.72993],
    "qwen2": [-16.60468, -18.32868, -16.94277, -10.28656],
    "qwen2, untied": [-6.77217, -8.63522, -7.90012, -8.57294],
    "qwen3, without biases": [-5.41762, -6.45262, -7.95434, -11.93421],
    "phi3, without a window": [-10.5072, -6.28399, -15.05905, -8.92999],
    "phi3, part of a head, longrope": [-7.17309, -7.37955, -14.35249, -7.71972],
    "gemma2": [-3.73877, -11.59415, -6.56193, -11.45306],
    "gemma3": [-10.95733, -8.37224, -9.02915, -11.24597],
    "gemma3, all that is said": [-9.58379, -8.62569, -10.31169, -6.42936],
    "gemma3, a pattern by layers": [-9.34936, -5.88968, -10.7605, -9.36775],
    "gemma3, without windows": [-8.74295, -6.83228, -10.68012, -8.62216],
    "olmo2, without biases": [-9.0871, -13.15731, -9.68082, -11.90376],
    "granite": [-10.66178, -20.85122, -13.51903, -18.93849],
    "granite, without multipliers": [-8.46882, -9.54219, -9.25571, -9.99741],
    "smollm3": [-17.1744, -19.39399, -5.53795, -12.42579],
    "mixtral": [-4.24604, -2.08989, -1.49825, -8.77184],
    "qwen2_moe": [-5.86387, -11.15451, -5.62291, -16.34811],
    "qwen2_moe, without biases": [-4.17721, -8.18848, -8.80257, -12.80889],
    "deepseek_v3": [-10.26086, -4.9331, -8.4972, -5.83346],
    "deepseek_v2": [-6.01935, -7.43352, -8.91262, -7.04443],
    "qwen3_moe": [-5.58965, -11.98013, -8.0085, -13.3225],
}


@pytest.mark.parametrize("name", RECORDED)
def test_probabilities_are_those_of_llama_cpp(name: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_file(tmp_path / "model.gguf", CASES[name]))
    logits = forward(checkpoint.config, checkpoint.tensors, IDS).logits[-1].astype(np.float64)
    found = logits - np.log(np.exp(logits).sum())
    tolerance = 1e-2 if name.startswith("gemma") else 1e-4
    np.testing.assert_allclose(found[5::30], RECORDED[name], rtol=0, atol=tolerance)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_the_config_is_hugging_faces(case: Case, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_file(tmp_path / "model.gguf", case))
    wanted = completed(case.config)
    common = (
        "model_type",
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "max_position_embeddings",
        "rms_norm_eps",
        "tie_word_embeddings",
    )
    assert {key: checkpoint.config[key] for key in common} == {key: wanted[key] for key in common}
    assert case.fields.items() <= checkpoint.config.items()
    assert checkpoint.warnings == []
    assert checkpoint.tokenizer().get_vocab_size() == wanted["vocab_size"]


def test_tensors_are_hugging_faces(case: Case, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_file(tmp_path / "model.gguf", case))
    assert checkpoint.tensors.keys() == case.tensors.keys()
    for name, value in case.tensors.items():
        tensor = checkpoint.tensors[name]
        assert (tensor.name, tensor.shape) == (name, value.shape)
        # What was added to a norm is taken away again in float32.
        np.testing.assert_allclose(tensor.read(), value, rtol=0, atol=2**-23)
        np.testing.assert_array_equal(tensor.read_rows(3, 7), tensor.read()[3:7])


def test_logits_and_graph_are_those_of_the_directory(case: Case, tmp_path: Path) -> None:
    ours = open_checkpoint(write_file(tmp_path / "model.gguf", case))
    theirs = directory(tmp_path / "directory", case)
    ids = expected(case.fixture)["ids"]
    logits = forward(ours.config, ours.tensors, ids).logits
    wanted = forward(theirs.config, theirs.tensors, ids).logits
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())

    graph, other = build_graph(ours), build_graph(theirs)
    assert graph.weights == other.weights
    assert graph.operators.keys() == other.operators.keys()
    if "attention.scale" not in str(case.settings):  # which has one more rounding
        assert graph.operators == other.operators


@pytest.mark.parametrize("layers", [46, 62])
def test_gemmas_of_27_billion_divide_scores_by_another_root(layers: int, tmp_path: Path) -> None:
    name = {46: "gemma2", 62: "gemma3"}[layers]
    path = write_file(tmp_path / "model.gguf", CASES[name], changes={f"{name}.block_count": layers})
    assert open_checkpoint(path).config["query_pre_attn_scalar"] == 24 // 4


@pytest.mark.parametrize("left_out", [".attn_k.bias", ".bias"])
def test_zeros_stand_for_biases_of_qwen2_that_are_absent(left_out: str, tmp_path: Path) -> None:
    case = CASES["qwen2"]
    stored = stored_tensors("qwen2", completed(case.config), case.tensors)
    kept = {name: tensor for name, tensor in stored.items() if not name.endswith(left_out)}
    checkpoint = open_checkpoint(write_file(tmp_path / "model.gguf", case, kept))
    assert not checkpoint.tensors["model.layers.1.self_attn.k_proj.bias"].read().any()
    assert checkpoint.tensors.keys() == case.tensors.keys()
    build_graph(checkpoint)


@pytest.mark.parametrize(
    ("name", "changes", "error", "message"),
    [
        ("olmo2", {"olmo2.attention.sliding_window": 4096}, UnsupportedError, "supported: 0"),
        ("granite", {"granite.rope.scaling.finetuned": False}, UnsupportedError, "supported: True"),
        ("granite", {"granite.expert_count": 8}, UnsupportedError, "granite.expert_count is 8"),
        ("gemma2", {"gemma2.rope.freq_base_swa": 5.0}, UnsupportedError, "supported: 10000.0, as"),
        ("gemma3", {"gemma3.attn_logit_softcapping": 50.0}, UnsupportedError, "is 50.0, which"),
        ("gemma3", {"gemma3.hidden_activation": "silu"}, UnsupportedError, "is 'silu', which"),
        (
            "gemma3",
            {"gemma3.attention.sliding_window_pattern": [True, False]},
            CheckpointError,
            "has 2 values for 6 layers",
        ),
        ("mixtral", {"llama.expert_used_count": 5}, CheckpointError, "at most llama.expert_count"),
        ("mixtral", {"llama.expert_group_count": 2}, UnsupportedError, "is 2, which"),
        ("mixtral", {"llama.expert_shared_feed_forward_length": 16}, UnsupportedError, "is 16,"),
        ("qwen2_moe", {"qwen2moe.expert_weights_norm": True}, UnsupportedError, "supported: False"),
        ("qwen2_moe", {"qwen2moe.expert_count": 0}, CheckpointError, "positive whole number"),
        ("qwen3_moe", {"qwen3moe.expert_weights_norm": False}, UnsupportedError, "supported: True"),
        ("qwen3_moe", {"qwen3moe.expert_weights_scale": 2.5}, UnsupportedError, "is 2.5, which"),
        ("qwen3_moe", {"qwen3moe.expert_gating_func": 2}, UnsupportedError, "is 2, which"),
        (
            "deepseek_v3",
            {"deepseek2.expert_gating_func": 3},
            UnsupportedError,
            "supported: 1 and 2",
        ),
        (
            "deepseek_v2",
            {"deepseek2.expert_weights_norm": True},
            UnsupportedError,
            "is True, which",
        ),
        (
            "deepseek_v2",
            {"deepseek2.rope.dimension_count": 14},
            CheckpointError,
            "less than the width",
        ),
        ("deepseek_v3", {"deepseek2.attention.temperature_scale": 0.1}, UnsupportedError, "is 0.1"),
        ("phi3", {"phi3.rope.dimension_count": 16}, UnsupportedError, "width of a head"),
        ("phi3", {"phi3.rope.scaling.attn_factor": 1.2}, UnsupportedError, "is 1.2, which"),
        ("qwen3", {"qwen3.rope.dimension_count": 4}, UnsupportedError, "width of a head"),
        ("qwen2", {"qwen2.attention.scale": 0.5}, UnsupportedError, "is 0.5, which"),
        ("qwen2", {"qwen2.rope.scaling.type": "spiral"}, UnsupportedError, "none, linear, yarn, "),
        ("llama, yarn", {"llama.rope.scaling.yarn_ext_factor": 0.0}, UnsupportedError, "is 0.0"),
        (
            "phi3, longrope",
            {"phi3.rope.scaling.type": "linear", "phi3.rope.scaling.factor": 2.0},
            UnsupportedError,
            "in another way",
        ),
    ],
)
def test_what_would_be_computed_otherwise_is_refused(
    name: str, changes: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = write_file(tmp_path / "model.gguf", CASES[name], changes=changes)
    with pytest.raises(error, match=message) as raised:
        open_checkpoint(path)
    key = next(iter(changes))
    assert key in str(raised.value) or name == "phi3, longrope"


def stored_mixture(name: str) -> dict[str, np.ndarray]:
    """The tensors of a case's file."""
    case = CASES[name]
    return stored_tensors(case.architecture, completed(case.config), case.tensors)


def test_a_mixtral_with_a_tensor_for_each_expert(tmp_path: Path) -> None:
    stored = {}
    for name, value in stored_mixture("mixtral").items():
        if "_exps" in name:
            for expert, matrix in enumerate(value):
                stored[name.replace("_exps", f".{expert}")] = matrix
        else:
            stored[name] = value
    assert "blk.1.ffn_down.3.weight" in stored
    ours = open_checkpoint(write_file(tmp_path / "apart.gguf", CASES["mixtral"], stored))
    theirs = open_checkpoint(write_file(tmp_path / "model.gguf", CASES["mixtral"]))
    assert ours.tensors == theirs.tensors
    for name, tensor in theirs.tensors.items():
        np.testing.assert_array_equal(ours.tensors[name].read(), tensor.read())
    build_graph(ours)


def test_quantised_experts(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    stored = {name: value for name, value in gguf_tensors(weights()).items() if "ffn_" not in name}
    experts = {}
    for layer in range(LAYERS):
        stored[f"blk.{layer}.ffn_norm.weight"] = np.ones(HIDDEN, np.float32)
        stored[f"blk.{layer}.ffn_gate_inp.weight"] = np.ones((3, HIDDEN), np.float32)
        for part, theirs, *shape in (
            ("gate", "w1", INTERMEDIATE, HIDDEN),
            ("up", "w3", INTERMEDIATE, HIDDEN),
            ("down", "w2", HIDDEN, INTERMEDIATE),
        ):
            value = random.normal(size=(3, *shape)).astype(np.float32)
            stored[f"blk.{layer}.ffn_{part}_exps.weight"] = value
            for expert in range(3):
                name = f"model.layers.{layer}.block_sparse_moe.experts.{expert}.{theirs}.weight"
                experts[name] = value[expert]
    counts = {"llama.expert_count": 3, "llama.expert_used_count": 2}
    checkpoint = open_checkpoint(
        write_gguf(tmp_path / "model.gguf", stored, Kind.Q8_0, change=lambda w: put(w, counts))
    )
    for name, value in experts.items():
        tensor = checkpoint.tensors[name]
        assert (tensor.shape, tensor.dtype) == (value.shape, "Q8_0")
        wanted = gguf.dequantize(gguf.quantize(value, Kind.Q8_0), Kind.Q8_0)
        np.testing.assert_array_equal(tensor.read(), wanted)
        np.testing.assert_array_equal(tensor.read_rows(5, 9), wanted[5:9])
    build_graph(checkpoint)


def test_the_gate_of_a_shared_expert_may_be_a_vector(tmp_path: Path) -> None:
    stored = stored_mixture("qwen2_moe")
    gates = [name for name in stored if "ffn_gate_inp_shexp" in name]
    assert len(gates) == 3
    flat = stored | {name: stored[name][0] for name in gates}
    ours = open_checkpoint(write_file(tmp_path / "flat.gguf", CASES["qwen2_moe"], flat))
    theirs = open_checkpoint(write_file(tmp_path / "model.gguf", CASES["qwen2_moe"]))
    name = "model.layers.2.mlp.shared_expert_gate.weight"
    assert ours.tensors[name].shape == (1, 24)
    np.testing.assert_array_equal(ours.tensors[name].read(), theirs.tensors[name].read())


def test_widths_of_experts_that_a_file_does_not_say(tmp_path: Path) -> None:
    absent = {f"qwen2moe.expert_{part}feed_forward_length": 0 for part in ("", "shared_")}
    path = write_file(tmp_path / "model.gguf", CASES["qwen2_moe"], changes=absent)
    config = open_checkpoint(path).config
    assert config["moe_intermediate_size"] == 28 // 2
    assert config["shared_expert_intermediate_size"] == 28


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("blk.0.ffn_up_exps.weight", np.ones((3, 12, 24)), r"\(3, 12, 24\), .* give 4 experts"),
        ("blk.0.ffn_up_exps.weight", np.ones((4, 24)), r"shape \(4, 24\), .* give 4 experts"),
        ("blk.1.ffn_up.2.weight", np.ones((12, 24)), r"'blk\.1\.ffn_up\.2\.weight' twice"),
    ],
)
def test_experts_that_do_not_fit(
    name: str, value: np.ndarray, message: str, tmp_path: Path
) -> None:
    stored = stored_mixture("mixtral") | {name: value.astype(np.float32)}
    path = write_file(tmp_path / "model.gguf", CASES["mixtral"], stored)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path)


@pytest.mark.parametrize(
    "name", ["blk.0.ffn_up.02.weight", "blk.0.ffn_up.4.weight", "blk.0.ffn_up_exps.scale"]
)
def test_tensors_of_experts_that_nothing_reads_are_refused(name: str, tmp_path: Path) -> None:
    stored = stored_mixture("mixtral") | {name: np.ones((12, 24), np.float32)}
    checkpoint = open_checkpoint(write_file(tmp_path / "model.gguf", CASES["mixtral"], stored))
    with pytest.raises(CheckpointError, match="is not part of the architecture"):
        build_graph(checkpoint)


def test_the_first_files_of_deepseek(tmp_path: Path) -> None:
    case = CASES["deepseek_v3"]
    names = [f"model.layers.{layer}.self_attn.kv_b_proj.weight" for layer in (0, 1)]
    stored = {k: v for k, v in stored_mixture("deepseek_v3").items() if v.ndim < 3 or "exps" in k}
    stored |= {f"blk.{layer}.attn_kv_b.weight": case.tensors[names[layer]] for layer in (0, 1)}
    changes = {
        f"deepseek2.{name}": value
        for name, value in {
            "attention.head_count_kv": 4,
            "attention.key_length": 14,
            "attention.value_length": 5,
            "attention.key_length_mla": None,
            "attention.value_length_mla": None,
        }.items()
    }
    ours = open_checkpoint(write_file(tmp_path / "first.gguf", case, stored, changes))
    theirs = open_checkpoint(write_file(tmp_path / "model.gguf", case))
    assert ours.config == theirs.config
    assert ours.tensors.keys() == theirs.tensors.keys()
    np.testing.assert_array_equal(ours.tensors[names[1]].read(), theirs.tensors[names[1]].read())
    build_graph(ours)


def test_zeros_stand_for_a_correction_that_is_absent(tmp_path: Path) -> None:
    stored = {k: v for k, v in stored_mixture("deepseek_v3").items() if "exp_probs_b" not in k}
    checkpoint = open_checkpoint(write_file(tmp_path / "model.gguf", CASES["deepseek_v3"], stored))
    correction = checkpoint.tensors["model.layers.1.mlp.gate.e_score_correction_bias"]
    assert (correction.shape, correction.read().any()) == ((6,), False)
    build_graph(checkpoint)


def test_a_file_without_groups_has_one(tmp_path: Path) -> None:
    absent = {f"deepseek2.expert_group_{name}count": None for name in ("", "used_")}
    path = write_file(tmp_path / "model.gguf", CASES["deepseek_v3"], changes=absent)
    config = open_checkpoint(path).config
    assert (config["n_group"], config["topk_group"]) == (1, 1)


@pytest.mark.parametrize(
    ("part", "shape", "message"),
    [
        ("attn_v_b", (), "part of the keys or of the values is missing"),
        ("attn_v_b", (4, 5, 9), r"\(4, 5, 9\); they must be"),
        ("attn_v_b", (20, 10), r"\(20, 10\); they must be"),
        ("attn_kv_b", (44, 10), "kv_b_proj.weight' whole and in parts"),
    ],
)
def test_parts_of_latent_attention_that_do_not_fit(
    part: str, shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    stored = stored_mixture("deepseek_v3")
    stored.pop(f"blk.0.{part}.weight", None)
    if shape:
        stored[f"blk.0.{part}.weight"] = np.ones(shape, np.float32)
    path = write_file(tmp_path / "model.gguf", CASES["deepseek_v3"], stored)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path)


def test_queries_apart_in_a_phi3_are_refused(tmp_path: Path) -> None:
    case = CASES["phi3"]
    stored = stored_tensors("phi3", completed(case.config), case.tensors)
    stored["blk.0.attn_q.weight"] = stored.pop("blk.0.attn_qkv.weight")[:32]
    checkpoint = open_checkpoint(write_file(tmp_path / "model.gguf", case, stored))
    with pytest.raises(CheckpointError, match=r"layers\.0\.self_attn\.q_proj\.weight' is missing"):
        build_graph(checkpoint)


@pytest.mark.parametrize(
    "architecture",
    ["phimoe", "granitemoe", "deepseek", "olmoe", "dbrx", "grok", "qwen3vlmoe", "gemma", "olmo"],
)
def test_mixtures_and_others_are_refused_by_name(architecture: str, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", architecture=architecture)
    with pytest.raises(UnsupportedError) as raised:
        open_checkpoint(path)
    assert f"'{architecture}' (general.architecture) is not supported" in str(raised.value)
    assert str(raised.value).endswith(f"supported: {', '.join(FAMILIES)}.")
