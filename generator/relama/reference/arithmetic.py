"""RMSNorm, linear layers, activations and softmax: what every part of a decoder is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from relama.checkpoint.base import FloatArray, Tensor

DoubleArray = npt.NDArray[np.float64]


def rms_norm(x: FloatArray, weight: Tensor, eps: float, offset: float = 0.0) -> FloatArray:
    """RMSNorm (arXiv 1910.07467, equation 4): x / sqrt(mean(x^2) + eps) * (offset + weight).

    Gemma stores how far the weight is from 1, so its `offset` is 1.
    """
    mean_square = np.square(x, dtype=np.float64).mean(axis=-1, keepdims=True)  # (n, 1)
    normed: FloatArray = (x / np.sqrt(mean_square + eps)).astype(np.float32)
    return normed * (np.float32(offset) + weight.read())


def linear(
    x: FloatArray, tensors: Mapping[str, Tensor], name: str, bias: bool = False
) -> FloatArray:
    """x W^T + b: `(n, in_features)` to `(n, out_features)`."""
    y: FloatArray = x @ tensors[f"{name}.weight"].read().T
    if bias:
        y = y + tensors[f"{name}.bias"].read()
    return y


def sigmoid(x: npt.NDArray[np.floating]) -> DoubleArray:
    """1 / (1 + exp(-x)), in float64; same shape."""
    with np.errstate(over="ignore"):  # exp(-x) may become infinite, and the quotient 0
        y: DoubleArray = 1.0 / (1.0 + np.exp(-x.astype(np.float64)))
    return y


def silu(x: FloatArray) -> FloatArray:
    """x sigmoid(x) (arXiv 1702.03118), same shape."""
    return (x * sigmoid(x)).astype(np.float32)


def gelu_pytorch_tanh(x: FloatArray) -> FloatArray:
    """GELU by its approximation with tanh (arXiv 1606.08415, section 2), same shape."""
    wide = x.astype(np.float64)
    inner = np.sqrt(2.0 / np.pi) * (wide + 0.044715 * wide**3)
    y: FloatArray = (0.5 * wide * (1.0 + np.tanh(inner))).astype(np.float32)
    return y


#: By the names of transformers' `ACT2FN`.
ACTIVATIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "silu": silu,
    "swish": silu,
    "gelu_pytorch_tanh": gelu_pytorch_tanh,
}


def softcap(x: npt.NDArray[np.floating], cap: float | None) -> FloatArray:
    """cap tanh(x / cap), which lies between -cap and cap (arXiv 2408.00118, section 2)."""
    if cap is None:
        return x
    y: FloatArray = (cap * np.tanh(x.astype(np.float64) / cap)).astype(np.float32)
    return y


def log_softmax(logits: npt.NDArray[np.floating]) -> DoubleArray:
    """Logarithm of the probabilities over the last axis, in float64; same shape."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    log_probabilities: DoubleArray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_probabilities
