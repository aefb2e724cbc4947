"""Reader of Hugging Face directories: `config.json`, safetensors, `tokenizer.json`.

The safetensors format is described at
https://huggingface.co/docs/safetensors#format: eight bytes of header length,
a JSON header, then the tensors' bytes in row-major, little-endian order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from relama.checkpoint.base import Checkpoint, FloatArray, Tensor, default_template, zeros
from relama.checkpoint.huggingface_tokenizer import read_tokenizer_files
from relama.checkpoint.json_object import (
    parse_object,
    read_object,
    read_object_if_any,
    refuse_stand_in,
)
from relama.errors import CheckpointError, UnsupportedError
from relama.sampling import FIELDS as SAMPLING_FIELDS

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

#: The files of an adapter, as the package `peft` writes them.
ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")

#: Fields of `config.json` that tell of weights which another library has rounded.
QUANTIZATION = ("quantization_config", "compression_config")

#: The longest header, as in the safetensors library, and numpy's number of dimensions.
MAX_HEADER, MAX_DIMENSIONS = 100_000_000, 64

#: How each supported dtype lies in the file; numpy has no bfloat16, so its bits are read.
STORED_AS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class HuggingFaceCheckpoint(Checkpoint):
    """A directory as `save_pretrained` writes it, with one or more safetensors files.

    Every file but `tokenizer.json` is opened and checked on construction; of
    the weights only the headers are read.

    Raises:
        CheckpointError: a file is missing, truncated, inconsistent or not JSON.
        UnsupportedError: a tensor's dtype is none of F32, F16 and BF16, the checkpoint is
            quantised by another library, or it is an adapter.
    """

    #: `PreTrainedTokenizerBase._from_pretrained` drops the flags where there is a tokenizer.json.
    post_processor_decides = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        _refuse_adapter(self.path)
        if not (self.path / "config.json").is_file():
            raise CheckpointError(
                f"{self.path} has no config.json; give the directory of a Hugging Face model."
            )
        self.config = read_object(self.path / "config.json")
        _refuse_quantized(self.path / "config.json", self.config)
        tensors = _read_tensors(self.path)
        absent = _absent_biases(tensors, self.config)
        self.tensors = tensors | absent
        settings = read_object_if_any(self.path / "tokenizer_config.json")
        self._tokenizer_files = read_tokenizer_files(
            self.path,
            settings,
            read_object_if_any(self.path / "special_tokens_map.json"),
            read_object_if_any(self.path / "added_tokens.json"),
            self.config,
        )
        named = {key: str(token) for key, token in self._tokenizer_files.named.items()}
        self.tokenizer_config = {key: _plain(value) for key, value in settings.items()} | named
        self.generation_config = _generation_config(self.path, self.config)
        self.chat_template, others = default_template(
            _chat_templates(self.path, self.tokenizer_config)
        )
        self.warnings = [*_end_token_warnings(self), *_bias_warnings(absent), *others]

    def tokenizer(self) -> Tokenizer:
        """The tokenizer as `AutoTokenizer` builds it, without truncation and padding.

        Adds to `warnings` what was assumed of it.

        Raises:
            CheckpointError: `tokenizer.json` is absent, or the tokenizers library rejects it.
            UnsupportedError: a setting of `tokenizer_config.json` is not supported.
        """
        if not (self.path / "tokenizer.json").is_file():
            raise CheckpointError(
                f"{self.path} has no tokenizer.json; transformers' "
                "AutoTokenizer.from_pretrained(...).save_pretrained(...) writes it."
            )
        tokenizer = self._tokenizer_files.build()
        new = self._tokenizer_files.warnings(tokenizer)
        self.warnings = list(dict.fromkeys([*self.warnings, *new]))
        return tokenizer


def _refuse_adapter(directory: Path) -> None:
    """Refuses an adapter, alone or beside a model: transformers would add it to its base model."""
    for name in ADAPTER:
        if (directory / name).exists():
            raise UnsupportedError(
                f"{directory} holds an adapter ({name}), which is not supported; supported: a "
                "whole model, as PEFT's merge_and_unload() and save_pretrained() make of one."
            )


def _refuse_quantized(path: Path, config: Mapping[str, Any]) -> None:
    """Refuses tensors that are codes of another library, whatever their dtypes are."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, Mapping) else {}):
        for key in QUANTIZATION:
            value = part.get(key)
            if value is None or value == {}:
                continue
            method = value.get("quant_method") if isinstance(value, Mapping) else value
            name = f"method {method!r}" if method else f"settings {json.dumps(value)[:60]}"
            raise UnsupportedError(
                f"{path}: {key} has the {name}, which is not supported; supported: weights in "
                f"{', '.join(STORED_AS)}, which `relama new --storage` rounds to int8 or int4."
            )


