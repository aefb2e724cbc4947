"""Which tokens a directory's tokenizer has, beyond those of tokenizer.json.

The ids are those of transformers 5.24's `AutoTokenizer.from_pretrained(directory)`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from relama.checkpoint.huggingface import HuggingFaceCheckpoint
from relama.checkpoint.huggingface_tokenizer import read_tokenizer_files
from relama.errors import CheckpointError, UnsupportedError
from relama.runtime.tokenizer import ProjectTokenizer, write_tokenizer
from tests.unit.broken_checkpoints import write_directory

START, END = "<|im_start|>", "<|im_end|>"
TEXT = f"{START}a{END}"
NAMED = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def token(content: str, **flags: bool) -> dict[str, Any]:
    return {"content": content, "normalized": False, "special": True, **flags}


KNOWN = {str(i): token(content) for i, content in enumerate(NAMED.values())}


def opened(
    directory: Path, tokenizer: Tokenizer | None = None, **files: object
) -> HuggingFaceCheckpoint:
    """A checkpoint of the given tokenizer and JSON files; by default a token a letter."""
    if tokenizer is None:
        vocabulary = {letter: i for i, letter in enumerate([*NAMED.values(), *"abimndrst<>|_/"])}
        tokenizer = Tokenizer(models.BPE(vocabulary, []))
        tokenizer.add_special_tokens(list(NAMED.values()))
    write_directory(directory)
    tokenizer.save(str(directory / "tokenizer.json"))
    for name, content in files.items():
        (directory / f"{name}.json").write_text(json.dumps(content))
    return HuggingFaceCheckpoint(directory)


def ids(checkpoint: HuggingFaceCheckpoint, text: str = TEXT) -> list[int]:
    return list(checkpoint.tokenizer().encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize(
    "files",
    [
        {
            "tokenizer_config": {
                "added_tokens_decoder": {**KNOWN, "17": token(START), "18": token(END)}
            }
        },
        # The ids that the file gives only say in which order tokens are added.
        {"tokenizer_config": {"added_tokens_decoder": {"900": token(END), "64": token(START)}}},
        {"tokenizer_config": {"additional_special_tokens": [START, END]}},
        {
            "tokenizer_config": {
                "extra_special_tokens": [START, {"__type": "AddedToken", **token(END)}]
            }
        },
        {"tokenizer_config": {"extra_special_tokens": {"im_token": START, "end_token": END}}},
        {"tokenizer_config": {"pad_token": START, "image_token": END}},
        {"special_tokens_map": {"bos_token": token(START), "eos_token": END}},
        {"special_tokens_map": {"additional_special_tokens": [START, END]}},
        {"added_tokens": {START: 17, END: 18}},
    ],
)
def test_tokens_that_tokenizer_json_does_not_have(tmp_path: Path, files: dict[str, Any]) -> None:
    checkpoint = opened(tmp_path, **files)
    assert ids(checkpoint) == [17, 3, 18]
    assert ids(checkpoint, "<s>b</s>") == [0, 4, 1]
    assert checkpoint.warnings == []


def test_flags_of_tokenizer_config_go_before_those_of_tokenizer_json(tmp_path: Path) -> None:
    decoder = {"0": token("<s>", lstrip=True), "1": token("</s>", special=False)}
    tokenizer = opened(tmp_path, tokenizer_config={"added_tokens_decoder": decoder}).tokenizer()
    flags = {t.content: t for t in tokenizer.get_added_tokens_decoder().values()}
    assert flags["<s>"].lstrip
    assert not flags["</s>"].special
    assert flags["<unk>"].special


def test_an_older_file_is_not_read_beside_added_tokens_decoder(tmp_path: Path) -> None:
    files = {"added_tokens": {START: 17}, "special_tokens_map": {"eos_token": END}}
    config = {"added_tokens_decoder": KNOWN, "eos_token": "</s>"}
    checkpoint = opened(tmp_path, tokenizer_config=config, **files)
    assert checkpoint.tokenizer().get_vocab_size() == 17
    assert checkpoint.tokenizer_config["eos_token"] == "</s>"


@pytest.mark.parametrize(
    ("files", "end"),
    [
        ({"tokenizer_config": NAMED}, {1}),
        ({"tokenizer_config": {"eos_token": {"__type": "AddedToken", "content": "</s>"}}}, {1}),
        ({"special_tokens_map": {"eos_token": {"content": "</s>", "lstrip": False}}}, {1}),
        ({"special_tokens_map": {"eos_token": "b"}, "tokenizer_config": NAMED}, {4}),
        ({"tokenizer_config": {"eos_token": END}}, {17}),
        ({"tokenizer_config": {"eos_token": None}}, set()),
        ({}, set()),
    ],
)
def test_the_end_token_of_the_tokenizer(
    tmp_path: Path, files: dict[str, Any], end: set[int]
) -> None:
    write_tokenizer(opened(tmp_path / "c", **files), tmp_path)
    assert ProjectTokenizer(tmp_path).end_token_ids == end


def test_the_post_processor_decides_about_bos(tmp_path: Path) -> None:
    config = NAMED | {"add_bos_token": True, "add_eos_token": True}
    checkpoint = opened(tmp_path / "c", tokenizer_config=config)
    write_tokenizer(checkpoint, tmp_path)
    assert ProjectTokenizer(tmp_path).encode("ab") == [3, 4]
    assert ["add_bos_token" in sentence for sentence in checkpoint.warnings] == [True]


def llama2() -> Tokenizer:
    """As transformers 4 wrote Llama 2's tokenizer: a space before every part of a text."""
    pieces = [*NAMED.values(), "▁", *"ab", "▁a"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("▁", "a")]))
    prepend = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence(prepend)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in NAMED.values()])
    return tokenizer


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, [6, 1, 6, 5]),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, [6, 1, 6, 5]),
        ({"tokenizer_class": "LlamaTokenizer"}, [6, 1, 4, 5]),
        ({"tokenizer_class": "LlamaTokenizerFast", "legacy": False}, [6, 1, 4, 5]),
        ({"tokenizer_class": "LlamaTokenizerFast", "legacy": True}, [6, 1, 6, 5]),
        ({"tokenizer_class": "LlamaTokenizer", "add_prefix_space": False}, [4, 1, 4, 5]),
    ],
)
def test_llama_tokenizers_are_built_anew(
    tmp_path: Path, config: dict[str, Any], expected: list[int]
) -> None:
    checkpoint = opened(tmp_path, llama2(), tokenizer_config=NAMED | config)
    assert ids(checkpoint, "a</s>ab") == expected
    anew = str(config.get("tokenizer_class")).startswith("Llama")
    assert [("LlamaTokenizer" in s) for s in checkpoint.warnings] == [True] * anew


