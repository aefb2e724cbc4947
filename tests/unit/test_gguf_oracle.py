"""What a GGUF file computes, against values recorded from llama.cpp (llama-cpp-python 0.3.36)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from relama.checkpoint import open_checkpoint
from relama.reference import forward
from tests.unit.broken_checkpoints import (
    HEAD_DIM,
    HEADS,
    HIDDEN,
    KV_HEADS,
    LAYERS,
    gguf_tensors,
    interleaved,
    put,
    weights,
    write_gguf,
)
from tests.unit.test_gguf_reader import llama3_rope_freqs

#: 40 tokens, so that scaled positions matter.
IDS = [1, 5, 3, 6, 2, 7, 1, 4] * 5


def small() -> dict[str, np.ndarray]:
    """The tiny model's tensors, with matrices small enough for logits to depend on every part."""
    return {
        name: value / 8 if value.ndim > 1 and "embed" not in name else value
        for name, value in weights().items()
    }


def biases(*parts: str) -> dict[str, np.ndarray]:
    """Biases of these parts in each layer, those of Q and K in the order of GGUF."""
    rows = {"q": HEADS * HEAD_DIM, "k": KV_HEADS * HEAD_DIM, "v": KV_HEADS * HEAD_DIM, "o": HIDDEN}
    random, found = np.random.default_rng(5), {}
    for layer in range(LAYERS):
        for part in parts:
            bias = random.normal(size=rows[part]).astype(np.float32)
            heads = {"q": HEADS, "k": KV_HEADS}.get(part)
            name = "attn_output" if part == "o" else f"attn_{part}"
            found[f"blk.{layer}.{name}.bias"] = interleaved(bias, heads) if heads else bias
    return found


def file(
    metadata: dict[str, Any], extra: dict[str, np.ndarray] | None = None, tied: bool = False
) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        tensors = gguf_tensors(small()) | (extra or {})
        if tied:
            del tensors["output.weight"]
        return write_gguf(path, tensors, change=lambda writer: put(writer, metadata))

    return write


LINEAR = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}
PER_LAYER = {
    "llama.attention.head_count": [HEADS] * LAYERS,
    "llama.attention.head_count_kv": [KV_HEADS] * LAYERS,
    "llama.feed_forward_length": [96] * LAYERS,
}
FILES = {
    "plain": file({}),
    "tied": file({}, tied=True),
    "alignment of 64": file({"general.alignment": 64}),
    "a value for each layer": file(PER_LAYER),
    "linear": file(LINEAR),
    "linear, by its old name": file({"llama.rope.scale_linear": 4.0}),
    "scaling none": file(LINEAR | {"llama.rope.scaling.type": "none"}),
    "rope_freqs of Llama 3": file(
        {"llama.rope.scaling.original_context_length": 64},
        {"rope_freqs.weight": llama3_rope_freqs(10000.0, HEAD_DIM, 8.0, 64)},
    ),
    "biases of q, k and v": file({}, biases("q", "k", "v")),
    "bias of v": file({}, biases("v")),
    "bias of o": file({}, biases("o")),
    "another vocab_size": file({"llama.vocab_size": 300}),
}

# Recorded with float32 caches: Llama(path, n_ctx=128, logits_all=True, type_k=0, type_v=0,
# flash_attn=False, n_threads=1).eval(IDS); these are the logits of the last token.
PLAIN = [1.4125, -0.2416, -0.3209, 0.1324, 0.0498, -0.1006, -0.6279, 1.4103]
SCALED = [0.9369, -0.526, -0.1135, 0.3547, 0.1747, -0.3211, -0.7394, 0.7717]
RECORDED = {
    "plain": PLAIN,
    "tied": [4.9559, -5.628, -0.4983, 9.3911, -9.4823, -2.9141, 4.3744, -2.7801],
    "alignment of 64": PLAIN,
    "a value for each layer": PLAIN,
    "linear": SCALED,
    "linear, by its old name": SCALED,
    "scaling none": PLAIN,
    "rope_freqs of Llama 3": [1.2729, -0.4251, -0.1686, 0.1844, 0.1554, -0.0996, -0.6215, 1.1974],
    "biases of q, k and v": [0.9852, -0.2498, 0.3115, -0.5664, 0.2332, 0.3563, 0.4539, 0.0777],
    "bias of v": [1.292, -0.8136, -0.2526, -0.331, 0.2217, -0.7493, 0.4138, 0.9422],
    "bias of o": [0.146, -0.8258, -0.048, 0.9446, 0.19, 0.0418, 1.3376, 0.1558],
    "another vocab_size": PLAIN,
}


@pytest.mark.parametrize("name", FILES)
def test_logits_are_those_of_llama_cpp(name: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(FILES[name](tmp_path / "model.gguf"))
    logits = forward(checkpoint.config, checkpoint.tensors, IDS).logits[-1]
    np.testing.assert_allclose(logits, RECORDED[name], atol=1e-4)


# Recorded from `ggml_get_type_traits(type)->to_float` of blocks of the bytes below: the values
# at 0, 100 and 255, and the sum of all their sizes.
BLOCKS = [
    ("Q2_K", 5.310774e-05, -0.0003750324, -0.0005625486, 0.0733006),
    ("Q3_K", 0.02052855, 0, 0.03041267, 3.5415559),
    ("Q4_K", 4.309937, -25.84863, -0.006591797, 2836.8105),
    ("Q5_K", 66.97595, 5.989746, -1.522705, 4656.8013),
    ("Q6_K", 0.0004779696, -0.001913488, -0.002607107, 0.28185403),
    ("IQ3_S", -44.34631, -0.1263428, 0.1263428, 1759.4495),
    ("IQ4_NL", -4.421997, -15.24414, -1.524429, 4633.0806),
    ("IQ4_XS", 8.21228, 40.42969, 513.457, 40861.906),
    ("TQ1_0", -0.2536621, -0.2536621, 0, 46.92749),
    ("TQ2_0", 0.2526855, -0.1263428, -0.1263428, 32.34375),
    ("MXFP4", 0, 3.877409e-26, 0, 1.2629274e-18),
    ("IQ2_XXS", -1.184464, 0.3790283, 0.8843994, 260.61356),
    ("IQ2_XS", -4.343033, -1.137085, 0.3790283, 729.12415),
    ("IQ2_S", -10.66017, -3.158569, 0.1263428, 687.55737),
    ("IQ3_XXS", -1.137085, -0.6317139, -0.3790283, 545.61127),
    ("IQ1_S", 0.04737854, 0.9949493, -0.5527496, 76.879578),
    ("IQ1_M", -0.1950378, -0.2507629, -2.925568, 226.57825),
    ("Q5_0", 1.137085, 5.321777, -2.836304, 309.96199),
    ("Q4_1", 2.655396, 0.08519363, 0.3791504, 144.15539),
]


@pytest.mark.parametrize(("kind", "first", "middle", "last", "total"), BLOCKS)
def test_quantised_blocks_are_read_as_llama_cpp_reads_them(
    kind: str, first: float, middle: float, last: float, total: float, tmp_path: Path
) -> None:
    elements, size = gguf.GGML_QUANT_SIZES[Kind[kind]]
    row = np.array([(i * 37 + 11) % 64 for i in range(size * 256 // elements)], np.uint8)

    def change(writer: gguf.GGUFWriter) -> None:
        writer.add_tensor("blocks", row.reshape(1, -1), raw_dtype=Kind[kind])

    values = open_checkpoint(write_gguf(tmp_path / "model.gguf", change=change)).tensors["blocks"]
    assert (values.shape, values.dtype) == ((1, 256), kind)
    read = values.read()[0]
    np.testing.assert_allclose([read[0], read[100], read[255]], [first, middle, last], rtol=1e-6)
    np.testing.assert_allclose(np.abs(read.astype(np.float64)).sum(), total, rtol=1e-6)
