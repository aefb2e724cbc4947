"""Reader of GGUF files, llama.cpp's format.

The format is described at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from generator.checkpoint.base import Checkpoint, FloatArray, Tensor
from generator.checkpoint.gguf_config import generation_config, huggingface_config
from generator.checkpoint.gguf_tokenizer import build_tokenizer, tokenizer_config
from generator.errors import CheckpointError, RelamaError, UnsupportedError

VERSIONS = (2, 3)

#: Hugging Face's names for GGUF's, outside of the layers and within `blk.N`.
MODEL_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}

#: RoPE's frequency divisors: a setting in the shape of a tensor, read into the config.
ROPE_DIVISORS = "rope_freqs.weight"


class GgufCheckpoint(Checkpoint):
    """A GGUF file of architecture `llama`, under Hugging Face's names and conventions.

    Raises:
        CheckpointError: the file is truncated, damaged or lacks metadata.
        UnsupportedError: the architecture, a tensor's type or a setting is not supported.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        reader = _open(self.path)
        stored = {tensor.name: tensor for tensor in reader.tensors}
        self._metadata = Metadata(reader)
        try:
            shapes = {name: _shape(tensor) for name, tensor in stored.items()}
            divisors = None
            if ROPE_DIVISORS in stored:
                divisors = _read_rows(stored.pop(ROPE_DIVISORS), None, 0, shapes[ROPE_DIVISORS][0])
            self.config = huggingface_config(self._metadata, shapes, divisors)
            _check_types(stored.values())
            self.tensors = {
                huggingface_name(name): _tensor(tensor, self.config)
                for name, tensor in stored.items()
            }
            self.generation_config = generation_config(self._metadata)
            self.tokenizer_config = tokenizer_config(self._metadata)
            self.chat_template = self._metadata.get("tokenizer.chat_template")
        except RelamaError as error:
            raise type(error)(f"{self.path}: {error}") from error

    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the file's `tokenizer.ggml.*` describes.

        Raises:
            CheckpointError: the file has none, or its parts do not fit together.
            UnsupportedError: its model or its pre-tokenizer is not supported.
        """
        try:
            return build_tokenizer(self._metadata)
        except RelamaError as error:
            raise type(error)(f"{self.path}: {error}") from error


class Metadata(Mapping[str, Any]):
    """A GGUF file's key-value pairs, each decoded when it is asked for.

    Raises:
        CheckpointError: a value's text is not UTF-8.
    """

    def __init__(self, reader: gguf.GGUFReader) -> None:
        self._fields = reader.fields

    def __getitem__(self, key: str) -> Any:
        field = self._fields[key]
        try:
            return field.contents()
        except UnicodeDecodeError as error:
            raise CheckpointError(f"the text of {key} is not UTF-8: {error}.") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def huggingface_name(name: str) -> str:
    """Hugging Face's name of a tensor; a name that is not known stays as it is.

    >>> huggingface_name("blk.7.attn_q.weight")
    'model.layers.7.self_attn.q_proj.weight'
    """
    match name.split("."):
        case ["blk", layer, part, suffix] if part in LAYER_NAMES:
            return f"model.layers.{layer}.{LAYER_NAMES[part]}.{suffix}"
        case [part, suffix] if part in MODEL_NAMES:
            return f"{MODEL_NAMES[part]}.{suffix}"
    return name


def _open(path: Path) -> gguf.GGUFReader:
    """Memory-maps the file and reads its header."""
    size = path.stat().st_size
    with path.open("rb") as file:
        version = int.from_bytes(file.read(8)[4:], "little")
    if size >= 8 and version not in VERSIONS:
        raise UnsupportedError(
            f"{path} has GGUF version {version} (or is big-endian), which is not supported; "
            f"supported: little-endian, versions {' and '.join(map(str, VERSIONS))}."
        )
    try:
        reader = gguf.GGUFReader(path)
    except Exception as error:  # whatever numpy raises on the way past the end of the file
        raise CheckpointError(
            f"{path} is truncated or damaged: its header does not fit the {size} bytes "
            f"of the file ({type(error).__name__}: {error})."
        ) from error
    for tensor in reader.tensors:
        if tensor.data_offset + tensor.n_bytes > size:
            raise CheckpointError(
                f"{path} is truncated: tensor '{tensor.name}' should end at byte "
                f"{tensor.data_offset + tensor.n_bytes}, the file has {size}."
            )
    return reader


def _check_types(tensors: Iterable[gguf.ReaderTensor]) -> None:
    """Refuses a type of block that the gguf package cannot turn into float32."""
    first_of_type = {tensor.tensor_type: tensor for tensor in reversed([*tensors])}
    for kind, tensor in first_of_type.items():
        _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        try:
            gguf.dequantize(np.zeros((1, block_bytes), np.uint8), kind)
        except NotImplementedError as error:
            raise UnsupportedError(
                f"tensor '{tensor.name}' has type {kind.name}, which is not supported; "
                "supported: F32, F16, BF16 and the quantised types of llama.cpp's models."
            ) from error


def _shape(tensor: gguf.ReaderTensor) -> tuple[int, ...]:
    """The shape in Hugging Face's order; GGUF names the fastest dimension first."""
    return tuple(int(length) for length in reversed(tensor.shape))


def _tensor(tensor: gguf.ReaderTensor, config: Mapping[str, Any]) -> Tensor:
    """A lazily read tensor in Hugging Face's order of rows."""
    shape = _shape(tensor)
    order = None
    for part, heads in (("attn_q", "num_attention_heads"), ("attn_k", "num_key_value_heads")):
        if tensor.name.startswith("blk.") and f".{part}." in tensor.name:
            if shape[0] != config[heads] * config["head_dim"]:
                raise CheckpointError(
                    f"tensor '{tensor.name}' has {shape[0]} rows, but the metadata give "
                    f"{config[heads]} heads of width {config['head_dim']}."
                )
            order = half_rotation_order(config[heads], config["head_dim"])
    return Tensor(
        name=huggingface_name(tensor.name),
        shape=shape,
        dtype=tensor.tensor_type.name,
        read_rows=partial(_read_rows, tensor, order),
    )


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
    tensor: gguf.ReaderTensor, order: npt.NDArray[np.intp] | None, start: int, stop: int
) -> FloatArray:
    """Rows `[start, stop)` as float32, shape `(stop - start, *shape[1:])`.

    Args:
        tensor: the tensor as stored.
        order: where each row lies in the file; None if they lie in order.
        start: the first row.
        stop: the row after the last.
    """
    rows = slice(start, stop) if order is None else order[start:stop]
    if tensor.data.ndim == 1:
        # A vector is one row of blocks.
        return np.array(gguf.dequantize(tensor.data, tensor.tensor_type)[rows], np.float32)
    blocks = tensor.data[rows]
    if len(blocks) == 0:
        # Most of gguf's quantised types cannot reshape an empty array.
        return np.empty((0, *_shape(tensor)[1:]), np.float32)
    return np.array(gguf.dequantize(blocks, tensor.tensor_type), np.float32)
