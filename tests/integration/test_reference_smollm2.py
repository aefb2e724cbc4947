"""The oracle on SmolLM2-135M against what transformers computed (`fixtures/reference`)."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers.pre_tokenizers import ByteLevel

from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import Checkpoint
from relama.reference import forward, log_softmax

REFERENCE = Path(__file__).parents[1] / "fixtures" / "reference"
PROMPTS: dict[str, Any] = json.loads((REFERENCE / "smollm2_135m.json").read_text())["prompts"]


@functools.cache
def opened(path: Path) -> Checkpoint:
    return open_checkpoint(path)


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_logits_and_hidden_states(smollm2_gguf: Path, prompt: dict[str, Any]) -> None:
    checkpoint = opened(smollm2_gguf)
    result = forward(checkpoint.config, checkpoint.tensors, prompt["ids"])

    logits = result.logits[-1]
    top_ids = np.argsort(-logits)[:10]
    assert top_ids.tolist() == prompt["top_ids"]
    np.testing.assert_allclose(logits[top_ids], prompt["top_logits"], atol=1e-3, rtol=0)

    # transformers lists the embedding, the output of layers 1 to 29, and the output of
    # layer 30 after the final norm; what lies between the last two is not in the file.
    states = [*result.hidden_states[:-1], result.final_norm]
    norms = [np.linalg.norm(state[-1]) for state in states]
    np.testing.assert_allclose(norms, prompt["hidden_norms"], rtol=1e-4)


def test_perplexity(smollm2_gguf: Path) -> None:
    expected = json.loads((REFERENCE / "perplexity.json").read_text())
    checkpoint = opened(smollm2_gguf)
    tokenizer = checkpoint.tokenizer()
    # The reference's ids come from a tokenizer that does not set digits apart (see README.md
    # beside it): it reads "\n\n   1" as one token more. The oracle is to score the same ids.
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    text = (REFERENCE / "perplexity.txt").read_text(encoding="utf-8")
    ids = tokenizer.encode(text, add_special_tokens=False).ids[: expected["tokens"]]
    assert ids[: len(expected["first_ids"])] == expected["first_ids"]

    logits = forward(checkpoint.config, checkpoint.tensors, ids, logits_for="all").logits
    scored = log_softmax(logits[:-1])[np.arange(len(ids) - 1), ids[1:]]
    assert len(scored) == expected["scored"]
    assert math.exp(-scored.mean()) == pytest.approx(expected["perplexity"], rel=1e-5)
