"""The second half of a layer: a gated MLP, or a mixture of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from relama.checkpoint.base import FloatArray, Tensor
from relama.reference.arithmetic import ACTIVATIONS, DoubleArray, linear, log_softmax, sigmoid
from relama.reference.decoder import Decoder, Experts

#: The matrices of gate, up and down.
NAMES = ("gate_proj", "up_proj", "down_proj")


def gated_mlp(
    model: Decoder,
    tensors: Mapping[str, Tensor],
    name: str,
    x: FloatArray,
    names: tuple[str, str, str] = NAMES,
    bias: bool = False,
) -> FloatArray:
    """SwiGLU (arXiv 2002.05202, equation 6): down(act(gate(x)) * up(x)), `(n, hidden_size)`.

    Args:
        names: of the matrices of gate, up and down.
    """
    gate_name, up_name, down_name = (f"{name}.{part}" for part in names)
    if model.is_fused:
        gate, up = np.split(linear(x, tensors, f"{name}.gate_up_proj"), 2, axis=-1)
    else:
        gate = linear(x, tensors, gate_name, bias)  # (n, intermediate)
        up = linear(x, tensors, up_name, bias)  # (n, intermediate)
    return linear(ACTIVATIONS[model.activation](gate) * up, tensors, down_name, bias)


def mixture(
    model: Decoder, experts: Experts, tensors: Mapping[str, Tensor], name: str, x: FloatArray
) -> FloatArray:
    """The experts that the router chooses for each token, weighted, and those that all share.

    Returns: `(n, hidden_size)`.
    """
    logits = linear(x, tensors, f"{name}.gate")  # (n, num_experts)
    bias = None
    if experts.has_correction_bias:
        bias = tensors[f"{name}.gate.e_score_correction_bias"].read()
    chosen, weights = route(experts, logits, bias)  # (n, k) each
    mixed = np.zeros_like(x)
    for expert in np.unique(chosen):
        rows, ranks = np.nonzero(chosen == expert)
        y = gated_mlp(model, tensors, f"{name}.experts.{expert}", x[rows], experts.names)
        mixed[rows] += y * weights[rows, ranks, None].astype(np.float32)
    if experts.shared is not None:
        shared = gated_mlp(model, tensors, f"{name}.{experts.shared}", x, bias=model.mlp_bias)
        if experts.is_shared_gated:
            gate = sigmoid(linear(x, tensors, f"{name}.{experts.shared}_gate"))  # (n, 1)
            shared = shared * gate.astype(np.float32)
        mixed = mixed + shared
    return mixed


def route(
    experts: Experts, logits: FloatArray, correction_bias: FloatArray | None = None
) -> tuple[npt.NDArray[np.intp], DoubleArray]:
    """The experts of each token and their weights, `(n, k)` each; the lowest id wins a tie.

    Scores are a softmax over all experts, or a sigmoid of each. DeepSeek-V3's correction bias
    (arXiv 2412.19437, section 2.1.2) counts in the choice and not in the weights.

    Args:
        logits: `(n, num_experts)`.
        correction_bias: `(num_experts,)`.
    """
    scores = sigmoid(logits) if experts.scoring == "sigmoid" else np.exp(log_softmax(logits))
    preference = scores if correction_bias is None else scores + correction_bias
    if experts.topk_group is not None:
        preference = _within_best_groups(experts, preference)
    k = experts.num_experts_per_tok
    chosen = np.argsort(-preference, axis=-1, kind="stable")[:, :k]
    weights = np.take_along_axis(scores, chosen, axis=-1)
    if experts.norm_topk_prob:
        weights = weights / (weights.sum(axis=-1, keepdims=True) + 1e-20)
    return chosen, weights * experts.routed_scaling_factor


def _within_best_groups(experts: Experts, preference: DoubleArray) -> DoubleArray:
    """Minus infinity for experts outside the `topk_group` best of `n_group` groups.

    A group is as good as its best expert (DeepSeek-V2, arXiv 2405.04434, section 2.1.3), or as
    the sum of its best two (DeepSeek-V3).
    """
    groups = preference.reshape(len(preference), experts.n_group, -1)  # (n, groups, experts)
    best = np.sort(groups, axis=-1)[..., -experts.group_score_of :].sum(axis=-1)  # (n, groups)
    kept = np.argsort(-best, axis=-1, kind="stable")[:, : experts.topk_group]
    is_kept = np.zeros(best.shape, dtype=bool)
    np.put_along_axis(is_kept, kept, True, axis=-1)
    return np.where(is_kept[..., None], groups, -np.inf).reshape(preference.shape)
