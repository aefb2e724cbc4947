"""Frequencies and table of rotary embedding, against hand-worked and published values."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from relama import reference
from relama.config import RopeParameters
from relama.rope import inverse_frequencies, rope_table

# Llama 3.1 8B, config.json.
LLAMA_3_1 = RopeParameters(
    rope_theta=500000.0,
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=8192,
)
SCALINGS = [
    RopeParameters(rope_theta=100000.0),
    RopeParameters(rope_type="linear", factor=4.0),
    LLAMA_3_1,
]
LONGROPE = RopeParameters(
    rope_type="longrope",
    original_max_position_embeddings=128,
    attention_factor=1.25,
    short_factor=tuple(1 + i / 32 for i in range(32)),
    long_factor=tuple(1 + i for i in range(32)),
)


def test_default_frequencies_by_hand() -> None:
    # 10000 ** (0, -2/8, -4/8, -6/8)
    frequencies = inverse_frequencies(RopeParameters(rope_theta=10000.0), head_dim=8)
    np.testing.assert_allclose(frequencies, [1.0, 0.1, 0.01, 0.001], rtol=1e-12)


def test_linear_divides_every_frequency() -> None:
    rope = RopeParameters(rope_theta=10000.0, rope_type="linear", factor=4.0)
    np.testing.assert_allclose(
        inverse_frequencies(rope, head_dim=4), [1.0 / 4, 0.01 / 4], rtol=1e-12
    )


def test_llama3_by_hand() -> None:
    # Context 128 and wavelengths 2 pi * (1, 10, 100, 1000): kept below 32, divided above 128.
    # Between: 128 / 62.83 = 2.0372 turns, smooth = (2.0372 - 1) / 3 = 0.34573.
    rope = RopeParameters(10000.0, "llama3", 8.0, 1.0, 4.0, original_max_position_embeddings=128)
    blended = (1 - 0.34573) * 0.1 / 8 + 0.34573 * 0.1
    np.testing.assert_allclose(
        inverse_frequencies(rope, head_dim=8), [1.0, blended, 0.01 / 8, 0.001 / 8], rtol=1e-5
    )


def test_llama3_of_llama_3_1() -> None:
    plain = inverse_frequencies(RopeParameters(rope_theta=500000.0), head_dim=128)
    scaled = inverse_frequencies(LLAMA_3_1, head_dim=128)
    wavelengths = 2 * math.pi / plain
    fast, slow = wavelengths < 8192 / 4, wavelengths > 8192 / 1
    between = ~fast & ~slow
    assert fast.any() and slow.any() and between.any()
    np.testing.assert_allclose(scaled[fast], plain[fast], rtol=1e-12)
    np.testing.assert_allclose(scaled[slow], plain[slow] / 8, rtol=1e-12)
    assert (scaled[between] < plain[between]).all()
    assert (scaled[between] > plain[between] / 8).all()
    assert (np.diff(scaled) < 0).all()


@pytest.mark.parametrize(("boundary", "divisor"), [(8192 / 4, 1.0), (8192 / 1, 8.0)])
def test_llama3_is_continuous(boundary: float, divisor: float) -> None:
    """A pair whose wavelength lies just beside a boundary is scaled as one just across it."""
    for wavelength in (boundary * (1 - 1e-9), boundary * (1 + 1e-9)):
        # At head_dim 4 the second frequency is theta ** -0.5.
        theta = (wavelength / (2 * math.pi)) ** 2
        rope = RopeParameters(theta, "llama3", 8.0, 1.0, 4.0, 8192)
        scaled = inverse_frequencies(rope, head_dim=4)[1]
        assert scaled == pytest.approx(2 * math.pi / boundary / divisor, rel=1e-6)


def test_longrope_has_a_divisor_for_each_pair() -> None:
    rope = RopeParameters(10000.0, "longrope", short_factor=(1.0, 2.0), long_factor=(4.0, 8.0))
    np.testing.assert_allclose(inverse_frequencies(rope, 4), [1.0, 0.01 / 2], rtol=1e-12)
    np.testing.assert_allclose(inverse_frequencies(rope, 4, is_long=True), [0.25, 0.01 / 8])


def test_table_by_hand() -> None:
    cos, sin = rope_table(RopeParameters(rope_theta=10000.0), head_dim=4, positions=3)
    assert cos.shape == sin.shape == (3, 2)
    assert cos.dtype == sin.dtype == np.float32
    np.testing.assert_allclose(
        cos, [[1.0, 1.0], [0.5403023, 0.99995], [-0.4161468, 0.9998]], atol=1e-6
    )
    np.testing.assert_allclose(
        sin, [[0.0, 0.0], [0.841471, 0.00999983], [0.9092974, 0.01999867]], atol=1e-6
    )


@pytest.mark.parametrize("rope", SCALINGS, ids=lambda rope: rope.rope_type)
def test_table_agrees_with_the_oracle(rope: RopeParameters) -> None:
    """The oracle turns (1, 0) into (cos, sin)."""
    positions, head_dim = 4096, 64
    half = head_dim // 2
    x = np.zeros((1, positions, head_dim), dtype=np.float32)
    x[..., :half] = 1.0
    turned = reference.rotate(x, dataclasses.asdict(rope))[0]
    cos, sin = rope_table(rope, head_dim, positions)
    # An angle near 4096 has float32 steps of 5e-4; frequencies may differ in their last bit.
    np.testing.assert_allclose(turned[:, :half], cos, atol=1e-3)
    np.testing.assert_allclose(turned[:, half:], sin, atol=1e-3)
    np.testing.assert_allclose(turned[:64, :half], cos[:64], atol=1e-5)
    np.testing.assert_allclose(turned[:64, half:], sin[:64], atol=1e-5)


@pytest.mark.parametrize("positions", [128, 129])
def test_a_table_of_longrope_is_by_the_length_of_the_sequence(positions: int) -> None:
    """All positions by the short factors up to the original context, by the long ones past it."""
    x = np.zeros((1, positions, 64), dtype=np.float32)
    x[..., :32] = 1.0
    turned = reference.rotate(x, dataclasses.asdict(LONGROPE))[0]
    cos, sin = rope_table(LONGROPE, 64, positions)
    np.testing.assert_allclose(turned[:, :32], cos, atol=1e-4)
    np.testing.assert_allclose(turned[:, 32:], sin, atol=1e-4)
