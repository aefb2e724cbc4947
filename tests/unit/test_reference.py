"""The oracle on cases small enough to work out by hand, and on its invariants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from relama.checkpoint.base import Tensor
from relama.errors import InputError
from relama.reference import (
    decoder,
    forward,
    gated_mlp,
    greedy,
    log_softmax,
    rms_norm,
    rotate,
)
from tests.fixtures.make_tiny_llama import tiny_config, tiny_tensors

FloatArray = npt.NDArray[np.float32]
LAYER = "model.layers.0"
PROMPT = list(range(1, 9))


def as_tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    def tensor(name: str, values: Any) -> Tensor:
        array = np.asarray(values, dtype=np.float32)
        return Tensor(name, array.shape, "F32", lambda start, stop: array[start:stop])

    return {name: tensor(name, values) for name, values in arrays.items()}


def one_head() -> tuple[dict[str, Any], dict[str, Any]]:
    """One layer, one head of two elements, and a SwiGLU that adds nothing.

    Both embeddings have a root mean square of 1, so that RMSNorm leaves them.
    Queries and keys are 0, so that attention is uniform. Values are the input
    with its elements swapped.
    """
    config = {
        "model_type": "llama",
        "vocab_size": 2,
        "hidden_size": 2,
        "intermediate_size": 1,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "rms_norm_eps": 1e-12,
        "tie_word_embeddings": True,
    }
    zeros, identity, swap = np.zeros((2, 2)), np.eye(2), [[0, 1], [1, 0]]
    return config, {
        "model.embed_tokens.weight": [[1, 1], [1, -1]],
        f"{LAYER}.input_layernorm.weight": [1, 1],
        f"{LAYER}.self_attn.q_proj.weight": zeros,
        f"{LAYER}.self_attn.k_proj.weight": zeros,
        f"{LAYER}.self_attn.v_proj.weight": swap,
        f"{LAYER}.self_attn.o_proj.weight": identity,
        f"{LAYER}.post_attention_layernorm.weight": [1, 1],
        f"{LAYER}.mlp.gate_proj.weight": [[1, 0]],
        f"{LAYER}.mlp.up_proj.weight": [[0, 1]],
        f"{LAYER}.mlp.down_proj.weight": [[0], [0]],
        "model.norm.weight": [1, 1],
    }


def tiny(**overrides: Any) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    config = tiny_config(**overrides)
    return config, tiny_tensors(config)


def test_one_position_attends_to_itself() -> None:
    config, arrays = one_head()
    result = forward(config, as_tensors(arrays), [1])
    embedded, after_layer = result.hidden_states
    np.testing.assert_allclose(embedded, [[1, -1]])
    # v is (-1, 1): attention cancels the residual stream.
    np.testing.assert_allclose(after_layer, [[0, 0]], atol=1e-6)


def test_equal_scores_average_the_values() -> None:
    config, arrays = one_head()
    result = forward(config, as_tensors(arrays), [0, 1])
    # Values (1, 1) and (-1, 1); their mean (0, 1) is added to the second token's (1, -1).
    np.testing.assert_allclose(result.hidden_states[1], [[2, 2], [1, 0]], atol=1e-6)
    # Final norm: (1, 0) has a root mean square of sqrt(1/2). Tied head: rows (1, 1), (1, -1).
    np.testing.assert_allclose(result.final_norm[1], [math.sqrt(2), 0], atol=1e-6)
    np.testing.assert_allclose(result.logits, [[math.sqrt(2), math.sqrt(2)]], atol=1e-6)


def test_scores_are_turned_and_scaled() -> None:
    config, arrays = one_head()
    # Queries and keys of both tokens are (1, 0) before they are turned by their position.
    arrays[f"{LAYER}.self_attn.q_proj.weight"] = [[1, 0], [0, 0]]
    arrays[f"{LAYER}.self_attn.k_proj.weight"] = [[1, 0], [0, 0]]
    result = forward(config, as_tensors(arrays), [0, 1])
    # At position 1: cos(1) / sqrt(2) for position 0, cos(0) / sqrt(2) for itself.
    scores = np.exp(np.array([math.cos(1.0), 1.0]) / math.sqrt(2))
    first, second = scores / scores.sum()
    expected = [1 + first - second, -1 + first + second]
    np.testing.assert_allclose(result.hidden_states[1][1], expected, atol=1e-6)


def test_rms_norm_by_hand() -> None:
    weight = as_tensors({"norm": [1.0, 2.0]})["norm"]
    # sqrt((9 + 16) / 2 + 12.5) = 5
    normed = rms_norm(np.array([[3, 4]], dtype=np.float32), weight, eps=12.5)
    np.testing.assert_allclose(normed, [[0.6, 1.6]], rtol=1e-6)


def test_swiglu_by_hand() -> None:
    config, arrays = one_head()
    arrays[f"{LAYER}.mlp.down_proj.weight"] = [[1], [10]]
    x = np.array([[2, 3]], dtype=np.float32)
    # silu(2) * 3 = 2 / (1 + exp(-2)) * 3 = 5.2847825
    added = gated_mlp(decoder(config), as_tensors(arrays), f"{LAYER}.mlp", x)
    np.testing.assert_allclose(added, [[5.2847825, 52.847825]], rtol=1e-6)


def test_swiglu_of_a_very_negative_gate_is_zero() -> None:
    config, arrays = one_head()
    arrays[f"{LAYER}.mlp.down_proj.weight"] = [[1], [1]]
    x = np.array([[-200, 3]], dtype=np.float32)
    with np.errstate(all="raise", under="ignore"):
        added = gated_mlp(decoder(config), as_tensors(arrays), f"{LAYER}.mlp", x)
    np.testing.assert_allclose(added, [[0, 0]], atol=1e-30)


def test_rotation_depends_on_the_distance_only() -> None:
    """RoFormer, equation 11: the score of q at m and k at n is a function of m - n."""
    rope = decoder(tiny_config()).layers[0].rope
    assert rope is not None
    random = np.random.Generator(np.random.PCG64(0))
    q, k = random.standard_normal((2, 1, 1, 8)).astype(np.float32)
    positions = np.ones((1, 32, 1), dtype=np.float32)
    scores = (rotate(q * positions, rope) @ rotate(k * positions, rope).swapaxes(1, 2))[0]
    for distance in (-20, -1, 0, 1, 7):
        diagonal = np.diagonal(scores, offset=distance)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-5)
    assert abs(scores[0, 0] - scores[0, 1]) > 1e-3


def test_rotation_keeps_lengths_and_position_0() -> None:
    random = np.random.Generator(np.random.PCG64(0))
    x = random.standard_normal((3, 16, 8)).astype(np.float32)
    turned = rotate(x, {"rope_type": "default", "rope_theta": 10000.0})
    np.testing.assert_array_equal(turned[:, 0], x[:, 0])
    np.testing.assert_allclose(
        np.linalg.norm(turned, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5
    )


def test_a_later_token_does_not_change_earlier_logits() -> None:
    config, arrays = tiny()
    tensors = as_tensors(arrays)
    before = forward(config, tensors, PROMPT, "all").logits
    after = forward(config, tensors, [*PROMPT[:-1], 100], "all").logits
    np.testing.assert_allclose(after[:-1], before[:-1], atol=1e-5)
    assert np.abs(after[-1] - before[-1]).max() > 0.1


def test_an_earlier_token_changes_later_logits() -> None:
    config, arrays = tiny()
    tensors = as_tensors(arrays)
    before = forward(config, tensors, PROMPT).logits
    after = forward(config, tensors, [100, *PROMPT[1:]]).logits
    assert np.abs(after - before).max() > 0.1


def test_grouped_queries_are_full_heads_with_repeated_keys() -> None:
    config, arrays = tiny()
    full = config | {"num_key_value_heads": config["num_attention_heads"]}
    group = config["num_attention_heads"] // config["num_key_value_heads"]
    repeated = {}
    for name, values in arrays.items():
        if "k_proj" in name or "v_proj" in name:
            heads = values.reshape(
                config["num_key_value_heads"], config["head_dim"], *values.shape[1:]
            )
            values = np.concatenate([head for head in heads for _ in range(group)])
        repeated[name] = values
    expected = forward(full, as_tensors(repeated), PROMPT).logits
    np.testing.assert_allclose(
        forward(config, as_tensors(arrays), PROMPT).logits, expected, atol=1e-5
    )


@pytest.mark.parametrize(
    "change",
    [
        {"attention_bias": False},
        {"mlp_bias": False},
        {"tie_word_embeddings": True},
        {"rope_parameters": {"rope_theta": 10000.0}},
        {"rms_norm_eps": 0.1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_fixture_notices_every_hyperparameter(change: dict[str, Any]) -> None:
    config, arrays = tiny()
    tensors = as_tensors(arrays)
    expected = forward(config, tensors, PROMPT).logits
    if "tie_word_embeddings" in change:
        del tensors["lm_head.weight"]
    other = forward(config | change, tensors, PROMPT).logits
    assert np.abs(other - expected).max() > 0.1


def test_heads_may_be_wider_than_hidden_size() -> None:
    config, arrays = tiny(head_dim=16)
    result = forward(config, as_tensors(arrays), PROMPT)
    assert result.hidden_states[-1].shape == (8, 48)
    assert np.isfinite(result.logits).all()


def test_shapes() -> None:
    config, arrays = tiny()
    every = forward(config, as_tensors(arrays), PROMPT, "all")
    last = forward(config, as_tensors(arrays), PROMPT, "last")
    assert [state.shape for state in every.hidden_states] == [(8, 48)] * 3
    assert every.final_norm.shape == (8, 48)
    assert every.logits.shape == (8, 101)
    np.testing.assert_allclose(last.logits, every.logits[-1:], atol=1e-5)
    assert every.logits.dtype == np.float32


def test_greedy_continues_the_prompt() -> None:
    config, arrays = tiny()
    tensors = as_tensors(arrays)
    continuation = greedy(config, tensors, PROMPT, max_new_tokens=8)
    assert continuation == [75, 8, 75, 8, 75, 75, 97, 44]
    assert greedy(config, tensors, PROMPT + continuation[:4], 4) == continuation[4:]


def test_log_softmax_by_hand() -> None:
    # Large logits overflow unless the maximum is subtracted.
    logits = np.array([[1000.0, 1000.0 + math.log(3)]], dtype=np.float32)
    np.testing.assert_allclose(np.exp(log_softmax(logits)), [[0.25, 0.75]], rtol=1e-4)


@pytest.mark.parametrize("token_ids", [[], [0, 101], [-1]])
def test_tokens_out_of_range_are_refused(token_ids: list[int]) -> None:
    config, arrays = tiny()
    with pytest.raises(InputError):
        forward(config, as_tensors(arrays), token_ids)