def _read_tensors(directory: Path) -> dict[str, Tensor]:
    """All tensors of the directory, from one file or from the shards that its index lists."""
    if (directory / WEIGHTS).is_file():
        return _read_safetensors(directory / WEIGHTS)
    index = directory / INDEX
    if not index.is_file():
        raise CheckpointError(f"{directory} has neither {WEIGHTS} nor {INDEX}.")
    weight_map = parse_object(index.read_bytes(), str(index), unique_keys=True).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{index}: 'weight_map' must be an object of tensor names and files.")

    shards: dict[str, dict[str, Tensor]] = {}
    tensors: dict[str, Tensor] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CheckpointError(f"{index}: {shard!r} for tensor '{name}' is not a file name.")
        if shard not in shards:
            if not (directory / shard).is_file():
                raise CheckpointError(f"{directory} lacks {shard}, which {INDEX} lists.")
            shards[shard] = _read_safetensors(directory / shard)
        if name not in shards[shard]:
            raise CheckpointError(
                f"{directory / shard} lacks tensor '{name}', which {INDEX} places there."
            )
        tensors[name] = shards[shard][name]
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file, after checking its header against its size."""
    size = path.stat().st_size
    with path.open("rb") as file:
        begin = file.read(100)
        header_size = int.from_bytes(begin[:8], "little")
        if size < 8 or header_size > size - 8:
            refuse_stand_in(begin, str(path))
            raise CheckpointError(
                f"{path} is truncated, or not a safetensors file: it should begin with 8 bytes and "
                f"a header of {header_size}, but has {size} in all."
            )
        if header_size > MAX_HEADER:
            raise CheckpointError(
                f"{path} claims a header of {header_size} bytes; it may have {MAX_HEADER}."
            )
        where = f"the header of {path}"
        file.seek(8)
        header = parse_object(file.read(header_size), where, unique_keys=True)
    metadata = header.pop("__metadata__", None)
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    ):
        raise CheckpointError(f"{where} has a __metadata__ that is not an object of strings.")
    tensors = {
        name: _read_entry(path, size, 8 + header_size, name, entry)
        for name, entry in header.items()
    }
    _check_layout(path, size - 8 - header_size, header)
    return tensors


def _check_layout(path: Path, data_size: int, header: dict[str, Any]) -> None:
    """The tensors' bytes must follow one another from the first byte of the data to the last.

    As in `Metadata::validate` of the safetensors library.
    """
    place, before = 0, None
    for name in sorted(header, key=lambda name: tuple(header[name]["data_offsets"])):
        begin, end = header[name]["data_offsets"]
        if begin != place:
            after = f"tensor '{before}'" if before else "the header"
            raise CheckpointError(
                f"{path}: tensor '{name}' should begin where {after} ends, at byte {place} "
                f"of the data, not at {begin}."
            )
        place, before = end, name
    if place != data_size:
        raise CheckpointError(
            f"{path} has {data_size - place} bytes after its last tensor; it should have none."
        )


def _read_entry(path: Path, size: int, data_start: int, name: str, entry: object) -> Tensor:
    """One tensor of a safetensors header; its bytes must lie inside the file.

    Args:
        path: the file.
        size: its size in bytes.
        data_start: where its tensor data begins; offsets count from there.
        name: the tensor's name.
        entry: the header's `{"dtype": ..., "shape": ..., "data_offsets": [begin, end]}`.
    """
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if (
            len(shape) <= MAX_DIMENSIONS
            and all(type(length) is int and 0 <= length < 2**64 for length in shape)
            and bool not in (type(begin), type(end))
        ):
            pass
        case _:
            raise CheckpointError(
                f"{path}: tensor '{name}' needs a dtype, a shape and two data_offsets."
            )
    if dtype not in STORED_AS:
        raise UnsupportedError(
            f"{path}: tensor '{name}' has dtype {dtype}, which is not supported; "
            f"supported: {', '.join(STORED_AS)}."
        )
    if not 0 <= begin <= end <= size - data_start:
        raise CheckpointError(
            f"{path} is truncated or damaged: tensor '{name}' should end at byte "
            f"{data_start + end}, the file has {size}."
        )
    expected = math.prod(shape) * np.dtype(STORED_AS[dtype]).itemsize
    if end - begin != expected:
        raise CheckpointError(
            f"{path}: tensor '{name}' of shape {tuple(shape)} and dtype {dtype} takes "
            f"{expected} bytes, its data_offsets give {end - begin}."
        )
    rows = tuple(shape) or (1,)
    return Tensor(name, rows, dtype, partial(_read_rows, path, data_start + begin, rows, dtype))


def _read_rows(
    path: Path, offset: int, shape: tuple[int, ...], dtype: str, start: int, stop: int
) -> FloatArray:
    """Rows `[start, stop)` of a tensor as float32, shape `(stop - start, *shape[1:])`.

    Args:
        path: the safetensors file.
        offset: the tensor's first byte in it.
        shape: the shape of the whole tensor.
        dtype: a key of `STORED_AS`.
        start: the first row.
        stop: the row after the last.
    """
    start, stop, _ = slice(start, stop).indices(shape[0])
    rows = max(0, stop - start)
    stored = np.dtype(STORED_AS[dtype])
    width = math.prod(shape[1:])
    data = np.fromfile(
        path, stored, count=rows * width, offset=offset + start * width * stored.itemsize
    ).reshape(rows, *shape[1:])
    if dtype == "BF16":
        # A bfloat16 is the upper half of the float32 of the same value.
        return (data.astype(np.uint32) << 16).view(np.float32)
    return data.astype(np.float32, copy=False)


def _generation_config(directory: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The fields of `generation_config.json`; without one, those that `config.json` has.

    As `adjust_generation_fn` in transformers' `generation/utils.py` has it: a
    `generation_config.json` without end tokens hides those of `config.json`. Where the text is
    half of a model that has none, those of `text_config` count (`from_model_config`).
    """
    path = directory / "generation_config.json"
    if path.is_file():
        generation = read_object(path)
    else:
        path = directory / "config.json"
        text = config.get("text_config")
        end = text.get("eos_token_id") if isinstance(text, dict) else None
        known = {"eos_token_id": end} | {k: v for k, v in config.items() if v is not None}
        fields = ("eos_token_id", *SAMPLING_FIELDS)
        generation = {key: known[key] for key in fields if known.get(key) is not None}
    value = generation.get("eos_token_id")
    ids = value if isinstance(value, list) else [value]
    if value is not None and not all(type(token_id) is int for token_id in ids):
        raise CheckpointError(
            f"{path}: eos_token_id is {json.dumps(value)}; "
            "it should be a token id or a list of them."
        )
    return generation


