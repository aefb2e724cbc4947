"""Reader of GGUF files, llama.cpp's format.

The format is described at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from relama.checkpoint.base import Checkpoint, FloatArray, Tensor, default_template, zeros
from relama.checkpoint.gguf_config import family_of, huggingface_config, ignored_settings
from relama.checkpoint.gguf_experts import experts_apart
from relama.checkpoint.gguf_families import FAMILIES, MODEL_NAMES, Family
from relama.checkpoint.gguf_header import StoredTensor, read_header
from relama.checkpoint.gguf_rope import ROPE_TENSORS
from relama.checkpoint.gguf_settings import Settings
from relama.checkpoint.gguf_tokenizer import (
    Vocabulary,
    build_tokenizer,
    generation_config,
    pre_tokenizer_notes,
    read_vocabulary,
    token_ids,
    tokenizer_config,
    with_pre,
)
from relama.errors import CheckpointError, RelamaError, UnsupportedError


class GgufCheckpoint(Checkpoint):
    """A GGUF file of one of `FAMILIES`, under Hugging Face's names and conventions.

    Raises:
        CheckpointError: the file is truncated, damaged or lacks metadata.
        UnsupportedError: the architecture, a tensor's type or a setting is not supported.
    """

    def __init__(self, path: str | Path, tokenizer_pre: str | None = None) -> None:
        """Reads the header; `tokenizer_pre` stands for what `tokenizer.ggml.pre` should say."""
        self.path = Path(path)
        with self._named_in_errors():
            metadata, stored = read_header(self.path)
            self._metadata = with_pre(metadata, tokenizer_pre)
            shapes = {name: tensor.shape for name, tensor in stored.items()}
            _check_types(stored.values())
            family = family_of(self._metadata)
            rope_vectors = {
                name: _read_rows(stored.pop(name), None, 0, 0, shapes[name][0])
                for name in ROPE_TENSORS
                if name in stored
            }
            self.config = huggingface_config(self._metadata, shapes, rope_vectors)
            if family.expert_names:
                settings = Settings(self._metadata["general.architecture"], self._metadata)
                stored = experts_apart(stored, settings.integer("expert_count"))
            self.tensors = {
                huggingface_name(name, family): _tensor(tensor, self.config, family)
                for name, tensor in stored.items()
            }
            self.tensors |= _absent_biases(self.tensors, self.config, family)
            self.tokenizer_config = {}
            self.generation_config = {}
            notes = ignored_settings(metadata) + pre_tokenizer_notes(self._metadata)
            self._vocabulary = None
            if "tokenizer.ggml.tokens" in metadata:
                self._vocabulary = vocabulary = read_vocabulary(self._metadata)
                _check_vocabulary(vocabulary, self.config["vocab_size"])
                self.tokenizer_config = tokenizer_config(self._metadata, vocabulary)
                self.generation_config = generation_config(vocabulary)
                self.config |= token_ids(vocabulary)
                notes += vocabulary.notes
            self.chat_template, others = default_template(_chat_templates(self._metadata))
            notes += others
            self.warnings = [f"{self.path}: {note}" for note in notes]

    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the file's `tokenizer.ggml.*` describes.

        Raises:
            CheckpointError: the file has none, or its parts do not fit together.
            UnsupportedError: its model or its pre-tokenizer is not supported.
        """
        with self._named_in_errors():
            return build_tokenizer(self._metadata, self._vocabulary)

    @contextmanager
    def _named_in_errors(self) -> Iterator[None]:
        """Puts the file's name before an error; what nothing foresaw is a damaged file too."""
        try:
            yield
        except RelamaError as error:
            raise type(error)(f"{self.path}: {error}") from error
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{self.path} is damaged: its header cannot be read ({type(error).__name__})."
            ) from error


def huggingface_name(name: str, family: Family = FAMILIES["llama"]) -> str:
    """Hugging Face's name of a tensor; a name that is not known stays as it is.

    >>> huggingface_name("blk.7.attn_q.weight")
    'model.layers.7.self_attn.q_proj.weight'
    """
    match name.split("."):
        case ["blk", layer, part, suffix] if part in family.layer_names:
            return f"model.layers.{layer}.{family.layer_names[part]}.{suffix}"
        case ["blk", layer, part, expert, suffix] if part in family.expert_names:
            return f"model.layers.{layer}.{family.expert_names[part].format(expert)}.{suffix}"
        case [part, suffix] if part in MODEL_NAMES:
            return f"{MODEL_NAMES[part]}.{suffix}"
    return name


