"""Latent attention's matrices in the order in which they are read, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from relama.architectures.latent_attention import latent_attention, tensors
from relama.checkpoint.base import FloatArray, Tensor

FIELDS = {
    "num_attention_heads": 2,
    "q_lora_rank": None,
    "kv_lora_rank": 2,
    "qk_nope_head_dim": 2,
    "qk_rope_head_dim": 4,
    "v_head_dim": 3,
    "rope_interleave": True,
}


def numbered(name: str, rows: int, columns: int = 1) -> dict[str, Tensor]:
    """A matrix whose elements are 100 times the row, and the column."""
    values = (100 * np.arange(rows)[:, None] + np.arange(columns)).astype(np.float32)
    name = f"model.layers.0.self_attn.{name}.weight"
    return {name: Tensor(name, values.shape, "F32", lambda a, b: values[a:b])}


def read(given: dict[str, Tensor], **fields: object) -> dict[str, FloatArray]:
    """The tensors as they are read, by their modules, two rows at a time."""
    found = {}
    for name, tensor in tensors({**FIELDS, **fields}, given).items():
        blocks = [
            tensor.read_rows(i, min(i + 2, tensor.shape[0])) for i in range(0, tensor.shape[0], 2)
        ]
        found[name.split(".")[-2]] = np.concatenate(blocks)
        assert found[name.split(".")[-2]].shape == tensor.shape
    return found


@pytest.mark.parametrize(
    ("interleaved", "order"), [(True, [2, 4, 0, 3, 5, 1]), (False, [2, 3, 0, 4, 5, 1])]
)
def test_the_pairs_of_a_query_are_half_a_head_apart(interleaved: bool, order: list[int]) -> None:
    """Elements 0 and 1 do not turn; 2 and 3, 4 and 5 are pairs, or 2 and 4, 3 and 5."""
    (rows,) = read(numbered("q_proj", 12), rope_interleave=interleaved).values()
    assert (rows[:, 0] / 100).tolist() == [*order, *(6 + i for i in order)]


def test_the_latent_and_what_heads_share_come_apart() -> None:
    found = read(numbered("kv_a_proj_with_mqa", 6))
    assert (found["kv_a_proj"][:, 0] / 100).tolist() == [0, 1]
    assert (found["k_rope_proj"][:, 0] / 100).tolist() == [2, 4, 3, 5]


def test_keys_come_before_values_as_wide_as_they_are() -> None:
    """A head has 2 rows of keys and 3 of values, whose columns of o_proj follow them."""
    (rows,) = read(numbered("kv_b_proj", 10, 2)).values()
    keys, values = [0, 1, 5, 6], [2, 3, 4, None, None, None, 7, 8, 9, None, None, None]
    expected = [[0, 0] if i is None else [100 * i, 100 * i + 1] for i in (*keys, *values)]
    assert rows.tolist() == expected
    (rows,) = read(numbered("o_proj", 2, 6)).values()
    assert rows.tolist() == [
        [0, 1, 2, 0, 0, 0, 3, 4, 5, 0, 0, 0],
        [100, 101, 102, 0, 0, 0, 103, 104, 105, 0, 0, 0],
    ]


def test_the_width_of_a_head() -> None:
    assert latent_attention(FIELDS).head_dim == 6
