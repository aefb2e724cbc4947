"""The header of a GGUF file: checked against the file's size, then read.

The format is described at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md;
the checks are those of llama.cpp's `gguf_init_from_reader` (ggml/src/gguf.cpp). A header
is walked once, and no count in it makes anything be allocated or repeated before it is
known that the file can hold that many. `gguf.GGUFReader` does neither: it believes every
count, and it is slow with vocabularies, of which it keeps an array for each token.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
import numpy.typing as npt

from relama.errors import CheckpointError, UnsupportedError

VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32

#: numpy's type of each number, by its `gguf.GGUFValueType`.
NUMBERS = {
    value_type: np.dtype(code)
    for value_type, code in enumerate(
        ("<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<f4", "?", None, None, "<u8", "<i8", "<f8")
    )
    if code
}
STRING, ARRAY = 8, 9

#: What goes before a text, and before the values of an array.
LENGTH = struct.Struct("<Q")

#: More than any model has: of keys and of tensors, of values in an array, of bytes in a name.
#: (A short file can hold many empty texts, each of which takes memory.)
MOST_ENTRIES = 1 << 16
MOST_VALUES = 1 << 20
LONGEST_KEY, LONGEST_TENSOR_NAME = 65535, 64

#: The fewest bytes of a key with its value, and of a tensor's description.
LEAST_KEY, LEAST_TENSOR = 14, 33


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as it lies in the file.

    Attributes:
        name: GGUF's name.
        shape: the shape in Hugging Face's order; GGUF names the fastest dimension first.
        kind: the type of its blocks.
        data: its bytes, shape `(*shape[:-1], bytes of a row)`.
    """

    name: str
    shape: tuple[int, ...]
    kind: gguf.GGMLQuantizationType
    data: npt.NDArray[np.uint8] = field(repr=False, compare=False)


