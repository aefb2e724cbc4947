"""The seed `sampling`: how the next token is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from relama.errors import InputError

#: What transformers' `generate` does beside temperature, top_k and top_p, and relama does
#: not, by its field of generation_config.json; with the values that change nothing.
NOT_DONE: dict[str, tuple[object, ...]] = {
    "bad_words_ids": (None, []),
    "begin_suppress_tokens": (None, []),
    "constraints": (None, []),
    "dola_layers": (None,),
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1.0),
    "exponential_decay_length_penalty": (None,),
    "force_words_ids": (None, []),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "guidance_scale": (None, 1.0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "no_repeat_ngram_size": (None, 0),
    "num_beam_groups": (None, 1),
    "num_beams": (None, 1),
    "repetition_penalty": (None, 1.0),
    "sequence_bias": (None, [], {}),
    "stop_strings": (None, [], ""),
    "suppress_tokens": (None, []),
    "token_healing": (None, False),
    "watermarking_config": (None,),
}

#: The same of what counts where a token is drawn.
NOT_DONE_IN_SAMPLING: dict[str, tuple[object, ...]] = {
    "epsilon_cutoff": (None, 0.0),
    "eta_cutoff": (None, 0.0),
    "min_p": (None, 0.0),
    "top_h": (None,),
    "typical_p": (None, 1.0),
}

#: The fields that are read here.
FIELDS = (
    "do_sample",
    "penalty_alpha",
    "temperature",
    "top_k",
    "top_p",
    *NOT_DONE,
    *NOT_DONE_IN_SAMPLING,
)

GREEDY = (0.0, 0, 1.0)

#: `GenerationConfig._get_default_generation_params`, which `generate` fills in for None.
DEFAULT_TOP_K = 50


def sampling_csv(generation_config: Mapping[str, Any]) -> str:
    """The checkpoint's own sampling settings where it asks for sampling, else greedy."""
    temperature, top_k, top_p = _own_settings(generation_config) or GREEDY
    return f"temperature,top_k,top_p,seed\n{temperature},{top_k},{top_p},0\n"


def sampling_warnings(generation_config: Mapping[str, Any]) -> list[str]:
    """A sentence that names what the checkpoint asks for and relama does not do, if anything."""
    config = generation_config
    sentences = []
    if _own_settings(config) is None:
        settings = ", ".join(
            f"{key} {config.get(key)!r}" for key in ("temperature", "top_k", "top_p")
        )
        sentences.append(
            f"The checkpoint's sampling settings are out of range ({settings}); greedy is used."
        )
    sampled = bool(config.get("do_sample"))
    not_done = NOT_DONE | (NOT_DONE_IN_SAMPLING if sampled else {})
    names = [key for key, neutral in not_done.items() if config.get(key) not in neutral]
    # `GenerationConfig.get_generation_mode`: both together are contrastive search.
    top_k = _number(config, "top_k", DEFAULT_TOP_K)
    if not sampled and _number(config, "penalty_alpha", 0) > 0 and top_k > 1:
        names.append("penalty_alpha")
    if names:
        values = ", ".join(f"{key} {config[key]!r}" for key in sorted(names))
        sentences.append(
            f"The checkpoint's generation settings ask for {values}, which relama does not do; "
            "transformers may choose other tokens."
        )
    return sentences


def check_sampling(temperature: float, top_k: int, top_p: float, seed: int = 0) -> None:
    """Raises `InputError` where a sampling setting is out of range."""
    if not 0 <= temperature < math.inf:
        raise InputError(f"temperature must be a number of at least 0 (greedy), not {temperature}.")
    if not 0 <= top_k < 2**31:
        raise InputError(f"top_k must be a whole number from 0 (off) to 2^31 - 1, not {top_k}.")
    if not 0 <= top_p <= 1:
        raise InputError(f"top_p must be at least 0 (greedy) and at most 1, not {top_p}.")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed must be a whole number from 0 to 2^63 - 1, not {seed}.")


def _own_settings(generation_config: Mapping[str, Any]) -> tuple[float, int, float] | None:
    """Temperature, top_k and top_p; None where one of them makes no sense."""
    if not generation_config.get("do_sample"):
        return GREEDY
    given = {key: value for key, value in generation_config.items() if value is not None}
    try:
        temperature = float(given.get("temperature", 1.0))
        top_k = int(given.get("top_k", DEFAULT_TOP_K))
        top_p = float(given.get("top_p", 1.0))
        if temperature == 0 or top_p == 0:  # Only the best token is left.
            return GREEDY
        check_sampling(temperature, top_k, top_p)
    except (TypeError, ValueError, OverflowError, InputError):
        return None
    return temperature, top_k, top_p


def _number(generation_config: Mapping[str, Any], key: str, default: float) -> float:
    value = generation_config.get(key)
    if value is None:
        return default
    return value if isinstance(value, int | float) else 0
