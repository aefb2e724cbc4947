"""The tokenizer's macros on random tokenizers and odd texts, against the tokenizers library."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)

from relama.errors import UnsupportedError
from relama.project.sql_tokenizer import SINCE_UNICODE_15
from tests.tokenizer_macros import SqlTokenizer

SPACE = "\u2581"
GUARD = "\ufdd0"
#: What texts are made of: tokens, white space, letters that merge, and what is rare.
PARTS = [
    *("<s>", "<|u|>", "WORD", "ab", "<|", "a b", SPACE, " ", "  ", "\n", "\t", "\u3000", "\x85"),
    *("a", "b", "c", "aaaa", "abab", "cab", ".", "-", "7", "\u0663", "\u00e9", "e\u0301"),
    *("\U0001f600", "\x00", "\ue000", "\uf8ff", "\u4e2d", "_", "'s", "{{ x }}", "\u24b6"),
]
ADDED = ["<s>", "<|u|>", "WORD", "ab", "<|", "a b", "7", "\n", "\u00e9"]


@st.composite
def tokenizers(draw: st.DrawFn) -> Tokenizer:
    """Byte-level or SentencePiece's, with merges in any order and flags of any kind."""
    is_bytes = draw(st.booleans())
    pieces = draw(st.permutations(MERGES))[: draw(st.integers(0, len(MERGES)))]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet()) if is_bytes else list("abce.-<>s|u_")
    vocabulary = ["<unk>", *letters]
    if not is_bytes:
        vocabulary += [SPACE, "\t", "\n", *(f"<0x{byte:02X}>" for byte in range(256))]
        if draw(st.booleans()):  # as Gemma's, where a tabulator stands in the place of its byte
            vocabulary.remove("\t")
            vocabulary[vocabulary.index("<0x09>")] = "\t"
    merges = []
    for left, right in pieces:
        # A merge needs its parts, which may come after it.
        for token in (left, right, left + right):
            if token not in vocabulary:
                vocabulary.append(token)
        merges.append((left, right))
    ids = {token: place for place, token in enumerate(vocabulary)}
    if is_bytes:
        model = models.BPE(ids, merges, ignore_merges=draw(st.booleans()))
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = draw(st.sampled_from(BYTE_SPLITS))
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.normalizer = draw(st.sampled_from([None, normalizers.NFC()]))
    else:
        tokenizer = Tokenizer(
            models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
        )
        scheme = draw(st.sampled_from(["always", "first", "never", "normalizer", "split"]))
        tokenizer.decoder = FALLBACK
        if scheme == "normalizer":
            tokenizer.normalizer = normalizers.Sequence(
                [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
            )
        elif scheme == "split":
            tokenizer.normalizer = normalizers.Replace(" ", SPACE)
            behavior = draw(st.sampled_from(BEHAVIORS))
            tokenizer.pre_tokenizer = pre_tokenizers.Split(SPACE, behavior)
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
                prepend_scheme=scheme, split=draw(st.booleans())
            )
            if draw(st.booleans()):
                tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    for content in draw(st.lists(st.sampled_from(ADDED), unique=True)):
        flags = dict(zip(FLAGS, draw(st.tuples(*[st.booleans()] * len(FLAGS))), strict=True))
        # White space that another token's rstrip took: the library drops the token, or panics.
        flags["lstrip"] = flags["lstrip"] and content != "\n"
        special = draw(st.booleans())
        added = AddedToken(content, special=special, **flags)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([added])
    return tokenizer


FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
MERGES = [
    *(("a", "b"), ("ab", "ab"), ("b", "a"), ("c", "ab"), ("a", "a"), ("aa", "aa"), ("aa", "b")),
    *(("ab", "a"), ("<", "s"), ("<s", ">"), ("abab", "abab"), ("b", "c"), ("ca", "b"), ("c", "a")),
]
BEHAVIORS = ["removed", "isolated", "contiguous", "merged_with_previous", "merged_with_next"]
BYTE_SPLITS = [
    pre_tokenizers.ByteLevel(add_prefix_space=False),
    pre_tokenizers.ByteLevel(add_prefix_space=True),
    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    ),
    pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(False, use_regex=False)]
    ),
]
FALLBACK = decoders.Sequence(
    [
        decoders.Replace(SPACE, " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
)


def odd_texts(seed: int) -> Iterator[str]:
    chooser = random.Random(seed)
    yield from ("", " ", "a", "  ", SPACE)
    for _ in range(40):
        yield "".join(chooser.choices(PARTS, k=chooser.randint(1, 8)))
    yield "".join(chooser.choices(["a", "b", "c"], k=400))
    yield "".join(chooser.choices(["a", "b", "c", "\u4e2d", "\u00e9"], k=300))
    yield "a" * 333 + " " + "ab" * 200


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(tokenizers(), st.integers(0, 2**32))
def test_ids_and_texts_are_the_librarys(tokenizer: Tokenizer, seed: int) -> None:
    sql = SqlTokenizer(tokenizer)
    texts = list(odd_texts(seed))
    for parse_special in (False, True):
        tokenizer.encode_special_tokens = not parse_special
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        same(texts, sql.tokenize(texts, parse_special), ids)
    chooser = random.Random(seed)
    size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    ids += [chooser.choices(range(size), k=chooser.randint(1, 6)) for _ in range(40)]
    same(ids, sql.detokenize(ids), [tokenizer.decode(i) for i in ids])


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(tokenizers(), st.integers(0, 2**32))
def test_guarded_tokens_stay_text(tokenizer: Tokenizer, seed: int) -> None:
    """Where all spellings of special tokens are guarded, none is found."""
    tokenizer.encode_special_tokens = True
    added = tokenizer.get_added_tokens_decoder().values()
    special = [re.escape(t.content) for t in added if t.special]
    texts = list(odd_texts(seed))
    guarded = texts
    if special:
        pattern = "|".join(sorted(special, key=len, reverse=True))
        guarded = [re.sub(pattern, lambda m: m[0][0] + GUARD + m[0][1:], t) for t in texts]
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    same(texts, SqlTokenizer(tokenizer).tokenize(guarded, True, GUARD), ids)


@pytest.mark.parametrize(
    "word",
    [
        "a" * 20000,
        "ab" * 10000,
        "abc" * 6000,
        " " * 20000,
        "".join(random.Random(1).choices("abc", k=20000)),
    ],
    ids=["a", "ab", "abc", "spaces", "random"],
)
def test_long_words(word: str) -> None:
    tokenizer = Tokenizer(
        models.BPE(
            {t: i for i, t in enumerate([*"abc\u0120", "ab", "abab", "ca", "cab", "aa", "aaaa"])},
            [("a", "b"), ("ab", "ab"), ("c", "a"), ("c", "ab"), ("a", "a"), ("aa", "aa")],
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    sql = SqlTokenizer(tokenizer)
    assert sql.settings["long_words"]
    assert sql.tokenize([word, "ab", None]) == [
        tokenizer.encode(word).ids,
        tokenizer.encode("ab").ids,
        None,
    ]


#: The pattern of o200k, which Tekken has too, but for its numbers.
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
#: As the pattern of DeepSeek, which does not find numbers and control characters.
SYMBOLS = (
    r"[!-/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.mark.parametrize("pattern", [O200K, SYMBOLS], ids=["o200k", "symbols"])
def test_words_of_letters_that_unicode_has_had_lately(pattern: str) -> None:
    """Each begins or ends a word beside what it may be merged with: no word is lost."""
    tokenizer = byte_tokenizer(pattern)
    parts = re.findall(r"\\x\{(\w+)\}", "".join(SINCE_UNICODE_15.values()))
    characters = [*(chr(int(digits, 16)) for digits in parts), *"aB\u01c5\u02b0\u4e2d\u0301 7.\n"]
    chooser = random.Random(5)
    texts = [*characters, *("".join(chooser.choices(characters, k=9)) for _ in range(500))]
    same(texts, SqlTokenizer(tokenizer).tokenize(texts), [tokenizer.encode(t).ids for t in texts])


@pytest.mark.parametrize(
    "pattern",
    [
        *(r"\s\s\p{L}|\S", r"\p{L}*|.", r"\p{Han}|\S", r"\p{Mn}|\S", r"\p{C}|\S", r"\w+|\S"),
        *(r"[^\S\n]+|\S", r"[a-z&&[^b]]|\S", r"a$|\S", r"\S++", r"(?m:.)+", r"a(?!b)|\S"),
    ],
)
def test_a_pattern_that_would_lose_or_cut_words_is_refused(pattern: str) -> None:
    with pytest.raises(
        UnsupportedError, match=r"pre-tokenizer's pattern.* is not supported in SQL"
    ):
        SqlTokenizer(byte_tokenizer(rf"{pattern}|\s+(?!\S)|\s+"))


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            r"\p{N}{1,3}",
            "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
            "[0-9][0-9][0-9]",
            r"[\r\n]",
        ),
        *(r"\s?\p{L}+", SYMBOLS, r"\p{Lu}+|\s+(?!\S)|\s+", r"'[a-z]|b+\d| \s*x"),
    ],
)
@pytest.mark.parametrize(("behavior", "invert"), [("isolated", False), ("removed", True)])
def test_what_a_pattern_leaves_between(pattern: str, behavior: str, invert: bool) -> None:
    sql = SqlTokenizer(byte_tokenizer(pattern, behavior, invert))
    tokenizer = byte_tokenizer(pattern, behavior, invert)
    chooser = random.Random(7)
    parts = [
        *"aBc 12\u0663\u00bd.'-\n\r\t\x00\x1b\u3000\u4e2d\u3042\u30fc\u0301",
        "\U0001f600",
        "  ",
    ]
    texts = ["", *("".join(chooser.choices(parts, k=chooser.randint(1, 12))) for _ in range(300))]
    same(texts, sql.tokenize(texts), [tokenizer.encode(text).ids for text in texts])


def byte_tokenizer(pattern: str, behavior: str = "isolated", invert: bool = False) -> Tokenizer:
    """Bytes of words, of which many pairs are merged: another word is another list of ids."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [(left, right) for left in letters for right in letters]
    tokens = [*letters, *(left + right for left, right in pairs)]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior, invert),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def test_a_vocabulary_with_holes() -> None:
    letters = {letter: i for i, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    tokenizer = Tokenizer(
        models.BPE(letters | {"ab": 300, "abab": 310}, [("a", "b"), ("ab", "ab")])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = ["ababab b", "a", "é ab"]
    ids = [tokenizer.encode(text).ids for text in texts]
    assert 310 in ids[0]
    sql = SqlTokenizer(tokenizer)
    assert sql.tokenize(texts) == ids
    assert sql.detokenize([*ids, [305, 310, 299]]) == [*texts, "abab"]


def same(given: Sequence[object], got: Sequence[object], expected: Sequence[object]) -> None:
    for value, ours, theirs in zip(given, got, expected, strict=True):
        assert ours == theirs, repr(value)
