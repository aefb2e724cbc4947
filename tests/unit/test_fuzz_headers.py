"""Damaged headers of GGUF and safetensors files open, or are refused in one sentence.

Nothing else may happen: no other exception, no hang, no memory that the file does not have.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import gguf
import pytest

from relama.architectures import build_graph
from relama.checkpoint import open_checkpoint
from relama.errors import RelamaError
from tests.unit.broken_checkpoints import put, write_directory, write_gguf

CASES = 250  # for each of four kinds of file and two seeds: 2,000
SECONDS, MEGABYTES = 5, 200

EXTREME = [
    *(0, 1, 2, 3, 7, 8, 9, 255, 65535, 65536, 2**20, 2**24, 2**24 + 1),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1),
]


@contextmanager
def limits(seconds: int, megabytes: int) -> Iterator[None]:
    """Ends what takes too long; refuses memory that is far too much."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not done after {seconds} s")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGALRM, stop)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 4 * 2**20, hard))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def opened(path: Path) -> bool:
    """Whether everything of the checkpoint can be used; else it is refused in one sentence."""
    try:
        checkpoint = open_checkpoint(path)
        checkpoint.tokenizer().encode("ab a<|end|>c")
        graph = build_graph(checkpoint)
        for weight in [*graph.weights.values()][:3]:
            checkpoint.tensors[weight.parts[0].tensor].read()
    except RelamaError as error:
        text = str(error)
        assert text.endswith(".")
        assert "\n" not in text
        assert len(text.removeprefix(str(path))) < 500
        return False
    return True


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# GGUF


@dataclass
class Layout:
    """Where the parts of a sound GGUF header lie.

    Attributes:
        keys, tensors: the bytes `(begin, end)` of each key-value pair and of each tensor.
        words: where numbers of the header lie, with their codes for `struct`.
        end: where the header ends.
    """

    keys: list[tuple[int, int]] = field(default_factory=list)
    tensors: list[tuple[int, int]] = field(default_factory=list)
    words: list[tuple[int, str]] = field(default_factory=list)
    end: int = 0


def layout(data: bytes) -> Layout:
    found, at = Layout(), 8
    sizes = dict(zip(range(13), (1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8), strict=True))

    def word(code: str) -> int:
        nonlocal at
        found.words.append((at, code))
        (value,) = struct.unpack_from(code, data, at)
        at += struct.calcsize(code)
        return int(value)

    def text() -> None:
        nonlocal at
        length = word("<Q")
        at += length

    def values(kind: int, count: int) -> None:
        nonlocal at
        for _ in range(count):
            if kind == 8:
                text()
            elif sizes[kind] in (4, 8):
                word("<I" if sizes[kind] == 4 else "<Q")
            else:
                at += sizes[kind]

    tensors, keys = word("<Q"), word("<Q")
    for _ in range(keys):
        begin = at
        text()
        kind = word("<I")
        if kind == 9:
            values(word("<I"), word("<Q"))
        else:
            values(kind, 1)
        found.keys.append((begin, at))
    for _ in range(tensors):
        begin = at
        text()
        for _ in range(word("<I")):
            word("<Q")
        word("<I"), word("<Q")
        found.tensors.append((begin, at))
    found.end = at
    return found


def damage_gguf(data: bytes, parts: Layout, chance: random.Random) -> bytes:
    """One change to the header."""
    header, rest = bytearray(data[: parts.end]), data[parts.end :]
    match chance.randrange(9):
        case 0 | 1 | 2:  # a number becomes an extreme one
            at, code = chance.choice(parts.words)
            value = chance.choice([*EXTREME, struct.unpack_from(code, data, at)[0] + 1])
            bits = 8 * struct.calcsize(code)
            struct.pack_into(code, header, at, value % 2**bits)
        case 3:
            for _ in range(chance.randint(1, 8)):
                header[chance.randrange(len(header))] ^= 1 << chance.randrange(8)
        case 4:
            return data[: chance.randrange(len(data))]
        case 5:  # a key or a tensor is there twice, or not at all
            spans, count_at = chance.choice([(parts.keys, 16), (parts.tensors, 8)])
            begin, end = chance.choice(spans)
            again = chance.randrange(2)
            header[begin:end] = header[begin:end] * (2 * again)
            if chance.randrange(4):
                struct.pack_into("<Q", header, count_at, len(spans) + (1 if again else -1))
        case 6:  # keys or tensors in another order
            spans = chance.choice([parts.keys, parts.tensors])
            pieces = [bytes(header[begin:end]) for begin, end in spans]
            chance.shuffle(pieces)
            header[spans[0][0] : spans[-1][1]] = b"".join(pieces)
        case 7:
            at = chance.randrange(len(header))
            header[at : at + chance.choice([0, 0, 1, 8])] = chance.randbytes(chance.randint(0, 12))
        case 8:
            rest += chance.randbytes(chance.randint(1, 100))
    return bytes(header) + rest


#: Another tokenizer in place of the tiny model's own.
SENTENCEPIECE = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "\u2581", "a", "b", "\u2581a", "ab"],
    "tokenizer.ggml.token_type": [2, 3, 3, 1, 1, 1, 1, 4],
    "tokenizer.ggml.scores": [0.0, 0.0, 0.0, -1.0, -2.0, -3.0, -4.0, -5.0],
    "tokenizer.ggml.merges": None,
    "tokenizer.ggml.add_space_prefix": True,
}

