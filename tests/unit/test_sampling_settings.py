"""What becomes of generation_config.json's sampling settings."""

from __future__ import annotations

from typing import Any

import pytest

from relama.errors import InputError
from relama.sampling import check_sampling, sampling_csv, sampling_warnings

GREEDY = "0.0,0,1.0"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, GREEDY),
        ({"temperature": 0.6, "top_p": 0.9}, GREEDY),
        ({"do_sample": True}, "1.0,50,1.0"),
        ({"do_sample": True, "temperature": None, "top_k": None, "top_p": None}, "1.0,50,1.0"),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, "0.6,50,0.9"),
        ({"do_sample": True, "top_k": 0}, "1.0,0,1.0"),
        ({"do_sample": True, "temperature": 2, "top_k": 40}, "2.0,40,1.0"),
        ({"do_sample": True, "temperature": 0.0}, GREEDY),
        ({"do_sample": True, "temperature": 0, "top_p": 0.5}, GREEDY),
        ({"do_sample": True, "temperature": 0.7, "top_p": 0.0}, GREEDY),
    ],
)
def test_sampling_csv(settings: dict[str, Any], expected: str) -> None:
    assert sampling_csv(settings).splitlines()[1] == f"{expected},0"
    assert sampling_warnings(settings) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1},
        {"temperature": "hot"},
        {"temperature": [1.0]},
        {"temperature": float("nan")},
        {"top_k": -2},
        {"top_k": float("inf")},
        {"top_p": 1.5},
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any]) -> None:
    (key,) = settings
    assert sampling_csv({"do_sample": True} | settings).splitlines()[1] == f"{GREEDY},0"
    (sentence,) = sampling_warnings({"do_sample": True} | settings)
    assert f"{key} {settings[key]!r}" in sentence
    assert sampling_warnings(settings) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 1.5},
        {"no_repeat_ngram_size": 3},
        {"num_beams": 4},
        {"bad_words_ids": [[7]]},
        {"suppress_tokens": [31, 26]},
        {"begin_suppress_tokens": [1]},
        {"forced_bos_token_id": 0},
        {"forced_eos_token_id": 0},
        {"min_new_tokens": 5},
        {"min_length": 5},
        {"guidance_scale": 2.0},
        {"sequence_bias": [[[1], 2.0]]},
        {"stop_strings": ["User:"]},
        {"penalty_alpha": 0.6, "top_k": 4},
        {"penalty_alpha": 0.6},
        {"do_sample": True, "min_p": 0.1},
        {"do_sample": True, "typical_p": 0.9},
        {"do_sample": True, "epsilon_cutoff": 3e-4},
        {"do_sample": True, "repetition_penalty": 1.1},
    ],
)
def test_what_is_not_done_is_named(settings: dict[str, Any]) -> None:
    (sentence,) = sampling_warnings(settings)
    key = next(key for key in settings if key not in ("do_sample", "top_k"))
    assert f"ask for {key} {settings[key]!r}, which" in sentence


def test_one_sentence_names_all() -> None:
    (sentence,) = sampling_warnings({"num_beams": 4, "repetition_penalty": 1.5, "min_p": 0.1})
    assert "ask for num_beams 4, repetition_penalty 1.5, which relama does not do" in sentence


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 1.0, "num_beams": 1, "no_repeat_ngram_size": 0},
        {"repetition_penalty": 1, "bad_words_ids": [], "suppress_tokens": None},
        {"min_p": 0.1, "typical_p": 0.9, "epsilon_cutoff": 0.1},  # Without sampling.
        {"do_sample": True, "min_p": None, "typical_p": 1.0, "eta_cutoff": 0.0},
        {"penalty_alpha": 0.6, "top_k": 1},
        {"do_sample": True, "penalty_alpha": 0.6, "top_k": 4},
        {"max_length": 20, "pad_token_id": 0, "transformers_version": "4.40.0"},
    ],
)
def test_what_changes_nothing_is_not(settings: dict[str, Any]) -> None:
    assert sampling_warnings(settings) == []


def test_ranges_are_those_of_transformers() -> None:
    for settings in ((0, 0, 1), (0.5, 2**31 - 1, 0), (1000, 1, 0.5)):
        check_sampling(*settings)
    for temperature in (-0.1, float("inf"), float("nan")):
        with pytest.raises(InputError, match="temperature must be a number of at least 0"):
            check_sampling(temperature, 0, 1)
    for top_p in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="top_p must be at least 0"):
            check_sampling(0, 0, top_p)
    with pytest.raises(InputError, match="top_k must be a whole number"):
        check_sampling(0, 2**31, 1)
