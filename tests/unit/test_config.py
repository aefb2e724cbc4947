"""Hyperparameters from both dialects of `config.json`, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from relama.config import RopeParameters, config_warnings, model_config
from relama.errors import CheckpointError, UnsupportedError
from relama.rope import inverse_frequencies
from tests.fixtures.make_tiny_llama import LLAMA3_ROPE, tiny_config

MINIMAL = {
    "model_type": "llama",
    "vocab_size": 100,
    "hidden_size": 48,
    "intermediate_size": 88,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
}
LINEAR = {"rope_type": "linear", "rope_theta": 500000.0, "factor": 4.0}


@pytest.mark.parametrize("rope", [{}, {"rope_theta": 500000.0}, LINEAR, LLAMA3_ROPE])
def test_both_dialects_mean_the_same(rope: dict[str, Any]) -> None:
    v4 = tiny_config(dialect="v4", rope=rope)
    v5 = tiny_config(dialect="v5", rope=rope)
    assert "rope_parameters" not in v4
    assert "rope_theta" not in v5
    assert model_config(v4) == model_config(v5)


def test_defaults_are_those_of_llama_config() -> None:
    config = model_config(MINIMAL)
    assert config.num_key_value_heads == 6
    assert config.head_dim == 8
    assert config.max_position_embeddings == 2048
    assert config.rms_norm_eps == 1e-6
    assert config.rope == RopeParameters(rope_theta=10000.0, rope_type="default")
    assert not config.tie_word_embeddings
    assert not config.attention_bias
    assert not config.mlp_bias


def test_null_means_absent() -> None:
    nulls = {"head_dim": None, "num_key_value_heads": None, "rope_scaling": None}
    assert model_config(MINIMAL | nulls) == model_config(MINIMAL)


def test_every_field_is_read() -> None:
    config = model_config(tiny_config(num_hidden_layers=3, head_dim=16))
    assert config.model_type == "llama"
    assert config.vocab_size == 101
    assert config.hidden_size == 48
    assert config.intermediate_size == 88
    assert config.num_hidden_layers == 3
    assert config.num_attention_heads == 6
    assert config.num_key_value_heads == 2
    assert config.head_dim == 16
    assert config.max_position_embeddings == 256
    assert config.rms_norm_eps == 1e-5
    assert config.rope == RopeParameters(10000.0, "llama3", 8.0, 1.0, 4.0, 128)
    assert not config.tie_word_embeddings
    assert config.attention_bias
    assert config.mlp_bias


def test_older_files_say_type_for_rope_type() -> None:
    config = model_config(MINIMAL | {"rope_scaling": {"type": "linear", "factor": 2.0}})
    assert config.rope == RopeParameters(rope_type="linear", factor=2.0)


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("rope_type", ["su", "mrope", "proportional"])
def test_an_unknown_rope_type_is_named(key: str, rope_type: str) -> None:
    with pytest.raises(
        UnsupportedError, match=f"'{rope_type}'.*default, linear, dynamic, llama3, yarn, longrope"
    ):
        model_config(MINIMAL | {key: {"rope_type": rope_type, "factor": 2.0}})


def test_longrope_has_long_factors_where_a_context_needs_them() -> None:
    scaling = {"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0, 3.0, 4.0, 5.0]}
    fields = MINIMAL | {"rope_scaling": scaling, "max_position_embeddings": 64}
    long = model_config(fields | {"original_max_position_embeddings": 16})
    assert (long.max_position_embeddings, long.original_context) == (64, 16)
    assert long.rope.long_factor == (2.0, 3.0, 4.0, 5.0)
    for original in (64, 128):
        short = model_config(fields | {"original_max_position_embeddings": original})
        assert (short.max_position_embeddings, short.original_context) == (64, None)
        assert short.rope.long_factor == ()


def test_dynamic_is_warned_of() -> None:
    """It scales nothing up to the context; longrope is computed on both sides of its own."""
    fields = MINIMAL | {"max_position_embeddings": 64}
    (warning,) = config_warnings(fields | {"rope_scaling": {"type": "dynamic", "factor": 2.0}})
    assert "dynamic: up to 64 positions" in warning
    assert config_warnings(fields | {"rope_scaling": {"type": "longrope"}}) == []
    assert config_warnings(fields) == []


@pytest.mark.parametrize("field", [field for field in MINIMAL if field != "model_type"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(CheckpointError, match=f"'{field}' is missing"):
        model_config({key: value for key, value in MINIMAL.items() if key != field})


@pytest.mark.parametrize("field", ["factor", "low_freq_factor", "high_freq_factor"])
def test_a_missing_field_of_llama3_is_named(field: str) -> None:
    rope = {key: value for key, value in LLAMA3_ROPE.items() if key != field}
    with pytest.raises(CheckpointError, match=f"'{field}' is missing"):
        model_config(MINIMAL | {"rope_parameters": rope})


@pytest.mark.parametrize("value", [True, False, 0, -48, 48.0, "48", [48]])
@pytest.mark.parametrize(
    "field",
    ["hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size"],
)
def test_sizes_are_positive_whole_numbers(field: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=f"{field} must be a positive whole number"):
        model_config(MINIMAL | {field: value})


@pytest.mark.parametrize("value", ["false", 0, 1, []])
@pytest.mark.parametrize("field", ["tie_word_embeddings", "attention_bias", "mlp_bias"])
def test_flags_are_true_or_false(field: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=f"{field} must be true or false"):
        model_config(MINIMAL | {field: value})
    assert model_config(MINIMAL | {field: None}) == model_config(MINIMAL)


@pytest.mark.parametrize("value", [True, 0, -1e-5, float("nan"), float("inf"), "1e-5"])
@pytest.mark.parametrize("field", ["rms_norm_eps", "rope_theta"])
def test_constants_are_positive_numbers(field: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=f"{field} must be a positive number"):
        model_config(MINIMAL | {field: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_key_value_heads": 4}, "multiple of num_key_value_heads"),
        ({"num_attention_heads": 7}, "multiple of num_attention_heads"),
        ({"head_dim": 7}, "must be even"),
        ({"rope_scaling": "linear"}, "must be an object"),
        ({"rope_parameters": LLAMA3_ROPE | {"high_freq_factor": 1.0}}, "must be above"),
    ],
)
def test_contradictions_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        model_config(MINIMAL | change)


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
V5_DEFAULT = {"rope_type": "default", "rope_theta": 10000.0}
TIMES_FOUR = {"rope_type": "linear", "factor": 4.0}
SHORT = {"original_max_position_embeddings": 64}
PLAIN, DIVIDED = [1.0, 0.1, 0.01, 0.001], [0.25, 0.025, 0.0025, 0.00025]
LLAMA3_AT_64 = [1.0, 0.01304226, 0.00125, 0.000125]

#: A config.json and the frequencies of `LlamaRotaryEmbedding(LlamaConfig(**config)).inv_freq`
#: in transformers 5.24 (torch 2.13, CPU); or, as text, what the refusal names. Where
#: transformers has an answer of another kind (yarn, dynamic, both directions) or fails
#: (partial_rotary_factor with scaling, a null rope_type), there is a refusal.
DIALECTS: list[tuple[dict[str, Any], list[float] | str]] = [
    ({}, PLAIN),
    ({"rope_theta": 500000}, [1.0, 0.03760603, 0.001414213, 5.318296e-05]),
    (
        {"rope_parameters": V5_DEFAULT | {"rope_theta": 500.0}, "rope_theta": 10000.0},
        [1.0, 0.2114742, 0.04472136, 0.009457416],
    ),
    (
        {"rope_parameters": TIMES_FOUR, "rope_theta": 500.0},
        [0.25, 0.05286856, 0.01118034, 0.002364354],
    ),
    (
        {"rope_parameters": V5_DEFAULT | {"rope_theta": 500.0}, "rope_scaling": TIMES_FOUR},
        DIVIDED,
    ),
    ({"rope_scaling": {"type": "linear", "factor": 4}}, DIVIDED),
    ({"rope_scaling": TIMES_FOUR}, DIVIDED),
    ({"rope_scaling": TIMES_FOUR | {"type": "linear"}}, DIVIDED),
    ({"rope_scaling": {"type": "linear", "rope_type": "default", "factor": 4.0}}, PLAIN),
    ({"rope_scaling": {"factor": 4.0}}, PLAIN),
    ({"rope_scaling": {"type": "linear", "rope_type": None, "factor": 4.0}}, "'None'"),
    ({"rope_parameters": V5_DEFAULT, "rope_scaling": TIMES_FOUR}, DIVIDED),
    ({"rope_parameters": TIMES_FOUR, "rope_scaling": None}, DIVIDED),
    ({"rope_parameters": TIMES_FOUR, "rope_scaling": {}}, DIVIDED),
    ({"rope_scaling": LLAMA3 | SHORT}, LLAMA3_AT_64),
    ({"rope_scaling": LLAMA3 | SHORT | {"type": "llama3"}}, LLAMA3_AT_64),
    ({"rope_scaling": LLAMA3}, [1.0, 0.1, 0.00125, 0.000125]),
    ({"rope_scaling": LLAMA3, **SHORT}, LLAMA3_AT_64),
    (
        {"rope_scaling": LLAMA3 | SHORT, "original_max_position_embeddings": 128},
        [1.0, 0.04275118, 0.00125, 0.000125],
    ),
    (
        {"rope_parameters": LLAMA3 | {"rope_theta": 500.0}, **SHORT},
        [1.0, 0.09761663, 0.00559017, 0.001182177],
    ),
    ({"rope_scaling": TIMES_FOUR, **SHORT}, DIVIDED),
    ({"rope_scaling": TIMES_FOUR | {"attention_factor": 2.0, "mscale": 3.0}}, DIVIDED),
    ({"partial_rotary_factor": 0.5}, PLAIN),
    ({"rope_parameters": V5_DEFAULT | {"partial_rotary_factor": 0.5}}, PLAIN),
    ({"rope_scaling": TIMES_FOUR, "partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
    ({"rope_scaling": TIMES_FOUR | {"partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5"),
    ({"rope_scaling": LLAMA3 | {"partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5"),
    ({"rope_scaling": TIMES_FOUR, "partial_rotary_factor": 1.0}, DIVIDED),
    (
        {"rope_scaling": TIMES_FOUR | {"partial_rotary_factor": 1.0}, "partial_rotary_factor": 0.5},
        DIVIDED,
    ),
    ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, PLAIN),
    ({"rope_scaling": {"type": "su", "factor": 4.0}}, "'su'"),
    ({"rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]}}, "'mrope'"),
    (
        {
            "layer_types": ["full_attention", "sliding_attention"],
            "rope_parameters": {"full_attention": V5_DEFAULT, "sliding_attention": V5_DEFAULT},
        },
        "layers of type 'full_attention'",
    ),
    ({"head_dim": 16}, [10.0 ** (-i / 2) for i in range(8)]),
    ({"head_dim": None}, PLAIN),
    ({"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}, PLAIN),
    ({"attention_multiplier": 0.1, "logits_scaling": 4.0, "pretraining_tp": 2}, PLAIN),
    ({"pad_token_id": -1, "auto_map": {}, "architectures": ["LlamaForTokenClassification"]}, PLAIN),
    ({"is_causal": True}, PLAIN),
    ({"is_causal": False}, "is_causal is false"),
    ({"is_causal": None}, "is_causal is null"),
    ({"per_layer_config": {}}, PLAIN),
    ({"per_layer_config": {"0": {"hidden_act": "relu"}}}, "per_layer_config is {"),
    ({"use_bidirectional_attention": None}, PLAIN),
    ({"use_bidirectional_attention": True}, "use_bidirectional_attention is true"),
    ({"use_bidirectional_attention": "all"}, 'use_bidirectional_attention is "all"'),
]


@pytest.mark.parametrize(("change", "expected"), DIALECTS)
def test_dialects_are_read_as_transformers_reads_them(
    change: dict[str, Any], expected: list[float] | str
) -> None:
    heads = {"hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 256}
    if isinstance(expected, str):
        with pytest.raises(UnsupportedError, match=re.escape(expected)) as raised:
            model_config(MINIMAL | heads | change)
        assert "supported: " in str(raised.value)
        return
    config = model_config(MINIMAL | heads | change)
    frequencies = inverse_frequencies(config.rope, config.head_dim)
    np.testing.assert_allclose(frequencies, expected, rtol=1e-6)
