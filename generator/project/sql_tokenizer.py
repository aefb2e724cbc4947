"""What the macros `tokenize` and `detokenize` need to know of a tokenizer.

The tokenizers of Llama-family models are byte pair encodings (arXiv 1508.07909):
a text is normalised, split into words, each word is spelled in an alphabet of
bytes or characters, and the best-ranked pair of neighbours is merged until none
is left. Tables hold the vocabulary and the merges; the rest is a handful of
settings, which the model `vocabulary` bears as `meta`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer
from tokenizers.normalizers import Normalizer

from generator.errors import UnsupportedError

Definition = Mapping[str, Any]

#: SentencePiece's sign for a space.
SPACE = "\u2581"

#: Unicode's White_Space, which `\s` means to the tokenizers library; to RE2 it is ASCII only.
WHITE_SPACE = (
    r"\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}"
    r"\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}"
)

#: What `\w` means to Rust's regular expressions, which `single_word` asks for.
WORD = (
    r"\p{L}\p{Nl}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D}"
    r"\x{897}\x{1C89}-\x{1C8A}\x{24B6}-\x{24E9}\x{A7CB}-\x{A7CD}\x{A7DA}-\x{A7DC}"
    r"\x{105C0}-\x{105F3}\x{10D40}-\x{10D65}\x{10D69}-\x{10D6D}\x{10D6F}-\x{10D85}"
    r"\x{10EC2}-\x{10EC4}\x{10EFC}\x{11380}-\x{11389}\x{1138B}\x{1138E}\x{11390}-\x{113B5}"
    r"\x{113B7}-\x{113C0}\x{113C2}\x{113C5}\x{113C7}-\x{113CA}\x{113CC}-\x{113D3}"
    r"\x{113E1}-\x{113E2}\x{116D0}-\x{116E3}\x{11BC0}-\x{11BE0}\x{11BF0}-\x{11BF9}\x{11F5A}"
    r"\x{13460}-\x{143FA}\x{16100}-\x{16139}\x{16D40}-\x{16D6C}\x{16D70}-\x{16D79}\x{18CFF}"
    r"\x{1CCF0}-\x{1CCF9}\x{1E5D0}-\x{1E5FA}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}"
    r"\x{1F170}-\x{1F189}\x{2EBF0}-\x{2EE5D}"
)

#: Letters and numbers that Unicode has had since RE2's tables were made, version 15.
NUMBERS = (
    r"\p{N}"
    r"\x{10D40}-\x{10D49}\x{116D0}-\x{116E3}\x{11BF0}-\x{11BF9}\x{16130}-\x{16139}"
    r"\x{16D70}-\x{16D79}\x{1CCF0}-\x{1CCF9}\x{1E5F1}-\x{1E5FA}"
)
LETTERS = (
    r"\p{L}"
    r"\x{1C89}-\x{1C8A}\x{A7CB}-\x{A7CD}\x{A7DA}-\x{A7DC}\x{105C0}-\x{105F3}"
    r"\x{10D4A}-\x{10D65}\x{10D6F}-\x{10D85}\x{10EC2}-\x{10EC4}\x{11380}-\x{11389}"
    r"\x{1138B}\x{1138E}\x{11390}-\x{113B5}\x{113B7}\x{113D1}\x{113D3}\x{11BC0}-\x{11BE0}"
    r"\x{13460}-\x{143FA}\x{16100}-\x{1611D}\x{16D40}-\x{16D6C}\x{18CFF}"
    r"\x{1E5D0}-\x{1E5ED}\x{1E5F0}\x{2EBF0}-\x{2EE5D}"
)

#: The columns of the table of merges.
_MERGE = ("merge_rank", "left_token_id", "right_token_id", "token_id")

#: The library's `Digits` knows later numbers than its regular expressions do.
DIGITS = NUMBERS + r"\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}"

#: The pattern of GPT-2 that `ByteLevel` splits by (`use_regex`), without the end that
#: stands for white space.
GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"

#: How these patterns end: white space, of which the last goes to the word that follows.
_LOOKAHEAD = r"|\s+(?!\S)|\s+"


def tokenizer_settings(definition: Definition) -> dict[str, Any]:
    """How text becomes words and symbols, as the macro `tokenize` reads it.

    Keys:
        normalize: a list of operations on the text.
        split: a list of steps, each with a `pattern` in RE2's syntax; it is of words,
            with white space apart, where there is a class `white_space` too.
        alphabet: `bytes` or `characters`, which words are spelled in.
        first_byte: the first of 256 tokens that spell other characters, or None.
        unknown: the token of other characters, or None; with `fuse_unknown`, of a
            run of them.
        whole_words: whether a word that is a token is not merged.
        strip: whether decoding takes a space from the beginning.
        added: the added tokens, each with `id`, `content` and flags; with `match`, its
            content normalised, if it is found in the text that is.
        white_space, word: classes of characters that flags of these ask for.

    Args:
        definition: the content of `tokenizer.json`.

    Raises:
        UnsupportedError: the tokenizer does something that the macros do not.
    """
    model = definition["model"]
    if model["type"] != "BPE":
        raise UnsupportedError(f"the tokenizer model {model['type']} is not supported in SQL.")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise UnsupportedError(f"the tokenizer's {name} is not supported in SQL.")
    steps = _steps(definition["pre_tokenizer"], "pretokenizers")
    if len(steps) > 1 and any(step.get("add_prefix_space") for step in steps):
        raise UnsupportedError("the tokenizer's add_prefix_space is not supported in SQL.")
    split = [rule for step in steps for rule in _split(step)]
    vocabulary = model["vocab"]
    if not steps and SPACE in vocabulary and not any(SPACE in t.lstrip(SPACE) for t in vocabulary):
        # A space's sign only begins a token: what is merged lies within these.
        split = [{"pattern": f"{SPACE}*[^{SPACE}]+|{SPACE}+"}]
    unknown = model.get("unk_token")
    return {
        "normalize": [
            operation
            for step in _steps(definition["normalizer"], "normalizers")
            for operation in _normalize(step)
        ]
        + [
            {"prepend": " ", "unless_there": True}
            for step in steps
            if step["type"] == "ByteLevel" and step["add_prefix_space"]
        ],
        "split": split,
        "alphabet": "bytes" if _is_byte_level(definition) else "characters",
        "unknown": None if unknown is None else vocabulary[unknown],
        "fuse_unknown": bool(model.get("fuse_unk")),
        "first_byte": _first_byte(vocabulary) if model.get("byte_fallback") else None,
        "whole_words": bool(model.get("ignore_merges")),
        "strip": any(step["type"] == "Strip" for step in _steps(definition["decoder"], "decoders")),
        "one_by_one": not _is_ordered(definition),
        "long_words": _long_words(definition),
        **_added_tokens(definition),
    }


def _added_tokens(definition: Definition) -> dict[str, Any]:
    """The added tokens, see `tokenizer_settings`, and the classes of characters they ask for."""
    tokens = []
    flags = ("special", "lstrip", "rstrip", "single_word", "normalized")
    normalizer = _normalizer(definition)
    for token in definition["added_tokens"]:
        row = {"id": token["id"], "content": _encoded(token["content"])}
        row |= {flag: token[flag] for flag in flags}
        if normalizer is not None and token["normalized"]:
            row["match"] = _encoded(normalizer.normalize_str(token["content"]))
        tokens.append(row)
    classes = {}
    if any(token["single_word"] for token in tokens):
        classes["word"] = WORD
    if any(token["lstrip"] or token["rstrip"] for token in tokens):
        classes["white_space"] = WHITE_SPACE
    return {"added": tokens, **classes}


def _normalizer(definition: Definition) -> Normalizer | None:
    if definition["normalizer"] is None:
        return None
    model = {"type": "BPE", "vocab": {}, "merges": []}
    parts = {"model": model, "normalizer": definition["normalizer"], "added_tokens": []}
    return Tokenizer.from_str(json.dumps({"version": "1.0", **parts})).normalizer


def _encoded(text: str) -> str:
    """A text in hexadecimal digits: what YAML holds, dbt renders."""
    return f"utf8:{text.encode().hex()}"


def vocabulary_table(definition: Definition, texts: list[str]) -> pa.Table:
    """A row for each id: (token_id, token, bytes, is_special, is_added).

    `bytes` is what the token adds to a text; none where the id is no token.

    Args:
        texts: the tokens for display, one for each row of the embedding.
    """
    ids = range(len(texts))
    added = {token["id"]: token for token in definition["added_tokens"]}
    contents = _contents(definition)
    return pa.table(
        {
            "token_id": pa.array(ids, pa.int32()),
            "token": pa.array(texts, pa.string()),
            "bytes": pa.array([contents.get(token_id, b"") for token_id in ids], pa.binary()),
            "is_special": pa.array([i in added and added[i]["special"] for i in ids]),
            "is_added": pa.array([i in added for i in ids]),
        }
    )


def _contents(definition: Definition) -> dict[int, bytes]:
    """What each token adds to a text."""
    spelling = _byte_alphabet() if _is_byte_level(definition) else None
    contents = {
        token_id: _bytes(piece, spelling) for piece, token_id in _vocabulary(definition).items()
    }
    added = {token["id"]: token["content"].encode() for token in definition["added_tokens"]}
    return contents | added


def _is_ordered(definition: Definition) -> bool:
    """Whether no merge comes before one that makes a part of it.

    Then all places of the best pair are merged before a pair that this makes; if not, what
    is merged at the first place may take part of the next.
    """
    merges = merges_table(definition).to_pydict()
    first: dict[int, int] = {}
    for rank, *pair in zip(*[merges[key] for key in _MERGE[:3]], strict=True):
        for token_id in pair:
            first.setdefault(token_id, rank)
    made = zip(merges["token_id"], merges["merge_rank"], strict=True)
    return all(first.get(token_id, rank + 1) > rank for token_id, rank in made)


def _long_words(definition: Definition) -> dict[str, Any] | None:
    """How long words are cut into windows; None where tokens do not say which bytes they cover.

    They do if every token has the bytes of the letters that it is merged from.
    """
    vocabulary, contents = _vocabulary(definition), _contents(definition)
    unknown = vocabulary.get(definition["model"].get("unk_token") or "")
    is_bytes = _is_byte_level(definition)
    space = None if is_bytes or contents.get(vocabulary.get(SPACE, -1)) != b" " else SPACE
    letters = alphabet_table(definition).to_pydict()
    for letter, token_id in zip(letters["letter"], letters["token_id"], strict=True):
        spelled = bytes.fromhex(letter) if is_bytes else letter.encode()
        if contents[token_id] != (b" " if letter == space else spelled):
            return None
    merges = merges_table(definition).to_pydict()
    for left, right, merged in zip(*[merges[key] for key in _MERGE[1:]], strict=True):
        if unknown in (left, right) or contents[merged] != contents[left] + contents[right]:
            return None
    return {"longest": max(map(len, vocabulary)), "space": space}


def merges_table(definition: Definition) -> pa.Table:
    """A row for each merge, best first: (merge_rank, left_token_id, right_token_id, token_id)."""
    vocabulary = _vocabulary(definition)
    # Of a pair that is there twice, the library takes the last.
    rows = {
        (vocabulary[left], vocabulary[right]): (rank, vocabulary[left + right])
        for rank, (left, right) in enumerate(map(_pair, definition["model"].get("merges", [])))
    }
    columns = {
        "merge_rank": [rank for rank, _ in rows.values()],
        "left_token_id": [left for left, _ in rows],
        "right_token_id": [right for _, right in rows],
        "token_id": [merged for _, merged in rows.values()],
    }
    schema = pa.schema([(name, pa.int32()) for name in _MERGE])
    return pa.table(columns, schema=schema).sort_by("merge_rank")


def alphabet_table(definition: Definition) -> pa.Table:
    """A row for each letter that words are spelled in: (letter, token_id).

    A letter is a byte in hexadecimal digits, or a character.
    """
    vocabulary = _vocabulary(definition)
    if _is_byte_level(definition):
        letters = [(f"{byte:02X}", character) for character, byte in _byte_alphabet().items()]
    else:
        letters = [(token, token) for token in vocabulary if len(token) == 1]
    found = sorted((vocabulary[token], letter) for letter, token in letters if token in vocabulary)
    return pa.table(
        {
            "letter": pa.array([letter for _, letter in found], pa.string()),
            "token_id": pa.array([token_id for token_id, _ in found], pa.int32()),
        }
    )


def _vocabulary(definition: Definition) -> dict[str, int]:
    """The tokens of the model; Unigram lists them with scores, in the order of their ids."""
    tokens = definition["model"]["vocab"]
    if isinstance(tokens, list):
        return {token: token_id for token_id, (token, _) in enumerate(tokens)}
    return dict(tokens)


def _first_byte(vocabulary: Mapping[str, int]) -> int:
    ids = [vocabulary.get(f"<0x{byte:02X}>", -1) for byte in range(256)]
    if ids[0] < 0 or ids != list(range(ids[0], ids[0] + 256)):
        raise UnsupportedError("the tokenizer's byte tokens are not 256 in a row.")
    return ids[0]


def _pair(merge: str | list[str]) -> tuple[str, str]:
    """A merge as the library writes it: two tokens, or, in older files, one text."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _steps(part: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    if part is None:
        return []
    return list(part[key]) if part["type"] == "Sequence" else [part]