def _check_types(tensors: Iterable[StoredTensor]) -> None:
    """Refuses a type of block that the gguf package cannot turn into float32."""
    first_of_type = {tensor.kind: tensor for tensor in reversed([*tensors])}
    for kind, tensor in first_of_type.items():
        _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        try:
            gguf.dequantize(np.zeros((1, block_bytes), np.uint8), kind)
        except NotImplementedError as error:
            raise UnsupportedError(
                f"tensor {tensor.name!r} has type {kind.name}, which is not supported; "
                "supported: F32, F16, BF16 and the quantised types of llama.cpp's models."
            ) from error


def _tensor(tensor: StoredTensor, config: Mapping[str, Any], family: Family) -> Tensor:
    """A lazily read tensor in Hugging Face's order of rows, with Hugging Face's values."""
    shape = tensor.shape
    name = huggingface_name(tensor.name, family)
    order = None
    for part, heads in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
        if family.interleaved and f".self_attn.{part}." in name:
            if shape[0] != config[heads] * config["head_dim"]:
                raise CheckpointError(
                    f"tensor {tensor.name!r} has {shape[0]} rows, but the metadata give "
                    f"{config[heads]} heads of width {config['head_dim']}."
                )
            order = half_rotation_order(config[heads], config["head_dim"])
    offset = family.norm_offset if name.endswith("norm.weight") else 0
    return Tensor(
        name=name,
        shape=shape,
        dtype=tensor.kind.name,
        read_rows=partial(_read_rows, tensor, order, offset),
    )


def _absent_biases(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], family: Family
) -> dict[str, Tensor]:
    """Zeros for the biases that are absent beside others: llama.cpp reads any one alone.

    Those of Q, K and V in Qwen2 are part of the architecture, so it has them even without others.
    """
    modules: tuple[str, ...] = ()
    if config["attention_bias"] or config["model_type"] == "qwen2":
        modules += family.biased
    if config["mlp_bias"]:
        modules += ("gate_proj", "up_proj", "down_proj")
    absent = {}
    for name, weight in tensors.items():
        bias = name.removesuffix(".weight") + ".bias"
        is_biased = name.endswith(tuple(f".{module}.weight" for module in modules))
        if is_biased and bias not in tensors:
            absent[bias] = zeros(bias, weight.shape[0])
    return absent


def _check_vocabulary(vocabulary: Vocabulary, rows: int) -> None:
    """Refuses tokens that have no row in the embedding."""
    if len(vocabulary.tokens) > rows:
        raise CheckpointError(
            f"tokenizer.ggml.tokens has {len(vocabulary.tokens)} tokens, but 'token_embd.weight' "
            f"has {rows} rows."
        )


def _chat_templates(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The chat templates by name: `tokenizer.chat_template`, and `tokenizer.chat_template.NAME`."""
    key = "tokenizer.chat_template"
    named = {
        name.removeprefix(f"{key}.") if name != key else "default": template
        for name, template in metadata.items()
        if name == key or name.startswith(f"{key}.")
    }
    if not all(isinstance(template, str) for template in named.values()):
        raise CheckpointError(f"{key} must be a text.")
    return named


def half_rotation_order(heads: int, head_dim: int) -> npt.NDArray[np.intp]:
    """Where each row of Hugging Face's Q or K lies in a GGUF file, shape `(heads * head_dim,)`.

    RoPE turns pairs of rows. In llama.cpp a pair lies side by side
    (0 1, 2 3, ...); in Hugging Face's `rotate_half` its second row lies half a
    head further on. llama.cpp's converter (`LlamaModel.permute`) changes from
    one to the other; this changes back.

    >>> half_rotation_order(heads=1, head_dim=6).tolist()
    [0, 2, 4, 1, 3, 5]
    """
    rows = np.arange(heads * head_dim).reshape(heads, head_dim // 2, 2)
    return rows.swapaxes(1, 2).reshape(-1)


def _read_rows(
    tensor: StoredTensor,
    order: npt.NDArray[np.intp] | None,
    offset: int,
    start: int,
    stop: int,
) -> FloatArray:
    """Rows `[start, stop)` as float32, shape `(stop - start, *shape[1:])`.

    Args:
        tensor: the tensor as stored.
        order: where each row lies in the file; None if they lie in order.
        offset: what was added to each value before it was stored.
        start: the first row.
        stop: the row after the last.
    """
    rows = slice(start, stop) if order is None else order[start:stop]
    if tensor.data.ndim == 1:
        # A vector is one row of blocks.
        values = np.array(gguf.dequantize(tensor.data, tensor.kind)[rows], np.float32)
        return values - np.float32(offset) if offset else values
    blocks = tensor.data[rows]
    if len(blocks) == 0:
        # Most of gguf's quantised types cannot reshape an empty array.
        return np.empty((0, *tensor.shape[1:]), np.float32)
    return np.array(gguf.dequantize(blocks, tensor.kind), np.float32)