def test_byte_level_llama_tokenizers_are_not(tmp_path: Path) -> None:
    vocabulary = {piece: i for i, piece in enumerate([*NAMED.values(), "Ġ", *"ab"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    checkpoint = opened(tmp_path, tokenizer, tokenizer_config={"tokenizer_class": "LlamaTokenizer"})
    assert ids(checkpoint, " a") == [3, 4]
    assert checkpoint.warnings == []


QWEN2_END = "<|endoftext|>"


def qwen2() -> Tokenizer:
    """Bytes of words that are split otherwise than Qwen2's, with no end of a text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


@pytest.mark.parametrize(
    ("model_type", "declared", "expected"),
    [
        # Of AutoTokenizer.from_pretrained, in the same order.
        ("llama", "LlamaTokenizer", [6, 1, 4, 5]),
        *((name, "LlamaTokenizer", [6, 1, 6, 5]) for name in ("mistral", "phi3", "granite")),
        ("smollm3", "LlamaTokenizerFast", [6, 1, 4, 5]),
        ("gemma2", "GemmaTokenizer", [4, 1, 4, 5]),
        ("gemma3_text", None, [4, 1, 4, 5]),
        ("gemma3_text", "PreTrainedTokenizerFast", [6, 1, 6, 5]),
    ],
)
def test_the_class_is_that_of_the_model_type(
    tmp_path: Path, model_type: str, declared: str | None, expected: list[int]
) -> None:
    config = NAMED | ({"tokenizer_class": declared} if declared else {})
    llama2().save(str(tmp_path / "tokenizer.json"))
    files = read_tokenizer_files(tmp_path, config, {}, {}, {"model_type": model_type})
    assert list(files.build().encode("a</s>ab", add_special_tokens=False).ids) == expected


@pytest.mark.parametrize(
    ("model_type", "declared", "is_built_anew"),
    [
        ("qwen2", "LlamaTokenizerFast", True),
        ("qwen2", None, True),
        ("qwen3", "Qwen2Tokenizer", True),
        ("qwen3_moe", "PreTrainedTokenizerFast", False),
        ("qwen3", "LlamaTokenizer", False),
        ("deepseek_v3", "LlamaTokenizerFast", False),
    ],
)
def test_qwen_tokenizers_are_built_anew(
    tmp_path: Path, model_type: str, declared: str | None, is_built_anew: bool
) -> None:
    qwen2().save(str(tmp_path / "tokenizer.json"))
    config = {"tokenizer_class": declared} if declared else {}
    tokenizer = read_tokenizer_files(tmp_path, config, {}, {}, {"model_type": model_type}).build()
    assert (tokenizer.normalizer is not None) is is_built_anew
    words = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str("12's")]
    assert words == (["1", "2", "'s"] if is_built_anew else ["12", "'s"])
    assert (tokenizer.token_to_id(QWEN2_END) is not None) is is_built_anew


def test_another_class_is_named(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, tokenizer_config={"tokenizer_class": "CohereTokenizerFast"})
    assert ids(checkpoint, "ab") == [3, 4]
    assert ["CohereTokenizer" in sentence for sentence in checkpoint.warnings] == [True]


def test_spaces_that_are_not_cleaned_up_are_named(tmp_path: Path) -> None:
    config = {"clean_up_tokenization_spaces": True}
    checkpoint = opened(tmp_path / "bpe", tokenizer_config=config)
    checkpoint.tokenizer()
    assert checkpoint.warnings == []  # Nor does transformers, for a BPE.
    words = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    checkpoint = opened(tmp_path / "words", words, tokenizer_config=config)
    checkpoint.tokenizer()
    assert ["clean_up_tokenization_spaces" in s for s in checkpoint.warnings] == [True]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"tokenizer_config": {"added_tokens_decoder": []}}, "added_tokens_decoder must be"),
        ({"tokenizer_config": {"added_tokens_decoder": {"x": token("a")}}}, "not 'x'"),
        ({"tokenizer_config": {"added_tokens_decoder": {"5": "a"}}}, "not '5' 'a'"),
        ({"tokenizer_config": {"added_tokens_decoder": {"5": {"special": True}}}}, "not a token"),
        (
            {"tokenizer_config": {"added_tokens_decoder": {"5": token("a", lstrip=1)}}},
            "not a token",
        ),
        ({"tokenizer_config": {"eos_token": 2}}, "eos_token: 2 is not a token"),
        ({"tokenizer_config": {"extra_special_tokens": "a"}}, "must be a list of tokens"),
        ({"tokenizer_config": {"additional_special_tokens": 1}}, "must be a list of tokens"),
        ({"tokenizer_config": {"additional_special_tokens": [1]}}, "1 is not a token"),
        ({"special_tokens_map": {"eos_token": ["a"]}}, "special_tokens_map.json: eos_token"),
        ({"added_tokens": {"a": "5"}}, "added_tokens.json: the id of 'a'"),
        ({"added_tokens": []}, "added_tokens.json must be a JSON object"),
    ],
)
def test_files_that_make_no_sense(tmp_path: Path, files: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        opened(tmp_path, **files)


def test_split_special_tokens_is_refused(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, tokenizer_config={"split_special_tokens": True})
    with pytest.raises(UnsupportedError, match="split_special_tokens is not supported"):
        checkpoint.tokenizer()


def test_templates_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "additional_chat_templates"
    checkpoint = opened(tmp_path, tokenizer_config={"chat_template": "of the config"})
    assert checkpoint.chat_template == "of the config"
    folder.mkdir()
    (folder / "tool_use.jinja").write_text("for tools")
    checkpoint = HuggingFaceCheckpoint(tmp_path)
    assert checkpoint.chat_template is None
    assert "chat templates are for other uses (tool_use)" in checkpoint.warnings[-1]
    (tmp_path / "chat_template.jinja").write_text("beside")
    assert HuggingFaceCheckpoint(tmp_path).chat_template == "beside"
    (folder / "default.jinja").write_text("within")
    assert HuggingFaceCheckpoint(tmp_path).chat_template == "within"