def _end_token_warnings(checkpoint: HuggingFaceCheckpoint) -> list[str]:
    hidden = checkpoint.config.get("eos_token_id")
    if hidden is None or checkpoint.generation_config.get("eos_token_id") is not None:
        return []
    return [
        "generation_config.json has no eos_token_id, which hides that of config.json "
        f"({json.dumps(hidden)}), as in transformers; texts end at the tokenizer's eos_token."
    ]


def _absent_biases(tensors: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """Zeros for the biases of a projection that has none in any layer, where its like have.

    So transformers initialises what `attention_bias` or `mlp_bias` promises and the
    checkpoint lacks (Qwen's layers have biases of Q, K and V alone). Latent attention has none
    behind its latents, whatever the config promises.
    """
    absent = {}
    for key, part in (("attention_bias", "self_attn"), ("mlp_bias", "mlp")):
        names = [n for n in tensors if f".{part}." in n and n.split(".")[-2].endswith("_proj")]
        if any(f".{part}.kv_b_proj." in name for name in names):
            continue
        biased = {name.split(".")[-2] for name in names if name.endswith(".bias")}
        for name in names if config.get(key) and biased else ():
            *_, projection, last = name.split(".")
            if last == "weight" and projection not in biased:
                bias = f"{name.removesuffix('weight')}bias"
                absent[bias] = zeros(bias, tensors[name].shape[0])
    return absent


def _bias_warnings(absent: Iterable[str]) -> list[str]:
    projections = sorted({name.split(".")[-2] for name in absent})
    if not projections:
        return []
    return [
        f"The checkpoint has no bias of {', '.join(projections)} in any layer, though config.json "
        "says that there are some; zeros stand for them."
    ]


def _chat_templates(directory: Path, tokenizer_config: dict[str, Any]) -> dict[str, str]:
    """The chat templates by name: `default` is the one that transformers takes where none is named.

    `chat_template.jinja`, and those of the folder `additional_chat_templates`; without any such
    file, what `tokenizer_config.json` has, a text or a list of named ones.
    """
    named: dict[Any, Any] = {}
    files = {"default": directory / "chat_template.jinja"}
    folder = directory / "additional_chat_templates"
    for name, path in (files | {path.stem: path for path in folder.glob("*.jinja")}).items():
        if path.is_file():
            try:
                named[name] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise CheckpointError(f"{path} is not UTF-8 text: {error}.") from error
    template = tokenizer_config.get("chat_template")
    if named or template is None:
        return named
    if isinstance(template, list):
        named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
    else:
        named = {"default": template}
    if not all(isinstance(text, str) for item in named.items() for text in item):
        raise CheckpointError(
            f"{directory / 'tokenizer_config.json'}: chat_template must be a string "
            "or a list of named templates."
        )
    return named


def _plain(value: Any) -> Any:
    """A token as a string, where `tokenizer_config.json` gives `{"content": "<s>", ...}`."""
    return value["content"] if isinstance(value, dict) and "content" in value else value
