"""A GGUF file of each family, as llama.cpp's converter writes it, through the generated SQL.

The oracle computes the same model from a directory of Hugging Face's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relama.reference import forward, greedy
from tests.families import some
from tests.family_projects import STEPS, built, greedy_ids
from tests.targets import all_logits
from tests.unit.test_gguf_families import CASES, IDS, directory, write_file

#: Norms with 1 added, and windows by a pattern; the other cases are slow.
FIRST = {"gemma3"}


@pytest.mark.parametrize("name", some(FIRST, CASES))
def test_logits_and_greedy_ids(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    project = built(tmp_path / "project", write_file(tmp_path / "model.gguf", case))
    theirs = directory(tmp_path / "directory", case)
    ids = IDS[: project.config.max_position_embeddings - STEPS]
    logits = forward(theirs.config, theirs.tensors, ids).logits[-1]
    assert np.abs(all_logits(project, ids) - logits).max() < 1e-4 * np.abs(logits).max()
    assert greedy_ids(project, ids) == greedy(theirs.config, theirs.tensors, ids, STEPS)
