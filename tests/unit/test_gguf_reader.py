"""A GGUF file gives the tensors, the config and the tokenizer of the model it was made from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from relama.checkpoint import open_checkpoint
from relama.checkpoint.gguf import GgufCheckpoint
from relama.checkpoint.gguf_tokenizer import (
    DEEPSEEK3,
    DIGITS_APART,
    GPT2,
    GPT4O,
    LLAMA3,
    LLAMA3_WORDS_ONLY,
    QWEN2,
    TEKKEN,
    WHOLE_WORDS,
    build_tokenizer,
    generation_config,
    read_vocabulary,
    tokenizer_config,
)
from relama.config import model_config
from relama.errors import CheckpointError, UnsupportedError
from tests.unit.broken_checkpoints import (
    CONFIG,
    HEAD_DIM,
    KV_HEADS,
    MERGES,
    TOKENS,
    TYPES,
    gguf_tensors,
    interleaved,
    put,
    weights,
    write_directory,
    write_gguf,
    write_shards,
)

QUANTISED = [Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0]


# Tensors


def test_all_formats_give_identical_tensors(tmp_path: Path) -> None:
    directory = open_checkpoint(write_directory(tmp_path / "one"))
    shards = open_checkpoint(write_shards(tmp_path / "shards"))
    file = open_checkpoint(write_gguf(tmp_path / "model.gguf"))
    assert set(directory.tensors) == set(shards.tensors) == set(file.tensors)
    for name, tensor in directory.tensors.items():
        for other in (shards.tensors[name], file.tensors[name]):
            assert (other.name, other.shape) == (name, tensor.shape)
            np.testing.assert_array_equal(other.read(), tensor.read())


def test_float16_and_bfloat16_are_widened_exactly(tmp_path: Path) -> None:
    # Values of 7 bits of mantissa and small exponents are exact in both types.
    exact = {name: np.round(value * 16) / 16 for name, value in weights().items()}
    for kind in (Kind.F16, Kind.BF16):
        checkpoint = GgufCheckpoint(
            write_gguf(tmp_path / f"{kind.name}.gguf", gguf_tensors(exact), kind)
        )
        for name, value in exact.items():
            np.testing.assert_array_equal(checkpoint.tensors[name].read(), value)
        assert checkpoint.tensors["lm_head.weight"].dtype == kind.name
        assert checkpoint.tensors["model.norm.weight"].dtype == "F32"


def test_q8_0_is_within_half_a_step_of_its_blocks(tmp_path: Path) -> None:
    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "model.gguf", kind=Kind.Q8_0))
    for name, value in weights().items():
        read = checkpoint.tensors[name].read()
        assert read.shape == value.shape
        if value.ndim == 1:
            np.testing.assert_array_equal(read, value)
            continue
        blocks = value.reshape(-1, 32)
        step = np.abs(blocks).max(axis=1, keepdims=True) / 127
        # The step itself is stored as float16, with a relative error of 2**-11.
        error = np.abs(read.reshape(-1, 32) - blocks)
        assert np.all(error <= step * 0.5 + np.abs(blocks) * 2**-10)


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.BF16, *QUANTISED], ids=lambda k: k.name)
def test_rows_are_a_slice_of_the_whole(kind: Kind, tmp_path: Path) -> None:
    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "model.gguf", kind=kind))
    for name in (
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.1.self_attn.k_proj.weight",
        "model.layers.1.mlp.down_proj.weight",
        "model.norm.weight",
    ):
        tensor = checkpoint.tensors[name]
        whole = tensor.read()
        assert whole.dtype == np.float32
        for start, stop in ((0, 1), (3, 17), (31, 32), (5, 5), (20, 1000)):
            np.testing.assert_array_equal(tensor.read_rows(start, stop), whole[start:stop])


def test_biases_of_queries_and_keys_are_reordered_too(tmp_path: Path) -> None:
    bias = np.arange(KV_HEADS * HEAD_DIM, dtype=np.float32)
    tensors = gguf_tensors(weights())
    tensors["blk.0.attn_k.bias"] = interleaved(bias, KV_HEADS)
    tensors["blk.0.attn_v.bias"] = bias
    tensors["blk.0.ffn_gate.bias"] = np.zeros(96, np.float32)
    tensors["blk.0.attn_q.bias"] = np.zeros(64, np.float32)
    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "model.gguf", tensors))
    for part in ("k", "v"):
        read = checkpoint.tensors[f"model.layers.0.self_attn.{part}_proj.bias"]
        np.testing.assert_array_equal(read.read(), bias)
        np.testing.assert_array_equal(read.read_rows(3, 9), bias[3:9])
    assert checkpoint.config["attention_bias"] is True
    assert checkpoint.config["mlp_bias"] is True


def test_a_tensor_without_a_known_name_keeps_its_own(tmp_path: Path) -> None:
    tensors = gguf_tensors(weights()) | {"blk.0.attn_sinks.weight": np.ones(4, np.float32)}
    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "model.gguf", tensors))
    assert "blk.0.attn_sinks.weight" in checkpoint.tensors


# Config


def test_config_is_the_one_it_was_made_from(tmp_path: Path) -> None:
    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "model.gguf"))
    assert CONFIG.items() <= checkpoint.config.items()  # 1e-05, not its float32
    assert checkpoint.config["tie_word_embeddings"] is False
    assert checkpoint.config["attention_bias"] is False
    assert checkpoint.config["eos_token_id"] == 0
    assert model_config(checkpoint.config) == model_config(CONFIG)


def test_without_output_the_embeddings_are_tied(tmp_path: Path) -> None:
    tensors = gguf_tensors(weights())
    del tensors["output.weight"]
    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "model.gguf", tensors))
    assert checkpoint.config["tie_word_embeddings"] is True


def test_equal_values_for_every_layer_are_one_value(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", change=lambda w: w.add_head_count_kv([2, 2]))
    assert GgufCheckpoint(path).config["num_key_value_heads"] == 2


def test_every_token_that_ends_a_turn_is_an_eos(tmp_path: Path) -> None:
    def change(writer: gguf.GGUFWriter) -> None:
        writer.add_eot_token_id(7)
        writer.add_eom_token_id(0)  # the eos once more
        writer.add_bos_token_id(3)
        writer.add_chat_template("{{ messages }}")

    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "model.gguf", change=change))
    assert checkpoint.generation_config == {"eos_token_id": [0, 7], "bos_token_id": 3}
    assert checkpoint.chat_template == "{{ messages }}"


def test_named_chat_templates(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    path = tmp_path / "model.gguf"
    checkpoint = GgufCheckpoint(write_gguf(path, change=lambda w: w.add_chat_template(named)))
    assert checkpoint.chat_template == "plain"
    checkpoint = GgufCheckpoint(write_gguf(path, change=lambda w: w.add_chat_template(named[:1])))
    assert checkpoint.chat_template is None
    assert "chat templates are for other uses (tool_use)" in checkpoint.warnings[-1]


def test_linear_rope_scaling(tmp_path: Path) -> None:
    def change(writer: gguf.GGUFWriter) -> None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(2.5)

    config = GgufCheckpoint(write_gguf(tmp_path / "model.gguf", change=change)).config
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 2.5}


def test_no_rope_scaling(tmp_path: Path) -> None:
    path = write_gguf(
        tmp_path / "model.gguf",
        change=lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.NONE),
    )
    assert GgufCheckpoint(path).config["rope_scaling"] is None


def test_longrope_without_its_factors_is_refused(tmp_path: Path) -> None:
    path = write_gguf(
        tmp_path / "model.gguf",
        change=lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE),
    )
    with pytest.raises(CheckpointError, match=r"'rope_factors_short\.weight', which .* is missing"):
        GgufCheckpoint(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attention.causal", False),
        ("attention.clamp_kqv", 8.0),
        ("attention.scale", 0.5),
        ("attn_logit_softcapping", 50.0),
        ("embedding_scale", 12.0),
        ("expert_used_count", 2),
        ("hidden_activation", "gelu"),
        ("logit_scale", 0.25),
        ("nextn_predict_layers", 1),
        ("residual_scale", 0.2),
        ("rope.scaling.attn_factor", 2.0),
        ("rope.scaling.type", "spiral"),
        ("use_parallel_residual", True),
    ],
)
def test_a_setting_that_is_not_computed_is_refused_by_name(
    key: str, value: object, tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "model.gguf", change=lambda w: put(w, {f"llama.{key}": value}))
    with pytest.raises(UnsupportedError, match=rf"llama\.{key} is {value!r}, which is not supp"):
        GgufCheckpoint(path)


def test_settings_that_change_nothing(tmp_path: Path) -> None:
    neutral = {
        "llama.attention.causal": True,
        "llama.expert_count": 0,
        "llama.logit_scale": 1.0,
        "llama.rope.scaling.attn_factor": 1.0,
        "llama.rope.scaling.finetuned": True,
    }
    path = write_gguf(tmp_path / "model.gguf", change=lambda w: put(w, neutral))
    assert GgufCheckpoint(path).warnings == []


def test_a_setting_that_nobody_knows_is_said(tmp_path: Path) -> None:
    # llama.cpp reads a sliding window for other architectures, for this one it has none.
    window = {"llama.attention.sliding_window": 16}
    path = write_gguf(tmp_path / "model.gguf", change=lambda w: put(w, window))
    (warning,) = GgufCheckpoint(path).warnings
    assert "'llama.attention.sliding_window'" in warning


def llama3_rope_freqs(theta: float, head_dim: int, factor: float, context: int) -> np.ndarray:
    """`rope_freqs.weight`, frequency by frequency and case by case as llama.cpp computes it."""
    divisors = []
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * theta ** (i / head_dim)
        if wavelength < context / 4:
            divisors.append(1.0)
        elif wavelength > context:
            divisors.append(factor)
        else:
            smooth = (context / wavelength - 1) / 3
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, np.float32)


@pytest.mark.parametrize(("factor", "context"), [(8.0, 8192), (32.0, 8192), (4.0, 16384)])
def test_llama3_rope_scaling_is_recovered(factor: float, context: int, tmp_path: Path) -> None:
    rope_freqs = llama3_rope_freqs(500000.0, HEAD_DIM, factor, context)
    assert rope_freqs[0] == 1.0 < rope_freqs[4] < rope_freqs[-1] == factor
    tensors = gguf_tensors(weights()) | {"rope_freqs.weight": rope_freqs}
    path = write_gguf(
        tmp_path / "model.gguf", tensors, change=lambda w: w.add_rope_freq_base(500000.0)
    )
    checkpoint = GgufCheckpoint(path)
    assert "rope_freqs.weight" not in checkpoint.tensors
    assert checkpoint.config["rope_scaling"] == {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": context,
    }


def test_rope_divisors_of_one_scale_nothing(tmp_path: Path) -> None:
    ones = np.ones(HEAD_DIM // 2, np.float32)
    tensors = gguf_tensors(weights()) | {"rope_freqs.weight": ones}
    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "model.gguf", tensors))
    assert checkpoint.config["rope_scaling"] is None


# Byte-level tokenizers


def byte_level(**changes: Any) -> dict[str, Any]:
    """`tokenizer.ggml.*` of the tiny byte-level tokenizer."""
    settings = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": TOKENS,
        "token_type": TYPES,
        "merges": MERGES,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (settings | changes).items()}


def test_byte_level_tokenizer_of_a_file(tmp_path: Path) -> None:
    tokenizer = GgufCheckpoint(write_gguf(tmp_path / "model.gguf")).tokenizer()
    ids = tokenizer.encode("ab a<|end|>c<tool>b").ids
    assert ids == [5, 6, 0, 3, 7, 2]
    assert tokenizer.decode(ids) == "ab ac<tool>b"
    assert tokenizer.decode(ids, skip_special_tokens=False) == "ab a<|end|>c<tool>b"


def test_the_vocabulary_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "model.gguf"))
    monkeypatch.delattr("relama.checkpoint.gguf_tokenizer.read_vocabulary")
    assert checkpoint.tokenizer().encode("ab").ids == [5]


@pytest.mark.parametrize(
    ("pre", "words"),
    [
        ("gpt-2", ["a", "Ġ1234", "'s", "Ċ", "Ċ", "b"]),
        ("smollm", ["a", "Ġ", "1", "2", "3", "4", "'s", "Ċ", "Ċ", "b"]),
        ("llama-bpe", ["a", "Ġ", "123", "4", "'s", "ĊĊ", "b"]),
        ("qwen2", ["a", "Ġ", "1", "2", "3", "4", "'s", "ĊĊ", "b"]),
        ("gpt-4o", ["a", "Ġ", "123", "4", "'s", "ĊĊ", "b"]),
        ("tekken", ["a", "Ġ", "1", "2", "3", "4", "'s", "ĊĊ", "b"]),
        ("deepseek-v3", ["a", "Ġ", "123", "4", "'s", "ĊĊ", "b"]),
    ],
)
def test_pre_tokenizers_split_as_the_models_do(pre: str, words: list[str]) -> None:
    tokenizer = build_tokenizer(byte_level(pre=pre))
    split = tokenizer.pre_tokenizer.pre_tokenize_str("a 1234's\n\nb")
    assert [word for word, _ in split] == words


def test_gpt_4o_begins_a_word_at_a_capital_letter() -> None:
    for pre, words in (("gpt-4o", ["Hello", "World's"]), ("qwen2", ["HelloWorld", "'s"])):
        split = build_tokenizer(byte_level(pre=pre)).pre_tokenizer.pre_tokenize_str("HelloWorld's")
        assert [word for word, _ in split] == words


def test_qwen_composes_letters_with_their_accents() -> None:
    normalizer = build_tokenizer(byte_level(pre="qwen2")).normalizer
    assert normalizer.normalize_str("e\u0301") == "\u00e9"


def test_llama3_takes_a_word_of_the_vocabulary_whole() -> None:
    vocabulary = {"tokens": [*TOKENS, "abc"], "token_type": [*TYPES, 1]}  # no merge leads to abc
    tokenizer = build_tokenizer(byte_level(pre="llama-bpe", add_bos_token=False, **vocabulary))
    assert tokenizer.encode("abc").ids == [8]
    assert build_tokenizer(byte_level(pre="gpt-2", **vocabulary)).encode("abc").ids == [5, 3]


@pytest.mark.parametrize(
    ("pre", "changes", "ids"),
    [
        ("gpt-2", {}, [1]),
        ("llama-bpe", {}, [0, 1]),
        ("llama-bpe", {"add_bos_token": False}, [1]),
        ("gpt-2", {"add_bos_token": True, "add_eos_token": True}, [0, 1, 0]),
    ],
)
def test_bos_and_eos_are_added_where_asked(
    pre: str, changes: dict[str, Any], ids: list[int]
) -> None:
    metadata = byte_level(pre=pre, **changes)
    assert build_tokenizer(metadata).encode("a").ids == ids
    assert build_tokenizer(metadata).encode("a", add_special_tokens=False).ids == [1]
    config = tokenizer_config(metadata)
    assert config["bos_token"] == config["eos_token"] == "<|end|>"
    assert config["add_bos_token"] is (len(ids) > 1)


# The ids that end a text; those of llama.cpp (`llama_vocab_is_eog`), which are recorded


def ends(tokens: list[str], **changes: Any) -> list[int]:
    changes = {"token_type": [3] * len(tokens), "eos_token_id": 0, **changes}
    vocabulary = read_vocabulary(byte_level(tokens=tokens, **changes))
    return generation_config(vocabulary)["eos_token_id"]


@pytest.mark.parametrize(
    ("tokens", "changes", "expected"),
    [
        (["<|end_of_text|>", "a", "<|eot_id|>", "<|eom_id|>"], {}, [0, 2, 3]),
        (["</s>", "<|im_start|>", "<|im_end|>"], {"eos_token_id": 2}, [2, 0]),
        (["<eos>", "<end_of_turn>", "<EOT>", "_<EOT>", "a<EOT>"], {}, [0, 1, 2, 3]),
        (["x", "<|endoftext|>", "<|end|>"], {}, [0, 1, 2]),
        (["x", "y", "z"], {"eot_token_id": 2, "eom_token_id": 1}, [0, 2, 1]),
        # The tokens that pad, name a repository, or part files in code.
        (["x", "<|fim_pad|>", "<reponame>", "<|file_sep|>"], {}, [0, 1, 2, 3]),
        (["x", "<|fim_pad|>", "y"], {"fim_pad_token_id": 2}, [0, 2]),
        # In OpenAI's harmony format and in Solar's, <|end|> ends a message only.
        (["<|return|>", "<|end|>", "<|call|>"], {}, [0, 2]),
        (["x", "<|end|>", "<|calls|>", "<|flush|>"], {}, [0, 2, 3]),
        (["x", "<|end|>", "<|call|>"], {}, [0, 1, 2]),
        (["x", "</s>", "<|tool_response>"], {}, [0, 2]),
        (["x", "</s>"], {"eot_token_id": 99}, [0, 1]),
    ],
)
def test_a_token_that_ends_a_turn_is_known_by_its_name(
    tokens: list[str], changes: dict[str, Any], expected: list[int]
) -> None:
    assert ends(tokens, **changes) == expected


def test_what_ends_a_text_is_a_special_token() -> None:
    """Whatever its type: llama.cpp overrides it."""
    metadata = byte_level(tokens=[*TOKENS, "<|eot_id|>"], token_type=[*TYPES, 1])
    tokenizer = build_tokenizer(metadata)
    assert tokenizer.encode("a<|eot_id|>").ids == [1, 8]
    assert tokenizer.decode([1, 8]) == "a"


def test_a_vocabulary_without_an_end_is_said(tmp_path: Path) -> None:
    no_end = {"tokenizer.ggml.eos_token_id": None, "tokenizer.ggml.tokens": ["x", *TOKENS[1:]]}
    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "m.gguf", change=lambda w: put(w, no_end)))
    assert checkpoint.generation_config == {}
    (warning,) = checkpoint.warnings
    assert "no token of the vocabulary ends a text" in warning


# Ids, types and tokens out of the ordinary


@pytest.mark.parametrize("role", ["padding", "unknown", "eot", "eom", "fim_pad"])
@pytest.mark.parametrize("token_id", [-1, 2**32 - 1, 8])
def test_an_id_that_is_no_token_is_left_out(role: str, token_id: int, tmp_path: Path) -> None:
    key = f"tokenizer.ggml.{role}_token_id"
    kind = gguf.GGUFValueType.INT32 if token_id < 0 else gguf.GGUFValueType.UINT32
    path = write_gguf(
        tmp_path / "model.gguf", change=lambda w: w.add_key_value(key, token_id, kind)
    )
    checkpoint = GgufCheckpoint(path)
    (warning,) = checkpoint.warnings
    assert f"{key} is {token_id}, but the vocabulary has 8 tokens" in warning
    assert checkpoint.generation_config == {"eos_token_id": [0]}
    assert "pad_token" not in checkpoint.tokenizer_config
    assert checkpoint.tokenizer().encode("ab").ids == [5]


def test_without_types_every_token_is_text(tmp_path: Path) -> None:
    no_types = {"tokenizer.ggml.token_type": None}
    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "m.gguf", change=lambda w: put(w, no_types)))
    assert checkpoint.tokenizer().encode("a<|end|>b").ids == [1, 0, 2]  # known by its name
    (warning,) = checkpoint.warnings
    assert "tokenizer.ggml.token_type is absent" in warning


def test_an_empty_token_has_a_name() -> None:
    metadata = byte_level(tokens=[*TOKENS, "", ""], token_type=[*TYPES, 5, 5])
    tokenizer = build_tokenizer(metadata)
    assert tokenizer.get_vocab_size() == 10
    assert [tokenizer.id_to_token(i) for i in (8, 9)] == ["[EMPTY_8]", "[EMPTY_9]"]
    assert tokenizer.encode("ab").ids == [5]


def test_of_a_token_that_is_there_twice_the_last_counts(tmp_path: Path) -> None:
    twice = {"tokenizer.ggml.tokens": [*TOKENS[:6], "<tool>", "<tool>"]}
    checkpoint = GgufCheckpoint(write_gguf(tmp_path / "m.gguf", change=lambda w: put(w, twice)))
    (warning,) = checkpoint.warnings
    assert "1 tokens that are there already, such as '<tool>'" in warning
    metadata = byte_level(tokens=[*TOKENS, "<tool>"], token_type=[*TYPES, 4])
    tokenizer = build_tokenizer(metadata)
    assert tokenizer.encode("a<tool>").ids == [1, 8]
    assert tokenizer.id_to_token(7) is None


def test_of_a_merge_that_is_there_twice_the_first_counts() -> None:
    merges = ["a b", "b c", "a b"]
    tokens = {"tokens": [*TOKENS, "bc"], "token_type": [*TYPES, 1]}
    assert build_tokenizer(byte_level(merges=merges, **tokens)).encode("abc").ids == [5, 3]


@pytest.mark.parametrize(
    ("changes", "text", "ids"),
    [
        ({"add_bos_token": False, "add_eos_token": True}, "a", [1, 7]),
        ({"add_bos_token": True, "add_eos_token": True}, "a", [0, 1, 7]),
        ({"add_bos_token": True, "add_eos_token": True}, "", [0, 7]),
        ({"add_sep_token": True, "seperator_token_id": 7}, "a", [1]),  # read for BERT only
    ],
)
def test_eos_is_put_at_the_end(changes: dict[str, Any], text: str, ids: list[int]) -> None:
    tokenizer = build_tokenizer(byte_level(eos_token_id=7, **changes))
    assert tokenizer.encode(text).ids == ids


def test_a_beginning_without_an_id_is_said(tmp_path: Path) -> None:
    adds = {"tokenizer.ggml.add_bos_token": True}
    (warning,) = GgufCheckpoint(
        write_gguf(tmp_path / "model.gguf", change=lambda w: put(w, adds))
    ).warnings
    assert "there is no tokenizer.ggml.bos_token_id" in warning


# How text is split into words


@pytest.mark.parametrize(
    ("pre", "state"), [(None, "is absent"), ("", "is ''"), ("default", "is 'default'")]
)
def test_where_a_file_does_not_say_how_text_is_split_there_is_a_warning(
    pre: str | None, state: str, tmp_path: Path
) -> None:
    change = {"tokenizer.ggml.pre": pre}
    path = write_gguf(tmp_path / "model.gguf", change=lambda w: put(w, change))
    checkpoint = GgufCheckpoint(path)
    (warning,) = checkpoint.warnings
    assert state in warning
    assert "--tokenizer-pre" in warning
    split = checkpoint.tokenizer().pre_tokenizer.pre_tokenize_str("a (b)\u00bd12345's")
    # llama.cpp's patterns for it: punctuation has no space before it, digits come in threes.
    assert [word for word, _ in split] == [
        "a",
        "\u0120",
        "(",
        "b",
        ")",
        "\u00c2\u00bd",
        "123",
        "45",
        "'",
        "s",
    ]

    said = open_checkpoint(path, tokenizer_pre="llama-bpe")
    assert "--tokenizer-pre" not in str(said.warnings)
    split = said.tokenizer().pre_tokenizer.pre_tokenize_str("a (b)'s")
    assert [word for word, _ in split] == ["a", "\u0120(", "b", ")'", "s"]
    assert said.tokenizer_config["add_bos_token"] is True


def test_what_is_said_takes_the_place_of_what_the_file_says(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", pre="hieroglyphs")
    words = open_checkpoint(path, tokenizer_pre="smollm").tokenizer().pre_tokenizer
    assert [word for word, _ in words.pre_tokenize_str("a12")] == ["a", "1", "2"]


def test_a_pre_tokenizer_that_is_not_for_the_checkpoint_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf")
    with pytest.raises(UnsupportedError, match=r"'runes' that was given is not supp.*llama-bpe"):
        open_checkpoint(path, tokenizer_pre="runes")
    pieces = {"tokenizer.ggml.model": "llama"}
    path = write_gguf(tmp_path / "pieces.gguf", change=lambda w: put(w, pieces))
    with pytest.raises(UnsupportedError, match=r"the tokenizer model is 'llama'; only 'gpt2'"):
        open_checkpoint(path, tokenizer_pre="smollm")
    with pytest.raises(UnsupportedError, match=r"for GGUF files.*tokenizer\.json"):
        open_checkpoint(write_directory(tmp_path / "one"), tokenizer_pre="smollm")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (GPT2, ["a", "\u0120(", "b", ")'", "s", "\u01201234", "\u010a", "\u010a", "b"]),
        (
            DIGITS_APART,
            ["a", "\u0120(", "b", ")'", "s", "\u0120", "1", "2", "3", "4", "\u010a", "\u010a", "b"],
        ),
        (
            (*LLAMA3, *LLAMA3_WORDS_ONLY),
            ["a", "\u0120(", "b", ")'", "s", "\u0120", "123", "4", "\u010a\u010a", "b"],
        ),
        (
            QWEN2,
            ["a", "\u0120(", "b", ")'", "s", "\u0120", *"1234", "\u010a\u010a", "b"],
        ),
        (GPT4O, ["a", "\u0120(", "b", ")'", "s", "\u0120", "123", "4", "\u010a\u010a", "b"]),
        (TEKKEN, ["a", "\u0120(", "b", ")'", "s", "\u0120", *"1234", "\u010a\u010a", "b"]),
        (DEEPSEEK3, ["a", "\u0120(", "b", ")'", "s", "\u0120", "123", "4", "\u010a\u010a", "b"]),
    ],
)
def test_names_that_llama_cpp_treats_alike(names: tuple[str, ...], words: list[str]) -> None:
    for pre in names:
        metadata = byte_level(pre=pre)
        split = build_tokenizer(metadata).pre_tokenizer.pre_tokenize_str("a (b)'s 1234\n\nb")
        assert [word for word, _ in split] == words, pre
        assert tokenizer_config(metadata)["add_bos_token"] is (pre in WHOLE_WORDS), pre


def test_deepseek_keeps_what_its_patterns_do_not_find() -> None:
    split = build_tokenizer(byte_level(pre="deepseek-v3")).pre_tokenizer.pre_tokenize_str
    words = [word for word, _ in split("\u4e2d\u3042a\x01\x02 (x")]
    assert len(words[0]) == 6  # bytes
    assert words[1:] == ["a", "\u0101\u0102", "\u0120(", "x"]


# SentencePiece tokenizers

PIECES = [
    ("<unk>", 2, 0.0),
    ("<s>", 3, 0.0),
    ("</s>", 3, 0.0),
    *((f"<0x{byte:02X}>", 6, 0.0) for byte in range(256)),
    ("▁a", 1, -0.0),
    ("bc", 1, -1.0),
    ("ab", 1, -2.0),
    ("▁abc", 1, -3.0),
    ("▁", 1, -4.0),
    ("a", 1, -5.0),
    ("b", 1, -6.0),
    ("c", 1, -7.0),
]
PIECE_IDS = {piece: piece_id for piece_id, (piece, _, _) in enumerate(PIECES)}


def sentencepiece(**changes: Any) -> dict[str, Any]:
    """`tokenizer.ggml.*` of a tiny SentencePiece model."""
    tokens, types, scores = (list(column) for column in zip(*PIECES, strict=True))
    settings = {
        "model": "llama",
        "tokens": tokens,
        "token_type": types,
        "scores": scores,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (settings | changes).items()}


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("abc", ["▁abc"]),  # ▁a, then bc, then the two together
        ("cab", ["▁", "c", "ab"]),
        ("a  a", ["▁a", "▁", "▁a"]),
        ("é", ["▁", "<0xC3>", "<0xA9>"]),
        ("\n", ["▁", "<0x0A>"]),
        ("b</s>b", ["▁", "b", "</s>", "▁", "b"]),
    ],
)
def test_sentencepiece_merges_the_best_score_first(text: str, pieces: list[str]) -> None:
    tokenizer = build_tokenizer(sentencepiece())
    encoding = tokenizer.encode(text)
    assert encoding.tokens == ["<s>", *pieces]
    assert encoding.ids == [PIECE_IDS[piece] for piece in ["<s>", *pieces]]
    if "</s>" not in pieces:
        assert tokenizer.decode(encoding.ids) == text


def test_sentencepiece_without_a_space_before() -> None:
    tokenizer = build_tokenizer(sentencepiece(add_space_prefix=False, add_bos_token=False))
    assert tokenizer.encode("a a").tokens == ["a", "▁a"]
    assert tokenizer.decode(tokenizer.encode(" a").ids) == " a"


RUNS = [("  ", 4, -1000.0), ("   ", 4, -1000.0), ("\n\n", 4, -1000.0), ("<unused0>", 3, -1000.0)]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a  abc", ["a", "\u2581\u2581", "a", "bc"]),  # not \u2581, \u2581abc, of better scores
        ("     a", ["\u2581\u2581\u2581", "\u2581\u2581", "a"]),
        ("\u2581\u2581 a", ["\u2581\u2581", "\u2581a"]),  # the signs are found before words are
        ("b\n\nb<unused0> a", ["b", "\n\n", "b", "<unused0>", "\u2581a"]),
    ],
)
def test_gemmas_runs_of_spaces_are_merged_first(text: str, pieces: list[str]) -> None:
    """As in tokenizer.json, where the runs are tokens and merges."""
    tokens, types, scores = (list(column) for column in zip(*PIECES, *RUNS, strict=True))
    tokenizer = build_tokenizer(
        sentencepiece(tokens=tokens, token_type=types, scores=scores, add_space_prefix=False)
    )
    encoding = tokenizer.encode(text, add_special_tokens=False)
    assert encoding.tokens == pieces
    assert tokenizer.decode(encoding.ids) == text.replace("\u2581", " ").replace("<unused0>", "")


def test_sentencepiece_takes_merges_that_are_given() -> None:
    metadata = sentencepiece(merges=["▁ a", "a b"], scores=[0.0] * len(PIECES))
    assert build_tokenizer(metadata).encode("abc").tokens == ["<s>", "▁a", "b", "c"]


def test_sentencepiece_without_an_order_of_merges_is_refused() -> None:
    with pytest.raises(CheckpointError, match="all equal"):
        build_tokenizer(sentencepiece(scores=[-1000.0] * len(PIECES)))


# Recorded from llama.cpp (`Llama(path, vocab_only=True).tokenize(text, special=True)`).
@pytest.mark.parametrize(
    ("extra", "text", "ids"),
    [
        (("\u2581a\u2581b", 4, 0.0), "a b", [1, 268]),
        (("\u2581a\u2581b", 4, 0.0), "c a b", [1, 263, 266, 268]),
        (("\u2581a\u2581b", 5, 0.0), "a b", [1, 268]),
        (("\u2581a\u2581b", 6, 0.0), "a b", [1, 268]),
        (("\u2581a\u2581b", 4, -9.0), "a ba b", [1, 268, 264, 267]),
        (("<t>", 4, 0.0), "a<t>b", [1, 259, 268, 267]),
    ],
)
def test_tokens_of_every_type_are_merged(
    extra: tuple[str, int, float], text: str, ids: list[int]
) -> None:
    pieces = [*PIECES, ("\u2581b", 1, -8.0), extra]  # of ids 267 and 268
    tokens, types, scores = (list(column) for column in zip(*pieces, strict=True))
    tokenizer = build_tokenizer(sentencepiece(tokens=tokens, token_type=types, scores=scores))
    assert tokenizer.encode(text).ids == ids


def test_a_text_does_not_become_a_control_token_by_merges() -> None:
    pieces = [*PIECES, ("cc", 3, 0.0)]
    tokens, types, scores = (list(column) for column in zip(*pieces, strict=True))
    tokenizer = build_tokenizer(sentencepiece(tokens=tokens, token_type=types, scores=scores))
    tokenizer.encode_special_tokens = True  # as for a text whose special tokens are not parsed
    assert tokenizer.encode("cc").tokens == ["<s>", "\u2581", "c", "c"]


def test_sentencepiece_ids_that_are_not_stated() -> None:
    """llama.cpp's defaults: 0, 1 and 2."""
    unstated = {"bos_token_id": None, "eos_token_id": None, "unknown_token_id": None}
    metadata = sentencepiece(add_eos_token=True, **unstated)
    assert build_tokenizer(metadata).encode("a").tokens == ["<s>", "\u2581a", "</s>"]
    assert tokenizer_config(metadata)["unk_token"] == "<unk>"
    assert generation_config(read_vocabulary(metadata)) == {"eos_token_id": [2], "bos_token_id": 1}


# Tokenizers that do not fit together


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"merges": ["a z"]}, "do not fit"),
        ({"merges": ["ab"]}, "'ab' is not a pair"),
        ({"tokens": TOKENS[:-1]}, "8 values for 7 tokens"),
        ({"tokens": 5}, "must be a list of str"),
        ({"merges": None}, "lacks tokenizer.ggml.merges"),
        ({"model": None}, "no tokenizer"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        build_tokenizer(byte_level(**changes))


def test_another_tokenizer_model_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"'t5'.*gpt2, llama"):
        build_tokenizer(byte_level(model="t5"))
