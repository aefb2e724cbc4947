"""The tiny models of `tests/fixtures/families`, see `tests/fixtures/make_families.py`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from relama.architectures import ARCHITECTURES
from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import Checkpoint
from tests.conftest import ROOT

FAMILIES = ROOT / "tests" / "fixtures" / "families"
NAMES = sorted(path.parent.name for path in FAMILIES.glob("*/config.json"))


@cache
def family(name: str) -> Checkpoint:
    """The checkpoint of that name; it has no tokenizer."""
    return open_checkpoint(FAMILIES / name)


def _has_window(config: Mapping[str, Any]) -> bool:
    text = config.get("text_config", config)
    return bool(text.get("sliding_window")) and text.get("use_sliding_window", True)


#: The models of families that are compiled.
COMPILED = [name for name in NAMES if family(name).config["model_type"] in ARCHITECTURES]

#: One model of each `model_type` that is compiled, the first with a window if there is any.
ONE_OF_EACH: dict[str, str] = {}
for _name in sorted(COMPILED, key=lambda name: not _has_window(family(name).config)):
    ONE_OF_EACH.setdefault(family(_name).config["model_type"], _name)


def some(first: Collection[str], names: Iterable[str] = COMPILED) -> list[Any]:
    """Names for `pytest.mark.parametrize`, of which all but `first` are slow."""
    slow = [pytest.mark.slow]
    return [pytest.param(name, marks=[] if name in first else slow) for name in names]


@cache
def expected(name: str) -> dict[str, Any]:
    """What transformers computes of it."""
    values: dict[str, Any] = json.loads((FAMILIES / name / "expected.json").read_text())
    return values


def write_family(directory: Path, name: str) -> Path:
    """Copies the checkpoint of that name, with the tokenizer that all share."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in (
        FAMILIES / name / "config.json",
        FAMILIES / name / "model.safetensors",
        FAMILIES / "tokenizer.json",
    ):
        shutil.copy(file, directory)
    return directory


def write_wide_family(directory: Path, name: str, times: int) -> Path:
    """The checkpoint of that name with a wider MLP of the same results.

    Every row of gate and up is there `times` times, and so is every column of down, divided.
    """
    write_family(directory, name)
    whole = dict(family(name).config)
    text = whole["text_config"] = dict(whole["text_config"]) if "text_config" in whole else whole
    text["intermediate_size"] *= times
    if text is whole:
        del whole["text_config"]
    (directory / "config.json").write_text(json.dumps(whole))
    tensors = {}
    for key, tensor in family(name).tensors.items():
        value = tensor.read()
        if key.endswith((".gate_proj.weight", ".up_proj.weight")):
            value = np.tile(value, (times, 1))
        elif key.endswith(".gate_up_proj.weight"):
            value = np.concatenate([np.tile(half, (times, 1)) for half in np.split(value, 2)])
        elif key.endswith(".down_proj.weight"):
            value = np.tile(value / times, (1, times))
        tensors[key] = value
    save_file(tensors, directory / "model.safetensors")
    return directory
