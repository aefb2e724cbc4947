"""A sound tiny checkpoint in each format, and ways to break it: one function a failure.

Nothing here uses the readers under test. Every `broken` function writes into
the directory it is given and returns the path to open.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE

from relama.errors import CheckpointError, RelamaError, UnsupportedError

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, INTERMEDIATE, LAYERS = 64, 4, 2, 16, 96, 2

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 8,
    "hidden_size": HIDDEN,
    "intermediate_size": INTERMEDIATE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}

#: Hugging Face's name of each tensor and GGUF's, as llama.cpp's converter pairs them.
GGUF_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
for _layer in range(LAYERS):
    for _theirs, _ours in (
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ):
        GGUF_NAMES[f"model.layers.{_layer}.{_theirs}.weight"] = f"blk.{_layer}.{_ours}.weight"

#: A byte-level vocabulary: a control token, three letters, a space, two merges, a word apart.
TOKENS = ["<|end|>", "a", "b", "c", "\u0120", "ab", "\u0120a", "<tool>"]
MERGES = ["a b", "\u0120 a"]
TYPES = [3, 1, 1, 1, 1, 1, 1, 4]


def weights() -> dict[str, np.ndarray]:
    """The tiny model's tensors under Hugging Face's names."""
    random = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (8, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (8, HIDDEN),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        shapes |= {
            f"{prefix}.input_layernorm.weight": (HIDDEN,),
            f"{prefix}.self_attn.q_proj.weight": (HEADS * HEAD_DIM, HIDDEN),
            f"{prefix}.self_attn.k_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            f"{prefix}.self_attn.v_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            f"{prefix}.self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD_DIM),
            f"{prefix}.post_attention_layernorm.weight": (HIDDEN,),
            f"{prefix}.mlp.gate_proj.weight": (INTERMEDIATE, HIDDEN),
            f"{prefix}.mlp.up_proj.weight": (INTERMEDIATE, HIDDEN),
            f"{prefix}.mlp.down_proj.weight": (HIDDEN, INTERMEDIATE),
        }
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_directory(directory: Path) -> Path:
    """Writes a sound Hugging Face directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(CONFIG))
    save_file(weights(), directory / "model.safetensors")
    vocabulary = {token: token_id for token_id, token in enumerate(TOKENS)}
    merges = [tuple(merge.split(" ")) for merge in MERGES]
    Tokenizer(BPE(vocabulary, merges)).save(str(directory / "tokenizer.json"))
    return directory