class Metadata(Mapping[str, Any]):
    """A GGUF file's key-value pairs, each decoded when it is asked for.

    Raises:
        CheckpointError: a value's text is not UTF-8.
    """

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._places: dict[str, _Place] = {}

    def add(self, key: str, place: _Place) -> None:
        self._places[key] = place

    def value_type(self, key: str) -> int:
        """The type of a value: a key of `NUMBERS`, `STRING` or `ARRAY`."""
        place = self._places[key]
        return ARRAY if place.is_array else place.value_type

    def __getitem__(self, key: str) -> Any:
        place = self._places[key]
        if place.value_type != STRING:
            values = self._numbers(place)
        else:
            try:
                values = list(self._texts(place))
            except UnicodeDecodeError as error:
                raise CheckpointError(f"the text of {key} is not UTF-8: {error}.") from error
        return values if place.is_array else values[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _numbers(self, place: _Place) -> list[Any]:
        dtype = NUMBERS[place.value_type]
        values = self._data[place.start : place.start + place.length * dtype.itemsize]
        return [*np.frombuffer(values, dtype).tolist()]

    def _texts(self, place: _Place) -> Iterator[str]:
        position = place.start
        for _ in range(place.length):
            (length,) = LENGTH.unpack_from(self._data, position)
            position += 8 + length
            yield self._data[position - length : position].decode()


class _Place(NamedTuple):
    """Where the values of a key lie: `length` of `value_type`, from byte `start` on."""

    start: int
    value_type: int
    length: int
    is_array: bool


def read_header(path: Path) -> tuple[Metadata, dict[str, StoredTensor]]:
    """Maps the file into memory; gives its metadata, and its tensors by their names.

    Raises:
        CheckpointError: what the header says does not fit the file, or is there twice.
        UnsupportedError: the version, or the type of a tensor, is not supported.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        version = int.from_bytes(file.read(8)[4:], "little")
        if size >= 8 and version not in VERSIONS:
            raise UnsupportedError(
                f"it has GGUF version {version} (or is big-endian), which is not supported; "
                f"supported: little-endian, versions {' and '.join(map(str, VERSIONS))}."
            )
        if size < 24:
            raise CheckpointError(
                f"it is truncated: a GGUF file has at least 24 bytes, this one {size}."
            )
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    cursor = _Cursor(data, position=8)
    tensor_count = cursor.count("tensors", LEAST_TENSOR)
    metadata = Metadata(data)
    for _ in range(cursor.count("keys", LEAST_KEY)):
        key = cursor.text("a key", LONGEST_KEY)
        if not key or key in metadata:
            raise CheckpointError(
                f"it is damaged: its metadata hold the key {quoted(key)} twice, or an empty key."
            )
        metadata.add(key, cursor.value(key))
    return metadata, _read_tensors(cursor, tensor_count, _alignment(metadata))


class _Cursor:
    """Walks over a file and never past its end."""

    def __init__(self, data: mmap.mmap, position: int) -> None:
        self.data = data
        self.position = position

    def skip(self, length: int, what: str) -> int:
        """Goes on by `length` bytes, which are `what`; returns where they begin."""
        start = self.position
        if length > len(self.data) - start:
            raise CheckpointError(
                f"it is truncated or damaged: {what} should end at byte {start + length}, "
                f"the file has {len(self.data)}."
            )
        self.position += length
        return start

    def number(self, code: str, what: str) -> int:
        start = self.skip(struct.calcsize(code), what)
        return int(struct.unpack_from(code, self.data, start)[0])

    def text(self, what: str, longest: int) -> str:
        length = self.number("<Q", what)
        if length > longest:
            raise CheckpointError(
                f"it is truncated or damaged: {what} should have {length} bytes, "
                f"which is more than the {longest} that the format allows."
            )
        start = self.skip(length, what)
        try:
            return self.data[start : self.position].decode()
        except UnicodeDecodeError as error:
            raise CheckpointError(f"it is damaged: {what} is not UTF-8: {error}.") from error

    def count(self, what: str, least_bytes: int) -> int:
        """How many of `what` follow, each of at least `least_bytes`."""
        count = self.number("<Q", f"the number of {what}")
        if count > min(len(self.data) // least_bytes, MOST_ENTRIES):
            raise CheckpointError(
                f"it is truncated or damaged: it should hold {count} {what}, "
                f"but has {len(self.data)} bytes in all."
            )
        return count

    def value(self, key: str) -> _Place:
        """Goes past the value of a key, whose type comes first."""
        what = f"the value of {quoted(key)}"
        value_type, count = self.number("<I", what), 1
        is_array = value_type == ARRAY
        if is_array:
            value_type, count = self.number("<I", what), self.number("<Q", what)
        if value_type != STRING and value_type not in NUMBERS:
            raise UnsupportedError(
                f"{what} has type {value_type}, which is not supported; "
                "supported: numbers, texts, and arrays of them."
            )
        if count > MOST_VALUES:
            raise CheckpointError(
                f"it is truncated or damaged: {what} should have {count} elements, "
                f"which is more than {MOST_VALUES}."
            )
        if value_type != STRING:
            start = self.skip(count * NUMBERS[value_type].itemsize, what)
            return _Place(start, value_type, count, is_array)
        start = self.skip(count * 8, what)  # the lengths alone
        position, last = start, len(self.data) - 8
        for _ in range(count):
            if position > last:
                position += 8
                break
            position += 8 + LENGTH.unpack_from(self.data, position)[0]
        self.position = start
        self.skip(max(position - start, count * 8), what)
        return _Place(start, value_type, count, is_array)


def quoted(name: str) -> str:
    """A name for a message, in quotes and not too long."""
    return repr(name if len(name) <= 64 else f"{name[:61]}...")


def _alignment(metadata: Metadata) -> int:
    """The multiple of bytes at which every tensor begins."""
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
        raise CheckpointError("general.alignment must be a whole number that is a power of 2.")
    return alignment


def _read_tensors(cursor: _Cursor, count: int, alignment: int) -> dict[str, StoredTensor]:
    """The tensors, which lie one after the other, each padded to a multiple of `alignment`."""
    described: dict[str, tuple[tuple[int, ...], gguf.GGMLQuantizationType, int]] = {}
    for _ in range(count):
        name = cursor.text("a tensor's name", LONGEST_TENSOR_NAME)
        if name in described:
            raise CheckpointError(f"it holds the tensor {name!r} twice.")
        what = f"the description of tensor {name!r}"
        dimensions = cursor.number("<I", what)
        if not 1 <= dimensions <= 4:
            raise CheckpointError(
                f"it is damaged: tensor {name!r} has {dimensions} dimensions, not 1 to 4."
            )
        shape = tuple(cursor.number("<Q", what) for _ in range(dimensions))[::-1]
        kind = _kind(name, cursor.number("<I", what))
        described[name] = shape, kind, cursor.number("<Q", what)
    data_start = -(-cursor.position // alignment) * alignment
    expected, tensors = 0, {}
    for name, (shape, kind, offset) in described.items():
        if offset != expected:
            raise CheckpointError(
                f"it is damaged: tensor {name!r} should lie at byte {expected} of the "
                f"tensors' data, its header says {offset}."
            )
        row_bytes = _row_bytes(name, shape, kind)
        length = math.prod(shape[:-1]) * row_bytes
        start = data_start + offset
        if length > len(cursor.data) - start:
            raise CheckpointError(
                f"it is truncated or damaged: tensor {name!r} should end at byte "
                f"{start + length}, the file has {len(cursor.data)}."
            )
        data = np.frombuffer(cursor.data, np.uint8, length, start)
        tensors[name] = StoredTensor(name, shape, kind, data.reshape(*shape[:-1], row_bytes))
        expected += -(-length // alignment) * alignment
    return tensors


def _kind(name: str, number: int) -> gguf.GGMLQuantizationType:
    try:
        return gguf.GGMLQuantizationType(number)
    except ValueError as error:
        raise UnsupportedError(
            f"tensor {name!r} has type {number}, which is not supported; "
            "supported: F32, F16, BF16 and the quantised types of llama.cpp's models."
        ) from error


def _row_bytes(name: str, shape: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> int:
    """The bytes of a row, which holds whole blocks."""
    block_elements, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    if 0 in shape or shape[-1] % block_elements:
        raise CheckpointError(
            f"it is damaged: tensor {name!r} has shape {shape}, which must not have a 0; "
            f"a row of {kind.name} is a multiple of {block_elements}."
        )
    return int(shape[-1] // block_elements * block_bytes)
