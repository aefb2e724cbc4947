"""Rotary embedding's parameters, from both dialects of `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relama.errors import UnsupportedError
from relama.reference.rotary import Rope

Config = Mapping[str, Any]


def rope_parameters(config: Config) -> Rope:
    """Rotary embedding's parameters, the same for all layers, from either dialect.

    As `convert_rope_params_to_dict` and `standardize_rope_params` of transformers: `rope_scaling`
    goes before `rope_parameters`, what is in it before what is beside it, and the other way
    round for `original_max_position_embeddings`. Without scaling, no head is turned in part
    except by Phi-3, which calls LongRoPE `su` or `yarn` in its older files.

    Raises:
        UnsupportedError: there are parameters by layer type.
    """
    given = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    if set(given) & set(config.get("layer_types") or ()):
        raise UnsupportedError(
            f"The reference has no rope_parameters by layer type for '{config['model_type']}', "
            "and transformers has none."
        )
    rope_type = given.get("rope_type", given.get("type", "default"))
    is_phi3 = config["model_type"] == "phi3"
    if is_phi3 and rope_type in ("su", "yarn"):
        rope_type = "longrope"
    context = config["max_position_embeddings"]
    original = given.get("original_max_position_embeddings", context)
    partial = given.get("partial_rotary_factor", config.get("partial_rotary_factor") or 1.0)
    return {
        "rope_theta": config["rope_theta"],
        **given,
        "rope_type": rope_type,
        "partial_rotary_factor": partial if is_phi3 or rope_type != "default" else 1.0,
        "max_position_embeddings": context,
        "original_max_position_embeddings": config.get(
            "original_max_position_embeddings", original
        ),
    }


def rope_parameters_by_layer_type(full: Config, local_theta: float) -> dict[str, Rope]:
    """The parameters of layers that see all and of those with a window.

    As `convert_rope_params_to_dict` of `Gemma3TextConfig`: older files scale the former by
    `rope_scaling` and have `rope_theta` beside it.

    Args:
        local_theta: `rope_theta` of the latter, where `rope_parameters` has none.
    """
    by_type = full.get("rope_parameters") or {}
    everywhere = {**(by_type.get("full_attention") or {}), **(full.get("rope_scaling") or {})}
    nearby = by_type.get("sliding_attention") or {}
    # transformers looks for this one setting of YaRN beside the two, not in them.
    truncate = {"truncate": by_type.get("truncate", True)}
    everywhere, nearby = {**everywhere, **truncate}, {**nearby, **truncate}
    common = {**full, "rope_scaling": None}
    return {
        "full_attention": rope_parameters({**common, "rope_parameters": everywhere}),
        "sliding_attention": rope_parameters(
            {**common, "rope_parameters": nearby, "rope_theta": local_theta}
        ),
    }