#: Metadata that fewer files have.
RARER = {
    "general.name": "Phi-3",
    "general.alignment": 64,
    "llama.attention.causal": True,
    "llama.feed_forward_length": [96, 96],
    "llama.rope.scaling.type": "linear",
    "llama.rope.scaling.factor": 2.0,
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.ggml.add_eos_token": True,
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eot_token_id": 7,
    "tokenizer.ggml.padding_token_id": 0,
    "tokenizer.ggml.pre": "default",
    "tokenizer.chat_template": "{{ messages }}",
}


@pytest.mark.filterwarnings("ignore:invalid value encountered")  # in weights that are not numbers
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ({}, gguf.GGMLQuantizationType.F32),
        (SENTENCEPIECE, gguf.GGMLQuantizationType.BF16),
        (RARER, gguf.GGMLQuantizationType.Q8_0),
    ],
    ids=["byte-level", "sentencepiece", "rarer"],
)
def test_damaged_gguf_headers(
    metadata: dict[str, Any], kind: gguf.GGMLQuantizationType, seed: int, tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "model.gguf", kind=kind, change=lambda w: put(w, metadata))
    data = path.read_bytes()
    parts = layout(data)
    assert opened(path)
    chance = random.Random(seed)
    most = peak() + MEGABYTES
    refused = 0
    with limits(SECONDS * CASES, MEGABYTES):
        for _ in range(CASES):
            path.write_bytes(damage_gguf(data, parts, chance))
            signal.alarm(SECONDS)
            refused += not opened(path)
    assert CASES / 4 < refused < CASES
    assert peak() < most


# safetensors

ODD: list[Any] = [*EXTREME, None, True, -1, -(2**63), 0.5, 1e308, "", "F32", "F64", [], {}, [[]]]


def damage_safetensors(header: bytes, rest: bytes, chance: random.Random) -> bytes:
    """One change to the header."""
    length = len(header)
    match chance.randrange(8):
        case 0 | 1 | 2:  # a value, or a part of one, becomes an odd one
            entries = json.loads(header)
            entry = entries[chance.choice([*entries])]
            key = chance.choice([*entry])
            if isinstance(entry[key], list) and chance.randrange(3):
                entry[key][chance.randrange(len(entry[key]))] = chance.choice(ODD)
            else:
                entry[key] = chance.choice(ODD)
            header = json.dumps(entries).encode()
            length = len(header)
        case 3:
            changed = bytearray(header)
            for _ in range(chance.randint(1, 8)):
                changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
            header = bytes(changed)
        case 4:
            whole = struct.pack("<Q", length) + header + rest
            return whole[: chance.randrange(len(whole))]
        case 5:  # a tensor is there twice, or not at all, or in another place
            items = [*json.loads(header).items()]
            chance.shuffle(items)
            items = items[chance.randrange(2) :] + items[: chance.randrange(2)]
            texts = (f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in items)
            header = ("{" + ",".join(texts) + "}").encode()
            length = len(header)
        case 6:
            at = chance.randrange(len(header))
            header = header[:at] + chance.randbytes(chance.randint(1, 12)) + header[at:]
            length = len(header)
        case 7:
            length = chance.choice([*EXTREME, length - 1, length + 1])
            rest += chance.randbytes(chance.randint(0, 9))
    return struct.pack("<Q", length) + header + rest


@pytest.mark.parametrize("seed", range(2))
def test_damaged_safetensors_headers(seed: int, tmp_path: Path) -> None:
    directory = write_directory(tmp_path)
    path = directory / "model.safetensors"
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert opened(directory)
    chance = random.Random(seed)
    most = peak() + MEGABYTES
    refused = 0
    with limits(SECONDS * CASES, MEGABYTES):
        for _ in range(CASES):
            path.write_bytes(damage_safetensors(data[8 : 8 + length], data[8 + length :], chance))
            signal.alarm(SECONDS)
            refused += not opened(directory)
    assert CASES / 4 < refused < CASES
    assert peak() < most


# Metadata

Value = gguf.GGUFValueType

#: Values that no key of a Llama has, with their types.
ODD_VALUES: list[tuple[Any, gguf.GGUFValueType]] = [
    (-1, Value.INT32),
    (0, Value.UINT32),
    (1, Value.UINT8),
    (2**32 - 1, Value.UINT32),
    (2**63, Value.UINT64),
    (float("nan"), Value.FLOAT32),
    (float("inf"), Value.FLOAT64),
    (-1e300, Value.FLOAT64),
    (1e-30, Value.FLOAT32),
    (True, Value.BOOL),
    ("", Value.STRING),
    ("a\nb", Value.STRING),
    ("x" * 10000, Value.STRING),
    ([0], Value.ARRAY),
    ([3, 2**31 - 1], Value.ARRAY),
    ([float("nan")] * 8, Value.ARRAY),
    (["", "", "a", "b", "a", " ", "\0", "\ud7ff"], Value.ARRAY),
    ([99, -5, 0, 1, 2, 3, 4, 5], Value.ARRAY),
]


@pytest.mark.parametrize("metadata", [SENTENCEPIECE, RARER], ids=["sentencepiece", "rarer"])
def test_odd_metadata(metadata: dict[str, Any], tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", change=lambda w: put(w, metadata))
    keys = [key for key in gguf.GGUFReader(path).fields if not key.startswith("GGUF.")]
    most = peak() + MEGABYTES
    for key in keys:
        if key == "general.alignment":
            continue  # the writer obeys it
        for odd, kind in ODD_VALUES:

            def change(writer: gguf.GGUFWriter, key: str = key, odd: Any = odd) -> None:
                put(writer, metadata)
                writer.kv_data[0].pop(key, None)
                writer.add_key_value(key, odd, kind)  # noqa: B023

            with limits(SECONDS, MEGABYTES):
                opened(write_gguf(path, change=change))
    assert peak() < most
