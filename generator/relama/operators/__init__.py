"""Operators: one module per kind, with all that the generator knows of it.

A macro in `macros/` computes it, the template of its name in `project/templates/`
calls that macro, and an architecture puts it into a graph.
"""

from __future__ import annotations

from relama.operators.attention import Attention
from relama.operators.attention_weights import AttentionWeights
from relama.operators.embedding import Embedding
from relama.operators.expert_linear import ExpertLinear
from relama.operators.geglu import Geglu
from relama.operators.kv_append import KvAppend
from relama.operators.linear import Linear
from relama.operators.logits import Logits
from relama.operators.mixture import Mixture
from relama.operators.residual import Residual
from relama.operators.rms_norm import RmsNorm
from relama.operators.rotary_embedding import RotaryEmbedding
from relama.operators.router import Router
from relama.operators.shared_key import SharedKey
from relama.operators.swiglu import Swiglu

__all__ = [
    "Attention",
    "AttentionWeights",
    "Embedding",
    "ExpertLinear",
    "Geglu",
    "KvAppend",
    "Linear",
    "Logits",
    "Mixture",
    "Residual",
    "RmsNorm",
    "RotaryEmbedding",
    "Router",
    "SharedKey",
    "Swiglu",
]
