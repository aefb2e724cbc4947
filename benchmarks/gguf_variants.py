"""The same model in other types: dequantised, and quantised again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

from benchmarks.gguf_files import Planned, fields_of, write_gguf
from relama.checkpoint.base import FloatArray


def write_variant(source: Path, path: Path, kind: Kind) -> None:
    """Writes the model of `source` to `path` with every matrix in `kind`; norms stay F32.

    Names, order of rows and metadata stay as they are. All variants hold the
    values of `source`, rounded once more where `kind` is not F32.
    """
    reader = gguf.GGUFReader(source)
    tensors = [
        Planned(
            name=tensor.name,
            shape=tuple(int(length) for length in reversed(tensor.shape)),
            kind=kind if len(tensor.shape) > 1 else Kind.F32,
            rows=partial(_rows, tensor),
        )
        for tensor in reader.tensors
    ]
    write_gguf(path, fields_of(reader), tensors, kind)


def _rows(tensor: gguf.ReaderTensor, start: int, stop: int) -> FloatArray:
    if tensor.data.ndim == 1:
        return np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type)[start:stop], np.float32)
    return np.asarray(gguf.dequantize(tensor.data[start:stop], tensor.tensor_type), np.float32)