def write_shards(directory: Path) -> Path:
    """Writes a sound Hugging Face directory whose weights lie in two shards."""
    write_directory(directory)
    (directory / "model.safetensors").unlink()
    names = sorted(weights())
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"model-0000{number}-of-00002.safetensors"
        save_file({name: weights()[name] for name in part}, directory / shard)
        weight_map |= dict.fromkeys(part, shard)
    index = {"metadata": {}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory


def interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """Q or K with the two rows of each rotated pair side by side, as GGUF files hold them."""
    pairs = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def gguf_tensors(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors under GGUF's names, with Q and K interleaved."""
    stored = {}
    for name, value in tensors.items():
        if ".q_proj." in name:
            value = interleaved(value, HEADS)
        elif ".k_proj." in name:
            value = interleaved(value, KV_HEADS)
        stored[GGUF_NAMES[name]] = value
    return stored


def write_gguf(
    path: Path,
    tensors: dict[str, np.ndarray] | None = None,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    architecture: str = "llama",
    change: Callable[[gguf.GGUFWriter], None] = lambda writer: None,
    pre: str = "gpt-2",
) -> Path:
    """Writes a sound GGUF file.

    Args:
        path: the file.
        tensors: by GGUF's names; the tiny model's if None.
        kind: the type to store matrices as; vectors are stored as F32.
        architecture: `general.architecture`.
        change: adds metadata, which goes before the tiny model's own.
        pre: `tokenizer.ggml.pre`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INTERMEDIATE)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types(TYPES)
    writer.add_token_merges(MERGES)
    writer.add_eos_token_id(0)
    change(writer)
    if "llama.attention.head_count_kv" not in writer.kv_data[0]:
        writer.add_head_count_kv(KV_HEADS)
    if "llama.rope.freq_base" not in writer.kv_data[0]:
        writer.add_rope_freq_base(CONFIG["rope_theta"])
    for name, value in (gguf_tensors(weights()) if tensors is None else tensors).items():
        if value.ndim == 1 or value.dtype != np.float32:
            writer.add_tensor(name, value)
        else:
            writer.add_tensor(name, gguf.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def edit_header(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Rewrites the JSON header of a safetensors file, its length and nothing else."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@dataclass(frozen=True)
class Broken:
    """A way to break a checkpoint.

    Attributes:
        write: writes it into a directory and returns the path to open.
        error: what opening it, or asking for its tokenizer, must raise.
        names: words that the error must have: the file, the tensor, the key.
    """

    write: Callable[[Path], Path]
    error: type[RelamaError]
    names: tuple[str, ...]


BROKEN: list[Broken] = []


def broken(
    error: type[RelamaError], *names: str
) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    """Lists the decorated function in `BROKEN`."""

    def register(write: Callable[[Path], Path]) -> Callable[[Path], Path]:
        BROKEN.append(Broken(write, error, names))
        return write

    return register


# Hugging Face directories


@broken(CheckpointError, "nowhere")
def no_such_path(directory: Path) -> Path:
    return directory / "nowhere"


@broken(CheckpointError, "notes.txt", "GGUF")
def a_text_file(directory: Path) -> Path:
    path = directory / "notes.txt"
    path.write_text("no model here")
    return path


LFS_POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 17078272\n"


def lfs_pointer(path: Path) -> None:
    path.write_text(LFS_POINTER)


@broken(CheckpointError, "model.gguf", "git LFS pointer", "has not been downloaded")
def gguf_is_not_downloaded(directory: Path) -> Path:
    lfs_pointer(directory / "model.gguf")
    return directory / "model.gguf"


@broken(CheckpointError, "model.gguf", "is a web page")
def gguf_is_a_web_page(directory: Path) -> Path:
    (directory / "model.gguf").write_text("\n<!doctype html>\n<html><head>" + "x" * 1000)
    return directory / "model.gguf"


@broken(CheckpointError, "model.safetensors", "git LFS pointer", "has not been downloaded")
def safetensors_is_not_downloaded(directory: Path) -> Path:
    lfs_pointer(write_directory(directory) / "model.safetensors")
    return directory


@broken(CheckpointError, "model.safetensors", "is a web page")
def safetensors_is_a_web_page(directory: Path) -> Path:
    (write_directory(directory) / "model.safetensors").write_text("<HTML><body>Sign in</body>")
    return directory


@broken(CheckpointError, "model.safetensors", "not a safetensors file")
def safetensors_is_text(directory: Path) -> Path:
    (write_directory(directory) / "model.safetensors").write_text("Entry not found")
    return directory


@broken(CheckpointError, "tokenizer.json", "git LFS pointer", "has not been downloaded")
def tokenizer_is_not_downloaded(directory: Path) -> Path:
    lfs_pointer(write_directory(directory) / "tokenizer.json")
    return directory


@broken(CheckpointError, "config.json", "is a web page")
def config_is_a_web_page(directory: Path) -> Path:
    (write_directory(directory) / "config.json").write_text("<!DOCTYPE html><html></html>")
    return directory


@broken(CheckpointError, "config.json", "byte order mark", "UTF-8 without it")
def config_has_a_byte_order_mark(directory: Path) -> Path:
    path = write_directory(directory) / "config.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    return directory


@broken(CheckpointError, "tokenizer.json", "byte order mark", "UTF-8 without it")
def tokenizer_has_a_byte_order_mark(directory: Path) -> Path:
    path = write_directory(directory) / "tokenizer.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    return directory


@broken(CheckpointError, "config.json")
def an_empty_directory(directory: Path) -> Path:
    return directory


@broken(CheckpointError, "config.json", "JSON")
def config_is_not_json(directory: Path) -> Path:
    (write_directory(directory) / "config.json").write_text('{"model_type": "llama",')
    return directory


@broken(CheckpointError, "config.json", "object")
def config_is_not_an_object(directory: Path) -> Path:
    (write_directory(directory) / "config.json").write_text("[]")
    return directory


@broken(CheckpointError, "tokenizer_config.json", "JSON")
def tokenizer_config_is_binary(directory: Path) -> Path:
    (write_directory(directory) / "tokenizer_config.json").write_bytes(b"\xff\xfe\xfd")
    return directory


@broken(CheckpointError, "model.safetensors", "model.safetensors.index.json")
def no_weights(directory: Path) -> Path:
    (write_directory(directory) / "model.safetensors").unlink()
    return directory


@broken(CheckpointError, "model.safetensors", "truncated")
def safetensors_is_truncated(directory: Path) -> Path:
    path = write_directory(directory) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    return directory


@broken(CheckpointError, "model.safetensors", "truncated")
def safetensors_is_empty(directory: Path) -> Path:
    (write_directory(directory) / "model.safetensors").write_bytes(b"")
    return directory


@broken(CheckpointError, "model.safetensors", "truncated", str(2**63))
def safetensors_header_length_is_absurd(directory: Path) -> Path:
    path = write_directory(directory) / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**63) + path.read_bytes()[8:])
    return directory


@broken(CheckpointError, "model.safetensors", "JSON")
def safetensors_header_is_not_json(directory: Path) -> Path:
    path = write_directory(directory) / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"?" + data[9:])
    return directory


@broken(CheckpointError, "model.safetensors", "model.norm.weight", "truncated")
def safetensors_claims_more_than_it_holds(directory: Path) -> Path:
    def lengthen(header: dict[str, Any]) -> None:
        entry = header["model.norm.weight"]
        entry["shape"] = [10**12]
        entry["data_offsets"] = [0, 4 * 10**12]

    edit_header(write_directory(directory) / "model.safetensors", lengthen)
    return directory


@broken(CheckpointError, "model.norm.weight", "(63,)", "252", "256")
def safetensors_shape_does_not_fit_its_bytes(directory: Path) -> Path:
    def shorten(header: dict[str, Any]) -> None:
        header["model.norm.weight"]["shape"] = [HIDDEN - 1]

    edit_header(write_directory(directory) / "model.safetensors", shorten)
    return directory


@broken(CheckpointError, "model.norm.weight", "data_offsets")
def safetensors_entry_lacks_offsets(directory: Path) -> Path:
    def remove(header: dict[str, Any]) -> None:
        del header["model.norm.weight"]["data_offsets"]

    edit_header(write_directory(directory) / "model.safetensors", remove)
    return directory


@broken(CheckpointError, "model.safetensors", "k_proj.weight", "should begin where")
def safetensors_tensors_share_bytes(directory: Path) -> Path:
    def share(header: dict[str, Any]) -> None:
        prefix = "model.layers.0.self_attn."
        offsets = header[f"{prefix}k_proj.weight"]["data_offsets"]
        header[f"{prefix}v_proj.weight"]["data_offsets"] = offsets

    edit_header(write_directory(directory) / "model.safetensors", share)
    return directory


@broken(CheckpointError, "model.safetensors", "should begin where", "not at")
def safetensors_has_a_hole(directory: Path) -> Path:
    path = write_directory(directory) / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"1234")

    def move(header: dict[str, Any]) -> None:
        last = max(header.values(), key=lambda entry: entry["data_offsets"])
        last["data_offsets"] = [offset + 4 for offset in last["data_offsets"]]

    edit_header(path, move)
    return directory


@broken(CheckpointError, "model.safetensors", "7 bytes after its last tensor")
def safetensors_goes_on_after_its_tensors(directory: Path) -> Path:
    path = write_directory(directory) / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"PK\x03\x04abc")
    return directory


@broken(CheckpointError, "model.safetensors", "'model.norm.weight' is there twice")
def safetensors_has_a_key_twice(directory: Path) -> Path:
    path = write_directory(directory) / "model.safetensors"
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    again = json.dumps({"model.norm.weight": header["model.norm.weight"]})
    text = f"{json.dumps(header)[:-1]}, {again[1:]}".encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return directory


@broken(CheckpointError, "model.safetensors", "model.norm.weight", "shape")
def safetensors_has_a_million_dimensions(directory: Path) -> Path:
    def stretch(header: dict[str, Any]) -> None:
        header["model.norm.weight"]["shape"] = [2**62] * 1_000_000

    edit_header(write_directory(directory) / "model.safetensors", stretch)
    return directory


@broken(CheckpointError, "model.safetensors", "model.norm.weight", "shape")
def safetensors_has_true_for_a_number(directory: Path) -> Path:
    def confuse(header: dict[str, Any]) -> None:
        header["model.norm.weight"]["shape"] = [HIDDEN, True]

    edit_header(write_directory(directory) / "model.safetensors", confuse)
    return directory


@broken(CheckpointError, "model.safetensors", "JSON")
def safetensors_header_is_nested_too_deeply(directory: Path) -> Path:
    path = write_directory(directory) / "model.safetensors"
    text = b"{" + b'"a":{' * 200_000 + b"}" * 200_001
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return directory


@broken(CheckpointError, "model.safetensors", "100000000")
def safetensors_header_is_too_long(directory: Path) -> Path:
    path = write_directory(directory) / "model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2**30))
        file.truncate(2**31)
    return directory


@broken(UnsupportedError, "model.safetensors", "model.norm.weight", "I64", "F32, F16, BF16")
def safetensors_holds_whole_numbers(directory: Path) -> Path:
    tensors = weights() | {"model.norm.weight": np.arange(HIDDEN, dtype=np.int64)}
    save_file(tensors, write_directory(directory) / "model.safetensors")
    return directory


@broken(CheckpointError, "model-00002-of-00002.safetensors", "index")
def a_shard_is_absent(directory: Path) -> Path:
    (write_shards(directory) / "model-00002-of-00002.safetensors").unlink()
    return directory


@broken(CheckpointError, "model-00001-of-00002.safetensors", "'model.surprise.weight'")
def a_tensor_is_absent_from_its_shard(directory: Path) -> Path:
    path = write_shards(directory) / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.surprise.weight"] = "model-00001-of-00002.safetensors"
    path.write_text(json.dumps(index))
    return directory


@broken(CheckpointError, "model.safetensors.index.json", "weight_map")
def the_index_has_no_weight_map(directory: Path) -> Path:
    (write_shards(directory) / "model.safetensors.index.json").write_text("{}")
    return directory


@broken(CheckpointError, "model.safetensors.index.json", "'model.norm.weight' is there twice")
def the_index_has_a_key_twice(directory: Path) -> Path:
    path = write_shards(directory) / "model.safetensors.index.json"
    again = '"model.norm.weight": "model-00001-of-00002.safetensors"'
    path.write_text(path.read_text().replace('"weight_map": {', f'"weight_map": {{{again}, '))
    return directory


@broken(CheckpointError, "model.safetensors.index.json", "../elsewhere.safetensors")
def the_index_points_out_of_the_directory(directory: Path) -> Path:
    index = {"weight_map": {"model.norm.weight": "../elsewhere.safetensors"}}
    (write_shards(directory) / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory


@broken(CheckpointError, "tokenizer.json")
def no_tokenizer(directory: Path) -> Path:
    (write_directory(directory) / "tokenizer.json").unlink()
    return directory


@broken(CheckpointError, "tokenizer.json")
def tokenizer_is_broken(directory: Path) -> Path:
    (write_directory(directory) / "tokenizer.json").write_text('{"model": {"type": "Abacus"}}')
    return directory


# GGUF files


@broken(UnsupportedError, "model.gguf", "'mamba'", "llama")
def gguf_of_another_architecture(directory: Path) -> Path:
    return write_gguf(directory / "model.gguf", architecture="mamba")


@broken(CheckpointError, "model.gguf", "truncated")
def gguf_ends_within_the_tensors(directory: Path) -> Path:
    path = write_gguf(directory / "model.gguf")
    path.write_bytes(path.read_bytes()[:-1000])
    return path


@broken(CheckpointError, "model.gguf", "truncated")
def gguf_ends_within_the_metadata(directory: Path) -> Path:
    path = write_gguf(directory / "model.gguf")
    path.write_bytes(path.read_bytes()[:200])
    return path


@broken(CheckpointError, "model.gguf", "truncated")
def gguf_ends_after_its_magic(directory: Path) -> Path:
    path = directory / "model.gguf"
    path.write_bytes(b"GGUF")
    return path


@broken(CheckpointError, "model.gguf", "truncated")
def gguf_claims_more_tensors_than_it_holds(directory: Path) -> Path:
    path = write_gguf(directory / "model.gguf")
    data = path.read_bytes()
    path.write_bytes(data[:8] + struct.pack("<Q", 2**60) + data[16:])
    return path


@broken(UnsupportedError, "model.gguf", "version 1", "2 and 3")
def gguf_of_an_old_version(directory: Path) -> Path:
    path = write_gguf(directory / "model.gguf")
    data = path.read_bytes()
    path.write_bytes(data[:4] + struct.pack("<I", 1) + data[8:])
    return path


@broken(UnsupportedError, "model.gguf", "blk.1.ffn_norm.weight", "F64")
def gguf_tensor_of_another_type(directory: Path) -> Path:
    tensors = gguf_tensors(weights()) | {"blk.1.ffn_norm.weight": np.ones(HIDDEN, np.float64)}
    return write_gguf(directory / "model.gguf", tensors)


@broken(CheckpointError, "model.gguf", "blk.0.attn_q.weight", "48 rows")
def gguf_queries_do_not_fit_the_heads(directory: Path) -> Path:
    tensors = gguf_tensors(weights())
    tensors["blk.0.attn_q.weight"] = tensors["blk.0.attn_q.weight"][:48]
    return write_gguf(directory / "model.gguf", tensors)


@broken(CheckpointError, "model.gguf", "llama.attention.head_count_kv")
def gguf_metadata_is_text_instead_of_a_number(directory: Path) -> Path:
    return write_gguf(
        directory / "model.gguf",
        change=lambda writer: writer.add_string("llama.attention.head_count_kv", "two"),
    )


@broken(UnsupportedError, "model.gguf", "llama.attention.head_count_kv", "[2, 4]")
def gguf_heads_differ_between_layers(directory: Path) -> Path:
    return write_gguf(
        directory / "model.gguf", change=lambda writer: writer.add_head_count_kv([2, 4])
    )


@broken(CheckpointError, "model.gguf", "llama.expert_used_count", "not None")
def gguf_does_not_say_how_many_experts_are_chosen(directory: Path) -> Path:
    return write_gguf(directory / "model.gguf", change=lambda writer: writer.add_expert_count(8))


@broken(UnsupportedError, "model.gguf", "split.count", "3")
def gguf_is_one_part_of_three(directory: Path) -> Path:
    return write_gguf(
        directory / "model.gguf", change=lambda writer: writer.add_uint16("split.count", 3)
    )


@broken(UnsupportedError, "model.gguf", "llama.rope.dimension_count", "8", "16")
def gguf_rotates_half_of_each_head(directory: Path) -> Path:
    def change(writer: gguf.GGUFWriter) -> None:
        writer.add_key_length(HEAD_DIM)
        writer.add_rope_dimension_count(HEAD_DIM // 2)

    return write_gguf(directory / "model.gguf", change=change)


@broken(UnsupportedError, "model.gguf", "rope_freqs.weight", "llama3")
def gguf_rope_divisors_of_no_known_scaling(directory: Path) -> Path:
    divisors = np.linspace(1, 5, HEAD_DIM // 2, dtype=np.float32)
    return write_gguf(
        directory / "model.gguf", gguf_tensors(weights()) | {"rope_freqs.weight": divisors}
    )


@broken(CheckpointError, "model.gguf", "tokenizer.ggml.bos_token_id", "99")
def gguf_special_token_is_not_in_the_vocabulary(directory: Path) -> Path:
    return write_gguf(directory / "model.gguf", change=lambda writer: writer.add_bos_token_id(99))


@broken(UnsupportedError, "model.gguf", "'hieroglyphs'", "smollm")
def gguf_pre_tokenizer_is_not_known(directory: Path) -> Path:
    return write_gguf(directory / "model.gguf", pre="hieroglyphs")


def put(writer: gguf.GGUFWriter, values: dict[str, Any]) -> None:
    """Sets keys of a GGUF file, each with the type of its Python value; None removes a key."""
    for key, value in values.items():
        writer.kv_data[0].pop(key, None)
        if key == "general.alignment":
            writer.add_custom_alignment(value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        elif value is not None:
            kinds = {str: "STRING", bool: "BOOL", int: "UINT32", float: "FLOAT32"}
            writer.add_key_value(key, value, gguf.GGUFValueType[kinds[type(value)]])


# GGUF headers that say what no file holds


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def tensor(name: str, *shape: int, kind: int = 0, offset: int = 0) -> bytes:
    return (
        text(name)
        + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        + struct.pack("<IQ", kind, offset)
    )


def write_header(directory: Path, *parts: bytes, tensors: int = 0, keys: int = 1) -> Path:
    """Writes the beginning of a GGUF file: its architecture, then `parts`, then some zeros."""
    path = directory / "model.gguf"
    architecture = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    header = b"GGUF" + struct.pack("<IQQ", 3, tensors, keys)
    path.write_bytes(header + architecture + b"".join(parts) + bytes(100))
    return path


def write_array(directory: Path, kind: int, count: int, *values: bytes) -> Path:
    """Writes a file with a key `numbers` that should hold `count` values of type `kind`."""
    array = text("numbers") + struct.pack("<IIQ", 9, kind, count)
    return write_header(directory, array, *values, keys=2)


@broken(CheckpointError, "model.gguf", "'numbers'", str(2**63))
def gguf_array_of_more_numbers_than_exist(directory: Path) -> Path:
    return write_array(directory, 0, 2**63)


@broken(CheckpointError, "model.gguf", "'numbers'", str(2**40))
def gguf_array_of_a_terabyte(directory: Path) -> Path:
    return write_array(directory, 6, 2**40)


@broken(CheckpointError, "model.gguf", "'numbers'", "truncated")
def gguf_array_of_more_numbers_than_the_file_holds(directory: Path) -> Path:
    return write_array(directory, 10, 2**20)


@broken(CheckpointError, "model.gguf", "'numbers'", "truncated")
def gguf_array_of_more_texts_than_the_file_holds(directory: Path) -> Path:
    return write_array(directory, 8, 2**24)


@broken(CheckpointError, "model.gguf", "'numbers'", "truncated")
def gguf_array_of_texts_that_end_beyond_the_file(directory: Path) -> Path:
    return write_array(directory, 8, 3, text("a"), text("b"), struct.pack("<Q", 200))


@broken(UnsupportedError, "model.gguf", "'numbers'", "type 9")
def gguf_array_of_arrays(directory: Path) -> Path:
    return write_array(directory, 9, 1, struct.pack("<IQ", 9, 1) * 5000)


@broken(CheckpointError, "model.gguf", "'general.architecture' twice")
def gguf_key_is_there_twice(directory: Path) -> Path:
    again = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    return write_header(directory, again, keys=2)


@broken(CheckpointError, "model.gguf", "truncated", str(2**62))
def gguf_key_is_longer_than_the_file(directory: Path) -> Path:
    return write_header(directory, struct.pack("<Q", 2**62), keys=2)


@broken(CheckpointError, "model.gguf", "truncated", str(2**63))
def gguf_claims_more_keys_than_it_holds(directory: Path) -> Path:
    return write_header(directory, keys=2**63)


@broken(CheckpointError, "model.gguf", "general.alignment", "power of 2")
def gguf_alignment_is_zero(directory: Path) -> Path:
    alignment = text("general.alignment") + struct.pack("<II", 4, 0)
    return write_header(directory, alignment, keys=2)


@broken(CheckpointError, "model.gguf", "'norm'", "twice")
def gguf_tensor_is_there_twice(directory: Path) -> Path:
    return write_header(directory, tensor("norm", 4), tensor("norm", 4, offset=32), tensors=2)


@broken(CheckpointError, "model.gguf", "'other'", "byte 32", "says 0")
def gguf_tensors_lie_on_one_another(directory: Path) -> Path:
    return write_header(directory, tensor("norm", 4), tensor("other", 4), tensors=2)


@broken(CheckpointError, "model.gguf", "'norm'", "truncated")
def gguf_tensor_is_larger_than_any_file(directory: Path) -> Path:
    return write_header(directory, tensor("norm", 2**32, 2**32), tensors=1)


@broken(CheckpointError, "model.gguf", "'norm'", str(2**32 - 1), "1 to 4")
def gguf_tensor_has_too_many_dimensions(directory: Path) -> Path:
    many = text("norm") + struct.pack("<I", 2**32 - 1)
    return write_header(directory, many, tensors=1)


@broken(CheckpointError, "model.gguf", "'norm'", "(0,)")
def gguf_tensor_is_empty(directory: Path) -> Path:
    return write_header(directory, tensor("norm", 0), tensors=1)


@broken(CheckpointError, "model.gguf", "'norm'", "(33,)", "multiple of 32")
def gguf_tensor_is_not_whole_blocks(directory: Path) -> Path:
    return write_header(directory, tensor("norm", 33, kind=8), tensors=1)


@broken(UnsupportedError, "model.gguf", "'norm'", "type 999")
def gguf_tensor_of_an_unknown_type(directory: Path) -> Path:
    return write_header(directory, tensor("norm", 4, kind=999), tensors=1)


@broken(CheckpointError, "model.gguf", "9 tokens", "8 rows")
def gguf_token_has_no_row_in_the_embedding(directory: Path) -> Path:
    tokens = {"tokenizer.ggml.tokens": [*TOKENS, "d"], "tokenizer.ggml.token_type": [*TYPES, 1]}
    return write_gguf(directory / "model.gguf", change=lambda writer: put(writer, tokens))


@broken(CheckpointError, "model.gguf", "tokenizer.chat_template", "text")
def gguf_chat_template_is_a_number(directory: Path) -> Path:
    template = {"tokenizer.chat_template": 1}
    return write_gguf(directory / "model.gguf", change=lambda writer: put(writer, template))


@broken(UnsupportedError, "model.gguf", "general.type", "'adapter'")
def gguf_is_an_adapter(directory: Path) -> Path:
    kind = {"general.type": "adapter"}
    return write_gguf(directory / "model.gguf", change=lambda writer: put(writer, kind))


@broken(UnsupportedError, "model.gguf", "big-endian", "little-endian")
def gguf_is_big_endian(directory: Path) -> Path:
    path = directory / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 0, 0))
    return path
