"""Writing GGUF files tensor by tensor, so that only one of them is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Kind

from relama.checkpoint.base import BLOCK_ELEMENTS, FloatArray

#: The values of `general.file_type` (`llama_ftype` in llama.h).
FILE_TYPES = {Kind.F32: 0, Kind.Q4_0: 2, Kind.Q8_0: 7}


@dataclass(frozen=True)
class Field:
    """A key-value pair of a GGUF file, with its type and that of an array's elements."""

    name: str
    value: Any
    kind: gguf.GGUFValueType
    element: gguf.GGUFValueType | None = None


@dataclass(frozen=True)
class Planned:
    """A tensor to be written.

    Attributes:
        name: GGUF's name.
        shape: `(rows, columns)`, or `(elements,)`.
        kind: how it is stored.
        rows: gives rows `[start, stop)` as float32.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind
    rows: Callable[[int, int], FloatArray]


def fields_of(reader: gguf.GGUFReader) -> list[Field]:
    """The key-value pairs of a file, without those that a writer sets itself."""
    fields = []
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        element = field.types[-1] if len(field.types) > 1 else None
        fields.append(Field(name, field.contents(), field.types[0], element))
    return fields


def write_gguf(
    path: Path,
    fields: Iterable[Field],
    tensors: Sequence[Planned],
    kind: Kind,
    on_tensor: Callable[[str], None] = lambda name: None,
) -> None:
    """Writes a Llama; `path` appears whole or not at all.

    Args:
        path: the file.
        fields: its key-value pairs.
        tensors: in the order in which they will lie in the file.
        kind: what `general.file_type` says of the whole.
        on_tensor: called with the name of each tensor that is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    writer = gguf.GGUFWriter(partial, "llama")
    try:
        for field in fields:
            writer.add_key_value(field.name, field.value, field.kind, sub_type=field.element)
        writer.add_file_type(FILE_TYPES[kind])
        for tensor in tensors:
            shape = gguf.quant_shape_to_byte_shape(tensor.shape, tensor.kind)
            stored: np.dtype[Any] = np.dtype(np.uint8)
            if tensor.kind == Kind.F32:
                shape, stored = tensor.shape, np.dtype(np.float32)
            size = int(np.prod(shape, dtype=np.int64)) * stored.itemsize
            writer.add_tensor_info(tensor.name, shape, stored, size, raw_dtype=tensor.kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in tensors:
            writer.write_tensor_data(_stored(tensor))
            on_tensor(tensor.name)
        writer.close()
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def _stored(tensor: Planned) -> npt.NDArray[Any]:
    """The whole tensor as it lies in the file, quantised a block of rows at a time."""
    width = int(np.prod(tensor.shape[1:], dtype=np.int64)) or 1
    step = max(1, BLOCK_ELEMENTS // 4 // width)
    blocks = [
        gguf.quantize(tensor.rows(start, min(start + step, tensor.shape[0])), tensor.kind)
        for start in range(0, tensor.shape[0], step)
    ]
    return np.concatenate(blocks)
