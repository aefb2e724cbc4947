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


def _breadth(config: Mapping[str, Any]) -> tuple[bool, int]:
    """Whether there is a window, and how long a text may be."""
    text = config.get("text_config", config)
    has_window = text.get("sliding_window") and text.get("use_sliding_window", True)
    return bool(has_window), text["max_position_embeddings"]


#: The models of families that are compiled.
COMPILED = [name for name in NAMES if family(name).config["model_type"] in ARCHITECTURES]


def _each() -> list[str]:
    found: dict[str, str] = {}
    for name in sorted(COMPILED, key=lambda name: _breadth(family(name).config), reverse=True):
        found.setdefault(family(name).config["model_type"], name)
    return sorted(found.values())


#: A model of each `model_type` that is compiled, with a window if there is such a one.
EACH = _each()


def some(first: Collection[object], cases: Iterable[object] = COMPILED) -> list[Any]:
    """Cases for `pytest.mark.parametrize`, of which all but `first` are slow.

    A tuple has several arguments of a test.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[] if case in first else [pytest.mark.slow],
        )
        for case in cases
    ]


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
    # Otherwise it would be built anew, as the tokenizers of some families are.
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


def write_wide_family(directory: Path, name: str, times: int) -> Path:
    """The checkpoint of that name with a wider MLP of the same results.

    Every row of gate and up is there `times` times, and so is every column of down, divided.
    """
    write_family(directory, name)
    config = json.loads((directory / "config.json").read_text())
    text = config.get("text_config", config)
    text |= {key: text[key] * times for key in text if key.endswith("intermediate_size")}
    (directory / "config.json").write_text(json.dumps(config))
    tensors = {}
    for key, tensor in family(name).tensors.items():
        value, (module, kind) = tensor.read(), key.split(".")[-2:]
        if module in ("gate_proj", "up_proj", "w1", "w3"):
            value = np.concatenate([value] * times)
        elif module == "gate_up_proj":
            value = np.concatenate([half for half in np.split(value, 2) for _ in range(times)])
        elif module in ("down_proj", "w2") and kind == "weight":
            value = np.tile(value / times, (1, times))
        tensors[key] = value
    save_file(tensors, directory / "model.safetensors")
    return directory
