"""The names of a project's relations. No other place makes one, or takes one apart.

`layer_07__q_proj` is an operator of a layer, `layer_07__q_proj_weight` its weight, `layer_07`
the layer as a whole; `embedding` and `embedding_weight` stand outside the layers.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: dbt's own: the name of an ephemeral model within a statement.
CTE_PREFIX = "__dbt__cte__"

#: The weights of the first and the last operator; where they are one, the model is tied.
EMBEDDING_WEIGHT = "embedding_weight"
HEAD_WEIGHT = "lm_head_weight"

#: The keys and values of a layer, or of all layers.
KV_CACHE = "kv_cache"

_WEIGHT = "_weight"
_LAYER = re.compile(r"layer_(\d+)(?:__|$)")


class Name(NamedTuple):
    """What a name says.

    Attributes:
        layer: the number of the layer, `None` outside the layers.
        base: the rest, such as `q_proj`, the same in every layer.
    """

    layer: int | None
    base: str


def parsed(name: str) -> Name:
    """`layer_07__q_proj_weight` is `q_proj` of layer 7."""
    layer = _LAYER.match(name)
    base = name[layer.end() :] if layer else name
    return Name(int(layer[1]) if layer else None, base.removesuffix(_WEIGHT))


def layer_within(text: str) -> int | None:
    """The layer that a longer name speaks of, such as that of a test of one of its models."""
    layer = re.search(r"layer_(\d+)", text)
    return int(layer[1]) if layer else None


def layer_model(layer: int) -> str:
    """The model, the folder and the tag that stand for a layer."""
    return f"layer_{layer:02d}"


def layer_models(layers: int) -> list[str]:
    """The models that stand for so many layers, in order."""
    return [layer_model(layer) for layer in range(layers)]


def operator(base: str, layer: int | None) -> str:
    """An operator, or anything else that a layer has one of."""
    return base if layer is None else f"{layer_model(layer)}__{base}"


def weight(operator_name: str) -> str:
    """The weight that an operator reads."""
    return operator_name + _WEIGHT


def kv_cache(layer: int | None) -> str:
    """The keys and values of all positions, a row for each head; None is that of all layers."""
    return operator(KV_CACHE, layer)


def kv_pages(layer: int) -> str:
    """The same once more, in pages; see the macro `kv_page`."""
    return operator("kv_pages", layer)


def kv_caches(layers: int) -> list[str]:
    """The cache of each of so many layers, in order."""
    return [kv_cache(layer) for layer in range(layers)]


def all_kv_pages(layers: int) -> list[str]:
    """The pages of each layer's cache, in order."""
    return [kv_pages(layer) for layer in range(layers)]


def inverse_frequencies(angles: str) -> str:
    """The table of frequencies behind a model of angles, `rotary_angles` or another."""
    return "inverse_frequencies" + angles.removeprefix("rotary_angles")


def staged(tensor: str) -> str:
    """`model.layers.7.mlp.up_proj.weight` -> `layer_07__up_proj`, a bias ending in `_bias`."""
    words = tensor.split(".")
    base = words[-2] + ("_bias" if words[-1] == "bias" else "")
    return operator(base, int(words[2]) if words[1] == "layers" else None)