def _split(step: Mapping[str, Any]) -> list[dict[str, Any]]:
    match step["type"]:
        case "Digits":
            many = "" if step["individual_digits"] else "+"
            return [{"pattern": f"[{DIGITS}]{many}|[^{DIGITS}]+"}]
        case "ByteLevel":
            return [_words(GPT2_WORDS + _LOOKAHEAD)] if step["use_regex"] else []
        case "Split" if (
            "Regex" in step["pattern"] and step["behavior"] == "Isolated" and not step["invert"]
        ):
            return [_words(step["pattern"]["Regex"])]
    raise UnsupportedError(
        f"the pre-tokenizer {step['type']} is not supported in SQL as it is set."
    )


def _words(pattern: str) -> dict[str, Any]:
    """A pattern that ends with white space's look-ahead, which RE2 does not have, without it."""
    if not pattern.endswith(_LOOKAHEAD) or "(?!" in pattern[: -len(_LOOKAHEAD)]:
        raise UnsupportedError(f"the pre-tokenizer's pattern {pattern} is not supported in SQL.")
    return {
        "pattern": _spelled_out(pattern.removesuffix(_LOOKAHEAD)),
        "white_space": WHITE_SPACE,
    }


def _spelled_out(pattern: str) -> str:
    r"""The pattern with `\s`, `\p{L}` and `\p{N}` as the library has them."""
    classes = {r"\s": WHITE_SPACE, r"\p{L}": LETTERS, r"\p{N}": NUMBERS}
    within, parts = False, []
    for part in re.split(r"(\\p\{L\}|\\p\{N\}|\\.|\[|\])", pattern):
        within = (within or part == "[") and part != "]"
        meaning = classes.get(part, part)
        parts.append(f"[{meaning}]" if part in classes and not within else meaning)
    return "".join(parts)


def _normalize(step: Mapping[str, Any]) -> list[dict[str, Any]]:
    match step["type"]:
        case "NFC":
            return [{"nfc": True}]
        case "Prepend":
            return [{"prepend": step["prepend"]}]
        case "Replace" if "String" in step["pattern"]:
            return [{"replace": step["pattern"]["String"], "with": step["content"]}]
    raise UnsupportedError(f"the normalizer {step['type']} is not supported in SQL.")


def _is_byte_level(definition: Definition) -> bool:
    steps = _steps(definition["pre_tokenizer"], "pretokenizers")
    return any(step["type"] == "ByteLevel" for step in steps)


def _bytes(piece: str, spelling: Mapping[str, int] | None) -> bytes:
    if spelling is not None:
        return bytes(spelling[character] for character in piece if character in spelling)
    if re.fullmatch(r"<0x[0-9A-F]{2}>", piece):
        return bytes([int(piece[3:5], 16)])
    return piece.replace(SPACE, " ").encode()


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character for each byte (`bytes_to_unicode`), turned around."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }
