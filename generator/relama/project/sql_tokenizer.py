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
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa
from tokenizers import Tokenizer
from tokenizers.normalizers import Normalizer

from relama.errors import UnsupportedError
from relama.project.render import encoded

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

#: What RE2's tables, made for version 15 of Unicode, lack of version 16, which the library has.
SINCE_UNICODE_15 = {
    "Lu": r"\x{1C89}\x{A7CB}-\x{A7CC}\x{A7DA}\x{A7DC}\x{10D50}-\x{10D65}",
    "Ll": r"\x{1C8A}\x{A7CD}\x{A7DB}\x{10D70}-\x{10D85}",
    "Lm": r"\x{10D4E}\x{10D6F}\x{16D40}-\x{16D42}\x{16D6B}-\x{16D6C}",
    "Lo": (
        r"\x{105C0}-\x{105F3}\x{10D4A}-\x{10D4D}\x{10D4F}\x{10EC2}-\x{10EC4}"
        r"\x{11380}-\x{11389}\x{1138B}\x{1138E}\x{11390}-\x{113B5}\x{113B7}\x{113D1}\x{113D3}"
        r"\x{11BC0}-\x{11BE0}\x{13460}-\x{143FA}\x{16100}-\x{1611D}\x{16D43}-\x{16D6A}"
        r"\x{18CFF}\x{1E5D0}-\x{1E5ED}\x{1E5F0}\x{2EBF0}-\x{2EE5D}"
    ),
    "Mn": (
        r"\x{897}\x{10D69}-\x{10D6D}\x{10EFC}\x{113BB}-\x{113C0}\x{113CE}\x{113D0}\x{113D2}"
        r"\x{113E1}-\x{113E2}\x{11F5A}\x{1611E}-\x{16129}\x{1612D}-\x{1612F}"
        r"\x{1E5EE}-\x{1E5EF}"
    ),
    "Mc": (
        r"\x{113B8}-\x{113BA}\x{113C2}\x{113C5}\x{113C7}-\x{113CA}\x{113CC}-\x{113CD}\x{113CF}"
        r"\x{1171E}\x{1612A}-\x{1612C}"
    ),
    "Nd": (
        r"\x{10D40}-\x{10D49}\x{116D0}-\x{116E3}\x{11BF0}-\x{11BF9}\x{16130}-\x{16139}"
        r"\x{16D70}-\x{16D79}\x{1CCF0}-\x{1CCF9}\x{1E5F1}-\x{1E5FA}"
    ),
    "Pd": r"\x{10D6E}",
    "Po": (
        r"\x{1B4E}-\x{1B4F}\x{1B7F}\x{113D4}-\x{113D5}\x{113D7}-\x{113D8}\x{11BE1}"
        r"\x{16D6D}-\x{16D6F}\x{1E5FF}"
    ),
    "Sm": r"\x{10D8E}-\x{10D8F}",
    "So": (
        r"\x{2427}-\x{2429}\x{2FFC}-\x{2FFF}\x{31E4}-\x{31E5}\x{31EF}\x{1CC00}-\x{1CCEF}"
        r"\x{1CD00}-\x{1CEB3}\x{1F8B2}-\x{1F8BB}\x{1F8C0}-\x{1F8C1}\x{1FA89}\x{1FA8F}\x{1FABE}"
        r"\x{1FAC6}\x{1FADC}\x{1FADF}\x{1FAE9}\x{1FBCB}-\x{1FBEF}"
    ),
}

#: Unicode's general categories that SQL has as the library does. Not what is unassigned (`Cn`,
#: `C`), which RE2 does not know, and not `Mn`, from which version 16 took a character.
CATEGORIES = {
    *("L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mc", "Me", "N", "Nd", "Nl", "No"),
    *("P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So"),
    *("Z", "Zs", "Zl", "Zp", "Cc", "Cf", "Co"),
}


def category(name: str) -> str:
    """The characters of a general category, as they stand in a class of RE2."""
    added = [more for part, more in SINCE_UNICODE_15.items() if part.startswith(name)]
    return "".join([rf"\p{{{name}}}", *added])


#: A token that the decoder `ByteFallback` takes for a byte.
_BYTE = "<0x[0-9A-Fa-f]{2}>"

#: The columns of the table of merges.
_MERGE = ("merge_rank", "left_token_id", "right_token_id", "token_id")

#: The library's `Digits` knows later numbers than its regular expressions do.
DIGITS = category("N") + r"\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}"

#: The pattern of GPT-2 that `ByteLevel` splits by (`use_regex`), without the end that
#: stands for white space.
GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"

#: How these patterns end: white space, of which the last goes to the word that follows.
_LOOKAHEAD = r"|\s+(?!\S)|\s+"


def tokenizer_settings(definition: Definition) -> dict[str, Any]:
    """How text becomes words and symbols, as the macro `tokenize` reads it.

    Keys:
        normalize: a list of operations on the text.
        split: a list of steps, each with `operations` on the parts of the text, or with a
            `pattern` in RE2's syntax; what lies between its matches is a part too where
            `between` is `kept`, and white space is cut as its look-ahead would do it where
            there is a class `white_space`.
        alphabet: `bytes` or `characters`, which words are spelled in.
        first_byte: the first of 256 ids that spell other characters, or None.
        unknown: the token of other characters, or None; with `fuse_unknown`, of a
            run of them.
        whole_words: whether a word that is a token is not merged: a token that was not
            added, or one of `whole_also`, and none of `whole_never`.
        byte_runs: tokens of bytes that decoding takes together, as ranges of ids.
        strip: whether decoding takes a space from the beginning.
        opening: whether the first token of a text loses its signs of a space; `openings`
            says what is left of tokens that have spaces too, both in hexadecimal digits.
        separator: what decoding puts between tokens, in hexadecimal digits.
        one_by_one: whether merging goes one place at a time, see `_is_ordered`.
        long_words: see `_long_words`.
        added: the added tokens, each with `id`, `content` and the flags that it has; with
            `match`, its content normalised, if that is another text.
        added_patterns: what finds those that are not `normalized`, and those that are.
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
    normalize = [
        operation
        for step in _steps(definition["normalizer"], "normalizers")
        for operation in _normalize(step)
    ]
    split = [rule for place, step in enumerate(steps) for rule in _split(step, place, normalize)]
    vocabulary = model["vocab"]
    if not _is_byte_level(definition) and SPACE in vocabulary:
        split.append({"pattern": _what_is_merged(vocabulary)})
    unknown = model.get("unk_token")
    return {
        "normalize": normalize,
        "split": split,
        "alphabet": "bytes" if _is_byte_level(definition) else "characters",
        "unknown": None if unknown is None else vocabulary[unknown],
        "fuse_unknown": bool(model.get("fuse_unk")),
        "first_byte": _first_byte(vocabulary) if model.get("byte_fallback") else None,
        "whole_words": bool(model.get("ignore_merges")),
        **_whole_words(definition),
        **_decoding(definition),
        "one_by_one": not _is_ordered(definition),
        "long_words": _long_words(definition),
        **_added_tokens(definition),
    }


def _what_is_merged(vocabulary: Mapping[str, int]) -> str:
    """A pattern of the parts of a text that no token reaches out of.

    A space's sign begins a part, unless some token has it behind the character that it follows.
    """
    within = sorted({t[i - 1] for t in vocabulary for i in _places(SPACE, t) if i} - {SPACE})
    if not within:
        return f"{SPACE}*[^{SPACE}]+|{SPACE}+"
    before = "".join(f"\\x{{{ord(character):X}}}" for character in within)
    return f"{SPACE}*(?:[{before}]{SPACE}*|[^{SPACE}{before}])+|{SPACE}+"


def _places(character: str, text: str) -> Iterator[int]:
    return (place for place, other in enumerate(text) if other == character)


def _whole_words(definition: Definition) -> dict[str, Any]:
    """Added tokens that the model has too, and tokens that are not spelled in its alphabet."""
    if not definition["model"].get("ignore_merges"):
        return {}
    if not _is_byte_level(definition):
        raise UnsupportedError("the tokenizer's ignore_merges is supported in SQL of bytes only.")
    vocabulary, letters = _vocabulary(definition), _byte_alphabet()
    added = {token["id"] for token in definition["added_tokens"]}
    never = [i for piece, i in vocabulary.items() if any(c not in letters for c in piece)]
    also = sorted(added.intersection(vocabulary.values()).difference(never))
    return {"whole_also": also, "whole_never": sorted(set(never) - added)}


def _added_tokens(definition: Definition) -> dict[str, Any]:
    """The added tokens, see `tokenizer_settings`, and the classes of characters they ask for."""
    tokens = []
    flags = ("special", "lstrip", "rstrip", "single_word", "normalized")
    normalizer = _normalizer(definition)
    matches: tuple[list[str], list[str]] = [], []
    for token in definition["added_tokens"]:
        match = content = token["content"]
        if normalizer is not None and token["normalized"]:
            match = normalizer.normalize_str(content)
        matches[token["normalized"]].append(match)
        row = {"id": token["id"], "content": encoded(content)}
        row |= {flag: True for flag in flags if token[flag]}
        tokens.append(row if match == content else row | {"match": encoded(match)})
    classes = {}
    if any("single_word" in token for token in tokens):
        classes["word"] = WORD
    if any("lstrip" in token or "rstrip" in token for token in tokens):
        classes["white_space"] = WHITE_SPACE
    return {"added": tokens, "added_patterns": [*map(_pattern_of, matches)], **classes}


def _pattern_of(texts: Iterable[str]) -> str:
    """A pattern that finds the leftmost of these texts, of several the longest.

    Each character is written `\\x{...}`, and what several texts begin with once.
    """
    root: dict[str, Any] = {}
    for text in filter(None, texts):
        node = root
        for character in text:
            node = node.setdefault(character, {})
        node[""] = {}
    return _ways(root)


def _ways(node: dict[str, Any]) -> str:
    """What may follow in a tree of texts, by their next characters; "" is the end of a text."""
    ways = []
    for character, rest in sorted(node.items()):
        if not character:
            continue
        way = f"\\x{{{ord(character):X}}}"
        while len(rest) == 1 and "" not in rest:
            ((character, rest),) = rest.items()
            way += f"\\x{{{ord(character):X}}}"
        ways.append(way + _ways(rest))
    if not ways:
        return ""
    return f"(?:{'|'.join(ways)})?" if "" in node else f"(?:{'|'.join(ways)})"


def _normalizer(definition: Definition) -> Normalizer | None:
    if definition["normalizer"] is None:
        return None
    model = {"type": "BPE", "vocab": {}, "merges": []}
    parts = {"model": model, "normalizer": definition["normalizer"], "added_tokens": []}
    normalizer: Normalizer = Tokenizer.from_str(json.dumps({"version": "1.0", **parts})).normalizer
    return normalizer


def vocabulary_table(definition: Definition, texts: list[str]) -> pa.Table:
    """A row for each id: (token_id, token, bytes, is_special, is_added).

    `bytes` is what the token adds to a text; none where the id is no token.

    Args:
        texts: the tokens for display, one for each row of the embedding.
    """
    ids = range(len(texts))
    added = {token["id"]: token for token in definition["added_tokens"]}
    contents, pieces = _contents(definition), _decoded_texts(definition)
    special = {token["content"] for token in added.values() if token["special"]}
    return pa.table(
        {
            "token_id": pa.array(ids, pa.int32()),
            "token": pa.array(texts, pa.string()),
            "bytes": pa.array([contents.get(token_id, b"") for token_id in ids], pa.binary()),
            "is_special": pa.array([i in added and pieces[i] in special for i in ids]),
            "is_added": pa.array([i in added for i in ids]),
        }
    )


def _contents(definition: Definition) -> dict[int, bytes]:
    """What each token adds to a text, as the tokenizer's decoder has it."""
    steps = _steps(definition["decoder"], "decoders")
    return {i: _bytes(text, steps) for i, text in _decoded_texts(definition).items()}


