"""The oracle beside transformers, on a tiny random model of each family and each `rope_type`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relama.checkpoint import open_checkpoint
from relama.errors import UnsupportedError
from relama.reference import Experts, attend, decoder, forward, greedy, route
from relama.reference.families import DEFAULTS, FAMILIES, completed
from tests.families import NAMES, expected, family, write_family
from tests.fixtures.family_configs import CHANGES, YARN_CHANGES

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import transformers

#: Frequencies depend on the length, and transformers' cache keeps keys as they were turned.
#: Phi-3 has such frequencies too, and reads everything anew when they change.
CACHED_KEYS_DIFFER = {"llama_dynamic", "llama_dynamic_long", "llama_longrope"}


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_hidden_states_are_those_of_transformers(name: str) -> None:
    checkpoint, values = family(name), expected(name)
    result = forward(checkpoint.config, checkpoint.tensors, values["ids"])
    logits = result.logits[-1]
    assert np.argsort(-logits, kind="stable")[:10].tolist() == values["top_ids"]
    np.testing.assert_allclose(logits[values["top_ids"]], values["top_logits"], rtol=1e-5)
    # The last of transformers' hidden states is normalised, and none of the oracle's.
    states = [*result.hidden_states[:-1], result.final_norm]
    norms = [np.linalg.norm(state[-1].astype(np.float64)) for state in states]
    np.testing.assert_allclose(norms, values["norms"], rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_greedy_tokens_are_those_of_transformers(name: str) -> None:
    """Of passes over all tokens at once; a cache gives others where frequencies change."""
    checkpoint, values = family(name), expected(name)
    assert greedy(checkpoint.config, checkpoint.tensors, values["ids"], 24) == values["greedy"]
    assert (values["greedy_with_cache"] != values["greedy"]) == (name in CACHED_KEYS_DIFFER)


def test_every_family_has_a_model() -> None:
    assert {family(name).config["model_type"] for name in NAMES} == set(FAMILIES)


@pytest.mark.parametrize("model_type", DEFAULTS)
def test_defaults_are_those_of_transformers(model_type: str) -> None:
    """What the configuration class of a family says where `config.json` says nothing."""
    config = transformers.CONFIG_MAPPING[model_type]()
    ours = completed({"model_type": model_type})
    theta = ours.pop("rope_theta")
    local_theta = ours.pop("rope_local_base_freq", theta)
    rope = config.rope_parameters
    by_type = {key: rope.get(key, rope) for key in ("full_attention", "sliding_attention")}
    assert by_type["full_attention"]["rope_theta"] == theta
    assert by_type["sliding_attention"]["rope_theta"] == local_theta
    if model_type.startswith("gemma"):
        del ours["hidden_act"]  # they say hidden_activation
    if model_type.startswith("qwen"):
        del ours["sliding_window"]  # theirs is gone without use_sliding_window
    assert ours == {key: getattr(config, key) for key in ours} | {"model_type": model_type}


def test_models_are_small_and_have_a_tokenizer(tmp_path: Path) -> None:
    for name in NAMES:
        checkpoint = open_checkpoint(write_family(tmp_path / name, name))
        assert (tmp_path / name / "model.safetensors").stat().st_size < 60_000
        if checkpoint.config["model_type"] == "qwen2":
            continue  # Its tokenizer is built anew, whatever class is declared.
        values = expected(name)
        tokenizer = checkpoint.tokenizer()
        assert tokenizer.encode(values["prompt"], add_special_tokens=False).ids == values["ids"]


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_the_models_notice_their_settings(name: str, change: dict[str, Any]) -> None:
    """At the positions whose best logits are known: the prompt's last, and all new ones."""
    checkpoint, values = family(name), expected(name)
    ids = values["ids"] + values["greedy"]
    before = forward(checkpoint.config, checkpoint.tensors, ids, "all").logits
    after = forward({**checkpoint.config, **change}, checkpoint.tensors, ids, "all").logits
    assert np.abs(after - before)[len(values["ids"]) - 1 :].max() > 0.01


@pytest.mark.parametrize(("name", "key", "change"), YARN_CHANGES)
def test_the_models_notice_their_scaling(name: str, key: str, change: dict[str, Any]) -> None:
    config = family(name).config
    test_the_models_notice_their_settings(name, {key: {**config[key], **change}})


def test_names_of_gemma3_in_transformers_5() -> None:
    checkpoint, values = family("gemma3"), expected("gemma3")
    renamed = {
        name.replace("language_model.model.", "model.language_model."): tensor
        for name, tensor in checkpoint.tensors.items()
    }
    assert "model.language_model.norm.weight" in renamed
    result = forward(checkpoint.config, renamed, values["ids"])
    np.testing.assert_allclose(
        result.logits[-1][values["top_ids"]], values["top_logits"], rtol=1e-5
    )


def test_dialects_of_one_config_agree() -> None:
    """`rope_theta` and `rope_scaling` of transformers 4, `rope_parameters` of 5."""
    for name in ("llama_linear", "llama_longrope", "deepseek_v2"):
        config = dict(family(name).config)
        newer = {"rope_theta": config.pop("rope_theta", 10000.0), **config.pop("rope_scaling")}
        older = decoder(family(name).config)
        assert decoder({**config, "rope_parameters": newer}).layers == older.layers
    config = dict(family("gemma3_text").config)
    config["rope_parameters"] = {
        "full_attention": {"rope_theta": config.pop("rope_theta"), **config.pop("rope_scaling")},
        "sliding_attention": {"rope_theta": config.pop("rope_local_base_freq")},
    }
    assert decoder(config).layers == decoder(family("gemma3_text").config).layers


def test_gemma3_has_no_truncate_by_layer_type() -> None:
    """As in transformers 5.24, which looks for it beside the parameters of the layer types."""
    config = family("gemma3_text_yarn").config
    rope = config["rope_parameters"]
    inside = {**rope, "full_attention": {**rope["full_attention"], "truncate": False}}
    assert decoder({**config, "rope_parameters": inside}).layers == decoder(config).layers
    beside = {**rope, "truncate": False}
    assert decoder({**config, "rope_parameters": beside}).layers != decoder(config).layers


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"model_type": ["llama"]}, "no model_type '\\['llama'\\]'"),
        ({"model_type": "mamba"}, "no model_type 'mamba'; it knows deepseek_v2, "),
        ({"hidden_act": "relu"}, "no activation 'relu'; it knows gelu_pytorch_tanh, silu"),
        ({"rope_scaling": {"rope_type": "axial"}}, "no rope_type 'axial'"),
        ({"layer_types": ["full_attention"] * 2, "rope_parameters": {"full_attention": {}}},
         "no rope_parameters by layer type for 'mistral'"),
    ],
)  # fmt: skip
def test_what_the_oracle_lacks_is_named(change: dict[str, Any], complaint: str) -> None:
    checkpoint = family("mistral")
    with pytest.raises(UnsupportedError, match=complaint):
        forward({**checkpoint.config, **change}, checkpoint.tensors, [1])


def test_attention_both_ways_is_named() -> None:
    checkpoint = family("gemma3_text")
    config = {**checkpoint.config, "use_bidirectional_attention": True}
    with pytest.raises(UnsupportedError, match="no use_bidirectional_attention"):
        forward(config, checkpoint.tensors, [1])


def logits(*probabilities: float) -> np.ndarray[Any, Any]:
    return np.log(np.array([probabilities], np.float32))


def test_the_best_experts_are_chosen_by_hand() -> None:
    chosen, weights = route(Experts(2), logits(0.1, 0.4, 0.3, 0.2))
    assert chosen.tolist() == [[1, 2]]
    np.testing.assert_allclose(weights, [[0.4, 0.3]], rtol=1e-6)
    _, weights = route(Experts(2, norm_topk_prob=True), logits(0.1, 0.4, 0.3, 0.2))
    np.testing.assert_allclose(weights, [[4 / 7, 3 / 7]], rtol=1e-6)
    # The lowest id wins a tie.
    assert route(Experts(1), logits(0.2, 0.4, 0.4))[0].tolist() == [[1]]


def test_experts_of_the_best_group_by_hand() -> None:
    groups = Experts(2, n_group=2, topk_group=1, routed_scaling_factor=2.0)
    # The best expert is in the first group, and the second best is not.
    chosen, weights = route(groups, logits(0.5, 0.05, 0.25, 0.2))
    assert chosen.tolist() == [[0, 1]]
    np.testing.assert_allclose(weights, [[1.0, 0.1]], rtol=1e-6)


def test_a_correction_bias_counts_in_the_choice_alone() -> None:
    experts = Experts(
        1, scoring="sigmoid", n_group=2, topk_group=1, group_score_of=2, has_correction_bias=True
    )
    scores = np.array([[0.9, 0.1, 0.6, 0.5]])
    raw = np.log(scores / (1 - scores)).astype(np.float32)
    # Groups have 1.0 and 1.1; a bias makes them 1.0 and 0.9.
    assert route(experts, raw, np.zeros(4, np.float32))[0].tolist() == [[2]]
    chosen, weights = route(experts, raw, np.array([0, 0, -0.2, 0], np.float32))
    assert chosen.tolist() == [[0]]
    np.testing.assert_allclose(weights, [[0.9]], rtol=1e-6)


def test_a_window_by_hand() -> None:
    """Equal scores: each position averages the values of the last two, or of all before it."""
    zeros = np.zeros((1, 3, 2), np.float32)
    values = np.array([[[3.0], [6.0], [12.0]]], np.float32)
    np.testing.assert_allclose(attend(zeros, zeros, values, 1.0)[0, :, 0], [3, 4.5, 7])
    np.testing.assert_allclose(attend(zeros, zeros, values, 1.0, window=2)[0, :, 0], [3, 4.5, 9])
