"""The tiny models of `tests/fixtures/families`, see `tests/fixtures/make_families.py`."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import Checkpoint
from tests.conftest import ROOT

FAMILIES = ROOT / "tests" / "fixtures" / "families"
NAMES = sorted(path.parent.name for path in FAMILIES.glob("*/config.json"))


@cache
def family(name: str) -> Checkpoint:
    """The checkpoint of that name; it has no tokenizer."""
    return open_checkpoint(FAMILIES / name)


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
