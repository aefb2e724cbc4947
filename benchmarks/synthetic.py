"""A Llama of any size with random weights, as a GGUF file.

It says nothing sensible, but reads, computes and stores what a trained model
of its shape would. Its weights are integers in -127..127 times one scale, and each
group of 32 has a largest one: both Q8_0, with a scale a group, and int8, with a scale
a row, hold exactly these numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFValueType

from benchmarks.gguf_files import Field, Planned, fields_of, write_gguf
from benchmarks.places import BenchmarkError
from relama.checkpoint.base import FloatArray

#: Every weight is an integer in -LARGEST..LARGEST times this; float16 holds it exactly.
SCALE = 2.0**-11
LARGEST = 127

#: Weights that share a scale in Q8_0.
GROUP = 32

#: Standard deviation of every matrix: that of Llama's initialisation, keeps logits finite.
STANDARD_DEVIATION = 0.02

VOCABULARY = "tokenizer.ggml.tokens"


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama, under the names of `LlamaConfig`; embeddings are tied."""

    num_hidden_layers: int = 36
    hidden_size: int = 2048
    intermediate_size: int = 8192
    num_attention_heads: int = 32
    num_key_value_heads: int = 8
    head_dim: int = 64

    def check(self) -> None:
        """Raises `BenchmarkError` where no Llama has this shape."""
        if self.num_attention_heads % self.num_key_value_heads:
            raise BenchmarkError(
                f"{self.num_attention_heads} heads must be a multiple of "
                f"{self.num_key_value_heads} key/value heads."
            )
        for name in ("hidden_size", "intermediate_size", "head_dim"):
            if getattr(self, name) % 32:
                raise BenchmarkError(f"{name} ({getattr(self, name)}) must be a multiple of 32.")

    def matrices(self) -> dict[str, tuple[int, int]]:
        """GGUF's names of a layer's matrices, with their rows and columns."""
        query = self.num_attention_heads * self.head_dim
        key_value = self.num_key_value_heads * self.head_dim
        return {
            "attn_q": (query, self.hidden_size),
            "attn_k": (key_value, self.hidden_size),
            "attn_v": (key_value, self.hidden_size),
            "attn_output": (self.hidden_size, query),
            "ffn_gate": (self.intermediate_size, self.hidden_size),
            "ffn_up": (self.intermediate_size, self.hidden_size),
            "ffn_down": (self.hidden_size, self.intermediate_size),
        }

    def multiply_adds(self, vocab_size: int) -> int:
        """Multiply-adds of all matrices for one token: the parameters that a token reads."""
        layer = sum(rows * columns for rows, columns in self.matrices().values())
        return self.num_hidden_layers * layer + vocab_size * self.hidden_size


#: The sizes of the suite `scale`: SmolLM2-135M's own shape, TinyLlama's, and three between.
SIZES = {
    "135M": Shape(30, 576, 1536, 9, 3),
    "0.5B": Shape(30, 1024, 4096, 16, 4),
    "1.1B": Shape(22, 2048, 5632, 32, 4),
    "2.3B": Shape(),
}


def write_synthetic(
    path: Path,
    shape: Shape,
    donor: Path,
    kind: Kind = Kind.Q8_0,
    seed: int = 0,
    on_tensor: Callable[[str], None] = lambda name: None,
) -> None:
    """Writes a Llama of `shape` with random weights.

    Args:
        path: the GGUF file to write.
        shape: its sizes.
        donor: the GGUF file whose tokenizer and RoPE it takes over.
        kind: the type of its matrices.
        seed: the same seed gives the same file.
        on_tensor: called with the name of each tensor that is written.

    Raises:
        BenchmarkError: no Llama has this shape.
    """
    shape.check()
    reader = gguf.GGUFReader(donor)
    vocab_size = len(reader.fields[VOCABULARY].data)
    names: list[tuple[str, tuple[int, ...]]] = [
        ("token_embd.weight", (vocab_size, shape.hidden_size))
    ]
    for layer in range(shape.num_hidden_layers):
        names.append((f"blk.{layer}.attn_norm.weight", (shape.hidden_size,)))
        names.append((f"blk.{layer}.ffn_norm.weight", (shape.hidden_size,)))
        for matrix, size in shape.matrices().items():
            names.append((f"blk.{layer}.{matrix}.weight", size))
    names.append(("output_norm.weight", (shape.hidden_size,)))
    tensors = [
        Planned(
            name,
            size,
            kind if len(size) > 1 else Kind.F32,
            partial(_random_rows, (seed, number), size) if len(size) > 1 else _ones,
        )
        for number, (name, size) in enumerate(names)
    ]
    write_gguf(path, _fields(reader, shape, vocab_size), tensors, kind, on_tensor)


def _random_rows(seed: tuple[int, int], size: tuple[int, ...], start: int, stop: int) -> FloatArray:
    random = np.random.default_rng((*seed, start))
    values = random.standard_normal((stop - start, *size[1:]), np.float32)
    values *= np.float32(STANDARD_DEVIATION / SCALE)
    np.rint(values, out=values)
    groups = values.reshape(-1, GROUP)
    largest = np.abs(groups).argmax(axis=1)[:, None]
    sign = np.copysign(np.float32(LARGEST), np.take_along_axis(groups, largest, axis=1))
    np.put_along_axis(groups, largest, sign, axis=1)
    values.clip(-LARGEST, LARGEST, out=values)
    values *= np.float32(SCALE)
    return values


def _ones(start: int, stop: int) -> FloatArray:
    return np.ones(stop - start, np.float32)


def _fields(reader: gguf.GGUFReader, shape: Shape, vocab_size: int) -> list[Field]:
    """The donor's key-value pairs, with the sizes replaced."""
    sizes = {
        "llama.block_count": shape.num_hidden_layers,
        "llama.embedding_length": shape.hidden_size,
        "llama.feed_forward_length": shape.intermediate_size,
        "llama.attention.head_count": shape.num_attention_heads,
        "llama.attention.head_count_kv": shape.num_key_value_heads,
        "llama.attention.key_length": shape.head_dim,
        "llama.attention.value_length": shape.head_dim,
        "llama.rope.dimension_count": shape.head_dim,
        "llama.vocab_size": vocab_size,
    }
    # Of `general.*`, only what the quantised blocks need: the rest names the donor.
    kept = [
        field
        for field in fields_of(reader)
        if field.name not in sizes
        and (not field.name.startswith("general.") or field.name.endswith("version"))
    ]
    numbers = [Field(name, value, GGUFValueType.UINT32) for name, value in sizes.items()]
    return [Field("general.name", "synthetic", GGUFValueType.STRING), *numbers, *kept]
