"""The seed `sampling`: how the next token is chosen."""

from __future__ import annotations

from typing import Any

from generator.errors import InputError


def sampling_csv(generation_config: dict[str, Any]) -> str:
    """The checkpoint's own sampling settings where it asks for sampling, else greedy."""
    temperature, top_k, top_p = 0.0, 0, 1.0
    if generation_config.get("do_sample"):
        temperature = float(generation_config.get("temperature") or 1.0)
        top_k = int(generation_config.get("top_k") or 0)
        top_p = float(generation_config.get("top_p") or 1.0)
    try:
        check_sampling(temperature, top_k, top_p)
    except InputError:
        temperature, top_k, top_p = 0.0, 0, 1.0
    return f"temperature,top_k,top_p,seed\n{temperature},{top_k},{top_p},0\n"


def check_sampling(temperature: float, top_k: int, top_p: float, seed: int = 0) -> None:
    """Raises `InputError` where a sampling setting is out of range."""
    if not 0 <= temperature <= 100:
        raise InputError(f"temperature must be between 0 (greedy) and 100, not {temperature}.")
    if not 0 <= top_k < 2**31:
        raise InputError(f"top_k must be 0 (off) or a positive whole number, not {top_k}.")
    if not 0 < top_p <= 1:
        raise InputError(f"top_p must be above 0 and at most 1, not {top_p}.")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed must be a whole number from 0 to 2^63 - 1, not {seed}.")