def _decoded_texts(definition: Definition) -> dict[int, str]:
    """What the decoder is given for each token: of an added one, its content as it is found."""
    texts = {token_id: piece for piece, token_id in _vocabulary(definition).items()}
    normalizer = _normalizer(definition)
    for token in definition["added_tokens"]:
        text = token["content"]
        if normalizer is not None and token["normalized"]:
            text = normalizer.normalize_str(text)
        texts[token["id"]] = text
    return texts


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
    """The id of the byte 0 where the others follow; characters of one byte may do without."""
    ids = {byte: vocabulary.get(f"<0x{byte:02X}>") for byte in range(256)}
    found = {byte: token_id for byte, token_id in ids.items() if token_id is not None}
    first = found.get(255, 0) - 255
    needed = {byte for byte in ids if byte > 127 or chr(byte) not in vocabulary}
    if first < 0 or needed - {*found} or any(i != first + byte for byte, i in found.items()):
        raise UnsupportedError("the tokenizer's byte tokens are not 256 in a row.")
    return first


def _pair(merge: str | list[str]) -> tuple[str, str]:
    """A merge as the library writes it: two tokens, or, in older files, one text."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _steps(part: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    if part is None:
        return []
    return list(part[key]) if part["type"] == "Sequence" else [part]


def _split(
    step: Mapping[str, Any], place: int, normalize: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The steps of one pre-tokenizer, the one at `place`."""
    match step["type"]:
        case "Digits":
            many = "" if step["individual_digits"] else "+"
            return [{"pattern": f"[{DIGITS}]{many}|[^{DIGITS}]+"}]
        case "Whitespace":
            return [{"pattern": f"[{WORD}]+|[^{WORD}{WHITE_SPACE}]+"}]
        case "WhitespaceSplit":
            return [{"pattern": f"[^{WHITE_SPACE}]+"}]
        case "ByteLevel":
            prefix = [{"operations": [_prefix(" ")]}] if step["add_prefix_space"] else []
            return prefix + ([_words(GPT2_WORDS + _LOOKAHEAD, "kept")] if step["use_regex"] else [])
        case "Metaspace" if step["prepend_scheme"] != "first" or (
            # Where a text begins is known while nothing has been taken from it.
            place == 0 and not any("strip" in o or o.get("with") == encoded("") for o in normalize)
        ):
            sign, scheme = step["replacement"], step["prepend_scheme"]
            operations = [{"replace": encoded(" "), "with": encoded(sign)}]
            if scheme != "never":
                operations.append(_prefix(sign) | ({"first": True} if scheme == "first" else {}))
            split = [_literal(sign, "MergedWithNext")] if step["split"] else []
            return [{"operations": operations}, *split]
        case "Split" if "Regex" in step["pattern"]:
            # Removed, and inverted: what is between is not a word.
            match step["behavior"], step["invert"]:
                case "Isolated", False:
                    return [_words(step["pattern"]["Regex"], "kept")]
                case "Removed", True:
                    return [_words(step["pattern"]["Regex"], "removed")]
        case "Split" if len(step["pattern"]["String"]) == 1 and not step["invert"]:
            return [_literal(step["pattern"]["String"], step["behavior"])]
    raise UnsupportedError(
        f"the pre-tokenizer {step['type']} is not supported in SQL as it is set."
    )


def _prefix(text: str) -> dict[str, Any]:
    return {"prepend": encoded(text), "unless_there": True}


def _literal(character: str, behavior: str) -> dict[str, Any]:
    """A split at a character (`SplitDelimiterBehavior`)."""
    sign = f"\\x{{{ord(character):X}}}"
    patterns = {
        "Removed": f"[^{sign}]+",
        "Isolated": f"{sign}|[^{sign}]+",
        "Contiguous": f"{sign}+|[^{sign}]+",
        "MergedWithPrevious": f"[^{sign}]*{sign}|[^{sign}]+",
        "MergedWithNext": f"{sign}[^{sign}]*|[^{sign}]+",
    }
    return {"pattern": patterns[behavior]}


def _words(pattern: str, between: str) -> dict[str, Any]:
    r"""A pattern that is found in a text, and whether what is between is a word too.

    At its end may be white space's look-ahead, `\\s+(?!\\S)|\\s+`, which RE2 does not have.
    """
    run = re.fullmatch(r"(?:\[([^\[\]^][^\[\]]*)\]|(\\p\{\w+\}))(\+|\{1,\d\}|)", pattern)
    if run is not None and between == "kept":
        characters = _spelled_out(f"[{run[1] or run[2]}]")[1:-1]
        return {"pattern": f"[{characters}]{run[3]}|[^{characters}]+"}
    words = _spelled_out(pattern.removesuffix(_LOOKAHEAD))
    looks_ahead = pattern.endswith(_LOOKAHEAD)
    state = _state(words, looks_ahead)
    if state == "unsupported":
        raise UnsupportedError(f"the pre-tokenizer's pattern {pattern} is not supported in SQL.")
    step = {"pattern": words} | ({"white_space": WHITE_SPACE} if looks_ahead else {})
    return step if state == "whole" else step | {"between": between}


@cache
def _state(words: str, looks_ahead: bool) -> str:
    """What the pattern finds: `whole` texts, but for white space, `some` of them, or `unsupported`.

    It is whole where each character matches. It may not find an empty text. Where white space
    looks ahead, nothing begins with two of it: all but the last would be a word before.
    """
    alone = (
        "select bool_and(regexp_full_match(chr(i), $each)), regexp_full_match('', $words)"
        " from (select unnest(range(0, 1114112))::integer as i) where i not between 55296 and 57343"
    )
    begun = (
        "select bool_or(regexp_matches(a || b || c || d || e, $begun)) from"
        " (select unnest($white) as a), (select unnest($white) as b),"
        " (select unnest($others) as c), (select unnest($others) as d),"
        " (select unnest($others) as e)"
    )
    given = {"white": [*" \t\u3000"], "others": [*"aB\u4e2d1.$\u0301\0_"]}
    each = f"(?:{words})|[{WHITE_SPACE}]" if looks_ahead else words
    with duckdb.connect() as connection:
        try:
            whole = connection.execute(alone, {"words": words, "each": each}).fetchall()
            early = connection.execute(begun, {"begun": f"^(?:{words})", **given}).fetchall()
        except duckdb.Error:
            return "unsupported"
    ((is_whole, is_empty),), ((is_begun,),) = whole, early
    if is_empty or (looks_ahead and is_begun):
        return "unsupported"
    return "whole" if is_whole else "some"


def _spelled_out(pattern: str) -> str:
    r"""The pattern with classes such as `\s` and `\p{L}` as the library has them.

    Raises:
        UnsupportedError: some of it would mean something else to RE2.
    """
    within, parts = False, []
    for part in re.split(r"(\\[pP]\{[^}]*\}|\\.|\[\^?|\])", pattern):
        begins = part.startswith("[")
        meaning: str | None = part
        if part.startswith("\\"):
            meaning = _escaped(part, within)
        elif within:
            meaning = None if begins or "&&" in part else part
        elif not begins and re.search(r"[$^]|\(\?[a-z]*m", part):
            # Ends of lines to the library, ends of the text to RE2; `.` and the ends of lines.
            meaning = None
        if meaning is None:
            raise UnsupportedError(f"{part} in a pre-tokenizer's pattern is not supported in SQL.")
        within = (within or begins) and part != "]"
        parts.append(meaning)
    # A line's end within a literal of SQL would be indented with the SQL.
    return re.sub(r"\\?([\r\n])", lambda end: f"\\x{{{ord(end[1]):X}}}", "".join(parts))


def _escaped(part: str, within: bool) -> str | None:
    """What follows a backslash, within a class or not; None if RE2 does not have it."""
    name = {r"\s": "s", r"\d": "Nd"}.get(part.lower(), part[3:-1])
    if not name:
        return part if re.fullmatch(r"\\[rntfv\W]", part) else None
    is_without = part[1].isupper()
    if (name != "s" and name not in CATEGORIES) or (within and is_without):
        return None
    characters = WHITE_SPACE if name == "s" else category(name)
    return characters if within else f"[{'^' * is_without}{characters}]"


def _normalize(step: Mapping[str, Any]) -> list[dict[str, Any]]:
    match step["type"]:
        case "NFC":
            return [{"nfc": True}]
        case "Prepend":
            return [{"prepend": encoded(step["prepend"])}]
        case "Replace" if "String" in step["pattern"] and step["pattern"]["String"]:
            replaced = encoded(step["pattern"]["String"])
            return [{"replace": replaced, "with": encoded(step["content"])}]
        case "Strip":
            left = f"^[{WHITE_SPACE}]+" if step["strip_left"] else ""
            right = f"[{WHITE_SPACE}]+$" if step["strip_right"] else ""
            return [{"strip": pattern} for pattern in (left, right) if pattern]
    raise UnsupportedError(f"the normalizer {step['type']} is not supported in SQL as it is set.")


def _decoding(definition: Definition) -> dict[str, Any]:
    """How the bytes of tokens become a text, see `tokenizer_settings` and `_contents`."""
    steps = _steps(definition["decoder"], "decoders")
    kinds = [step["type"] for step in steps]
    is_known = bool(
        kinds in ([], ["ByteLevel"], ["Metaspace"])
        # Replace first, as what comes after sees bytes.
        or re.fullmatch(r"(Replace )*(ByteFallback )?(Fuse )?", " ".join([*kinds, ""]))
        or re.fullmatch(r"(Replace )*(ByteFallback )?Fuse Strip ", " ".join([*kinds, ""]))
    )
    strips = [step for step in steps if step["type"] == "Strip"]
    for step in strips:
        is_known &= (step["content"], step["start"], step["stop"]) == (" ", 1, 0)
    for step in steps:
        is_known &= step["type"] != "Replace" or "String" in step["pattern"]
    if not is_known:
        raise UnsupportedError(
            f"the decoder {', '.join(kinds)} is not supported in SQL as it is set."
        )
    decoding: dict[str, Any] = {"strip": bool(strips)}
    if "ByteFallback" in kinds:
        decoding["byte_runs"] = _ranges(
            token_id
            for token_id, text in _decoded_texts(definition).items()
            if re.fullmatch(_BYTE, text)
        )
    if not kinds:
        decoding["separator"] = "20"
    if kinds == ["Metaspace"] and steps[0]["prepend_scheme"] != "never":
        texts = [text for text in _decoded_texts(definition).values() if " " in text]
        decoding["opening"] = True
        decoding["openings"] = {
            _bytes(text, steps).hex().upper(): text.replace(steps[0]["replacement"], "")
            .encode()
            .hex()
            .upper()
            for text in texts
        }
    return decoding


def _ranges(ids: Iterable[int]) -> list[list[int]]:
    """The first and the last of each run of ids."""
    ranges: list[list[int]] = []
    for token_id in sorted(ids):
        if not ranges or token_id > ranges[-1][1] + 1:
            ranges.append([token_id, token_id])
        ranges[-1][1] = token_id
    return ranges


def _is_byte_level(definition: Definition) -> bool:
    steps = _steps(definition["pre_tokenizer"], "pretokenizers")
    return any(step["type"] == "ByteLevel" for step in steps)


def _bytes(piece: str, decoders: list[Mapping[str, Any]]) -> bytes:
    """A token's bytes after the steps of a decoder that look at one token."""
    for step in decoders:
        match step["type"]:
            case "ByteLevel":
                spelling = _byte_alphabet()
                if all(character in spelling for character in piece):
                    return bytes(spelling[character] for character in piece)
            case "Metaspace":
                piece = piece.replace(step["replacement"], " ")
            case "Replace" if step["pattern"].get("String"):
                piece = piece.replace(step["pattern"]["String"], step["content"])
            case "ByteFallback" if re.fullmatch(_BYTE, piece):
                return bytes([int(piece[3:5], 16)])
    return piece.encode()


@cache
def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character for each byte (`bytes_to_unicode`), turned around."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }
