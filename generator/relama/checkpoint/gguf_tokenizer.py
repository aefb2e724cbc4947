"""The tokenizer of a GGUF file, rebuilt for the tokenizers library.

The keys `tokenizer.ggml.*` are described at
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md under "Tokenizer".
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, cast

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.models import BPE

from relama.checkpoint.gguf_header import quoted
from relama.errors import CheckpointError, UnsupportedError

MODELS = ("gpt2", "llama")

#: `tokenizer.ggml.pre` of the byte-level models, grouped by how they split text into words:
#: those that llama.cpp treats alike (`llama_vocab::impl::load` in llama-vocab.cpp).
DEFAULT = ("default",)
GPT2 = (
    "gpt-2",
    "a.x-4.0",
    "exaone4",
    "gigachat",
    "granite-docling",
    "jais",
    "mellum",
    "mpt",
    "olmo",
    "phi-2",
    "trillion",
)
DIGITS_APART = (
    "smollm",
    "codeshell",
    "command-r",
    "exaone",
    "mellum2",
    "minerva-7b",
    "refact",
    "starcoder",
)
LLAMA3 = ("llama-bpe", "llama3", "llama-v3", "falcon-h1", "falcon3", "lfm2", "midm-2.0", "pixtral")
#: As Llama 3 splits, but neither whole words nor a beginning of text.
LLAMA3_WORDS_ONLY = ("dbrx", "smaug-bpe")
QWEN2 = ("qwen2", "deepseek-r1-qwen", "kormo")
GPT4O = ("gpt-4o", "llama4")
DEEPSEEK3 = ("deepseek-v3", "hunyuan-dense")
#: Mistral's from Nemo on.
TEKKEN = ("tekken",)
PRE_TOKENIZERS = (
    *(*DEFAULT, *GPT2, *DIGITS_APART, *LLAMA3, *LLAMA3_WORDS_ONLY, *QWEN2, *GPT4O),
    *(*DEEPSEEK3, *TEKKEN),
)

#: Which take a word that is in the vocabulary whole, whatever the merges say, and begin a text.
WHOLE_WORDS = LLAMA3 + TEKKEN

SUPPORTED = (
    "gpt-2, smollm, llama-bpe, smaug-bpe, qwen2, gpt-4o, deepseek-v3, tekken, default and those "
    "that split alike"
)

#: The pattern in the tokenizer.json of Llama 3.
LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: The pattern in the tokenizer.json of Qwen2: Llama 3's, but each digit is a word.
QWEN2_WORDS = LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")

#: The pattern in the tokenizer.json of Phi-4-mini, which is that of GPT-4o.
GPT4O_WORDS = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: The pattern in the tokenizer.json of Mistral Nemo: GPT-4o's without contractions, and each
#: digit is a word.
TEKKEN_WORDS = GPT4O_WORDS.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace(
    r"\p{N}{1,3}", r"\p{N}"
)

#: The patterns in the tokenizer.json of DeepSeek-V3, one after the other.
DEEPSEEK3_WORDS = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
)

#: llama.cpp's patterns for `default`, one after the other (`llm_tokenizer_bpe`).
DEFAULT_WORDS = (
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
)

#: Values of `tokenizer.ggml.token_type`.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4

#: More than any model has: tokens, of these such as are found in texts before others, and
#: characters of a token that are tried as two pieces.
MOST_TOKENS, MOST_ADDED_TOKENS, LONGEST_PIECE = 1 << 19, 1 << 16, 4096

#: SentencePiece's sign for a space.
SPACE = "\u2581"

#: The ids of special tokens in SentencePiece models that do not state them.
SENTENCEPIECE_IDS = {"bos": 1, "eos": 2, "unknown": 0}

#: Tokens that end a text by their names (`special_eog_ids` in llama-vocab.cpp).
END_NAMES = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "[e~[",
)

#: Tokens that lay out code to be filled in, by their names where no key has their ids.
FILL_NAMES = {
    "fim_pre": (
        "<|fim_prefix|>",
        "<fim-prefix>",
        "<fim_prefix>",
        "<\uff5cfim\u2581begin\uff5c>",
        "<PRE>",
        "\u2581<PRE>",
        "<|code_prefix|>",
        "<|prefix|>",
    ),
    "fim_suf": (
        "<|fim_suffix|>",
        "<fim-suffix>",
        "<fim_suffix>",
        "<\uff5cfim\u2581hole\uff5c>",
        "<SUF>",
        "\u2581<SUF>",
        "<|code_suffix|>",
        "<|suffix|>",
    ),
    "fim_mid": (
        "<|fim_middle|>",
        "<fim-middle>",
        "<fim_middle>",
        "<\uff5cfim\u2581end\uff5c>",
        "<MID>",
        "\u2581<MID>",
        "<|code_middle|>",
        "<|middle|>",
    ),
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}

#: Those of the keys `tokenizer.ggml.*_token_id` that end a text, eos first.
END_ROLES = ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")

#: Tokens of OpenAI's harmony format, which llama.cpp always shows.
SHOWN_NAMES = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")

#: Fields of tokenizer_config.json, and of whose ids they are the texts.
SPECIAL_TOKENS = {
    "bos_token": "bos",
    "eos_token": "eos",
    "unk_token": "unknown",
    "pad_token": "padding",
}


@dataclass
class Vocabulary:
    """The tokens of a file, read as llama.cpp does (`llama_vocab::impl::load`).

    Attributes:
        tokens: the text of each id; an empty one is `[EMPTY_<id>]`.
        types: `token_type` of each id, after what names say.
        ids: of special tokens by what they are for: `bos`, `eos`, `padding`, ...
        ends: the ids that end a text, eos first.
        adds_bos, adds_eos: whether every text begins with bos, and ends with eos.
        notes: a sentence for each thing that was assumed or left out.
    """

    tokens: list[str]
    types: list[int]
    ids: dict[str, int]
    ends: list[int]
    adds_bos: bool
    adds_eos: bool
    notes: list[str]

    @property
    def id_of(self) -> dict[str, int]:
        """The id of each text: of one that is there twice the last, or that of a special token."""
        ids = {token: token_id for token_id, token in enumerate(self.tokens)}
        return ids | {self.tokens[self.ids[role]]: self.ids[role] for role in self.ids}


def with_pre(metadata: Mapping[str, Any], pre: str | None) -> Mapping[str, Any]:
    """The metadata with `tokenizer.ggml.pre` as given, where it is given.

    Raises:
        UnsupportedError: the name is not known, or the file's tokenizer has no use for one.
    """
    if pre is None:
        return metadata
    if pre not in PRE_TOKENIZERS:
        raise UnsupportedError(
            f"the pre-tokenizer {_shown(pre)} that was given is not supported; "
            f"supported: {SUPPORTED}."
        )
    model = metadata.get("tokenizer.ggml.model")
    if model != "gpt2":
        raise UnsupportedError(
            f"the pre-tokenizer '{pre}' was given, but the tokenizer model is {_shown(model)}; "
            "only 'gpt2' has pre-tokenizers."
        )
    return ChainMap({"tokenizer.ggml.pre": pre}, cast("MutableMapping[str, Any]", metadata))


def read_vocabulary(metadata: Mapping[str, Any]) -> Vocabulary:
    """The tokens, and what llama.cpp makes of their types, names and ids.

    Raises:
        CheckpointError: the lists do not fit together, or bos or eos is not a token.
    """
    notes: list[str] = []
    tokens = [
        token or f"[EMPTY_{token_id}]"
        for token_id, token in enumerate(_list(metadata, "tokenizer.ggml.tokens", str))
    ]
    if len(tokens) > MOST_TOKENS:
        raise CheckpointError(f"tokenizer.ggml.tokens has more than {MOST_TOKENS} tokens.")
    last = {token: token_id for token_id, token in enumerate(tokens)}
    if again := len(tokens) - len(last):
        twice = next(token for token_id, token in enumerate(tokens) if last[token] != token_id)
        notes.append(
            f"the vocabulary has {again} tokens that are there already, "
            f"such as {quoted(twice)}; text becomes the last of them, the others have no text."
        )
    types = _types(metadata, tokens, notes)
    ids = _ids(metadata, len(tokens), notes)
    vocabulary = Vocabulary(
        tokens,
        types,
        ids,
        ends=[],
        adds_bos=_flag(metadata, "add_bos_token", _adds_bos(metadata)),
        adds_eos=_flag(metadata, "add_eos_token", False),
        notes=notes,
    )
    for adds, role in ((vocabulary.adds_bos, "bos"), (vocabulary.adds_eos, "eos")):
        if adds and role not in ids:
            notes.append(
                f"texts should have a token {role} added, but there is no "
                f"tokenizer.ggml.{role}_token_id; none is added."
            )
    _find_by_name(vocabulary)
    if not vocabulary.ends:
        notes.append(
            "no token of the vocabulary ends a text (there is no tokenizer.ggml.eos_token_id); "
            "texts go on until they have max_tokens."
        )
    return vocabulary


def _types(metadata: Mapping[str, Any], tokens: list[str], notes: list[str]) -> list[int]:
    if "tokenizer.ggml.token_type" not in metadata:
        notes.append(
            "the file does not say which tokens are special (tokenizer.ggml.token_type is "
            "absent); only those that llama.cpp knows by their names are."
        )
        return [NORMAL] * len(tokens)
    types = _list(metadata, "tokenizer.ggml.token_type", int)
    if len(types) != len(tokens):
        raise CheckpointError(
            f"tokenizer.ggml.token_type has {len(types)} values for {len(tokens)} tokens; "
            "their numbers must be equal."
        )
    return types


def _ids(metadata: Mapping[str, Any], count: int, notes: list[str]) -> dict[str, int]:
    """The ids of special tokens; those that are no tokens are left out, as in llama.cpp."""
    ids = dict(SENTENCEPIECE_IDS) if metadata.get("tokenizer.ggml.model") == "llama" else {}
    ids = {role: token_id for role, token_id in ids.items() if token_id < count}
    for role in ("bos", "eot", "eom", "eos", "unknown", "padding", *FILL_NAMES):
        key = f"tokenizer.ggml.{role}_token_id"
        token_id = metadata.get(key)
        if token_id is None:
            continue
        if type(token_id) is not int:
            raise CheckpointError(f"{key} must be a whole number, not {_shown(token_id)}.")
        if 0 <= token_id < count:
            ids[role] = token_id
        elif role in ("bos", "eos"):
            raise CheckpointError(f"{key} is {token_id}, but the vocabulary has {count} tokens.")
        else:
            notes.append(
                f"{key} is {token_id}, but the vocabulary has {count} tokens; it was left out."
            )
    return ids


def _find_by_name(vocabulary: Vocabulary) -> None:
    """Completes types and ends by the names of tokens, rule by rule as llama.cpp does."""
    ids, types, tokens = vocabulary.id_of, vocabulary.types, vocabulary.tokens
    for role, names in FILL_NAMES.items():
        found = sorted(ids[name] for name in names if name in ids)
        if role not in vocabulary.ids and found:
            vocabulary.ids[role] = found[0]
            types[found[0]] = CONTROL
    ends = [vocabulary.ids[role] for role in END_ROLES if role in vocabulary.ids]
    named = sorted(ids[name] for name in END_NAMES if name in ids)
    for token_id in named:
        types[token_id] = CONTROL
    for name in SHOWN_NAMES:
        if name in ids:
            types[ids[name]] = USER_DEFINED
    ends = list(dict.fromkeys([*ends, *named]))
    texts = {tokens[token_id] for token_id in ends}
    calls = not texts.isdisjoint({"<|call|>", "<|calls|>"})
    if calls and not texts.isdisjoint({"<|return|>", "<|flush|>"}):
        # In OpenAI's harmony format and in Solar's, <|end|> ends a message, not the turn.
        ends = _without(vocabulary, ends, "<|end|>", USER_DEFINED)
    if not texts.isdisjoint({"<|tool_response>", "<|plamo:eos|>"}):
        ends = _without(vocabulary, ends, "</s>", NORMAL)
    vocabulary.ends = ends


def _without(vocabulary: Vocabulary, ends: list[int], name: str, kind: int) -> list[int]:
    """`ends` without the tokens of this name, which become of type `kind`."""
    for token_id in ends:
        if vocabulary.tokens[token_id] == name:
            vocabulary.types[token_id] = kind
    return [token_id for token_id in ends if vocabulary.tokens[token_id] != name]


def _adds_bos(metadata: Mapping[str, Any]) -> bool:
    """Where the file does not say, llama.cpp adds bos for SentencePiece models and some others."""
    return (
        metadata.get("tokenizer.ggml.model") == "llama"
        or metadata.get("tokenizer.ggml.pre") in WHOLE_WORDS
    )


def _flag(metadata: Mapping[str, Any], name: str, default: bool) -> bool:
    value = metadata.get(f"tokenizer.ggml.{name}", default)
    if not isinstance(value, bool):
        raise CheckpointError(f"tokenizer.ggml.{name} must be true or false, not {_shown(value)}.")
    return value


def tokenizer_config(
    metadata: Mapping[str, Any], vocabulary: Vocabulary | None = None
) -> dict[str, Any]:
    """The fields of `tokenizer_config.json` that a GGUF file knows.

    Raises:
        CheckpointError: see `read_vocabulary`.
    """
    if "tokenizer.ggml.tokens" not in metadata:
        return {}
    vocabulary = vocabulary or read_vocabulary(metadata)
    config: dict[str, Any] = {
        field: vocabulary.tokens[vocabulary.ids[role]]
        for field, role in SPECIAL_TOKENS.items()
        if role in vocabulary.ids
    }
    config["add_bos_token"] = vocabulary.adds_bos
    config["add_eos_token"] = vocabulary.adds_eos
    return config


def generation_config(vocabulary: Vocabulary) -> dict[str, Any]:
    """`bos_token_id`, and in `eos_token_id` every token that ends a turn, eos first."""
    config: dict[str, Any] = {"eos_token_id": vocabulary.ends} if vocabulary.ends else {}
    if "bos" in vocabulary.ids:
        config["bos_token_id"] = vocabulary.ids["bos"]
    return config


def token_ids(vocabulary: Vocabulary) -> dict[str, int]:
    """The ids of special tokens, as `config.json` has them."""
    roles = {"bos": "bos", "eos": "eos", "padding": "pad"}
    return {
        f"{name}_token_id": vocabulary.ids[role]
        for role, name in roles.items()
        if role in vocabulary.ids
    }


def pre_tokenizer_notes(metadata: Mapping[str, Any]) -> list[str]:
    """A sentence where the file does not say how text is split into words."""
    pre = metadata.get("tokenizer.ggml.pre")
    if metadata.get("tokenizer.ggml.model") != "gpt2" or (pre and pre not in DEFAULT):
        return []
    state = "absent" if pre is None else f"'{pre}'"
    return [
        f"the file does not say how text is split into words (tokenizer.ggml.pre is {state}), "
        "so llama.cpp's default is assumed, with which a model may be given other tokens than "
        "it was trained on; `relama new --tokenizer-pre NAME` says how: "
        "llama-bpe (Llama 3), smollm, gpt-2, ..."
    ]


def build_tokenizer(metadata: Mapping[str, Any], vocabulary: Vocabulary | None = None) -> Tokenizer:
    """The tokenizer that `tokenizer.ggml.*` describes.

    Raises:
        CheckpointError: a key is missing, or the parts do not fit together.
        UnsupportedError: the model or the pre-tokenizer is not supported.
    """
    model = metadata.get("tokenizer.ggml.model")
    if model is None:
        raise CheckpointError("the file has no tokenizer (tokenizer.ggml.model is missing).")
    if model not in MODELS:
        raise UnsupportedError(
            f"the tokenizer model {_shown(model)} is not supported; supported: {', '.join(MODELS)}."
        )
    vocabulary = vocabulary or read_vocabulary(metadata)
    if model == "llama" and not _flag(metadata, "add_space_prefix", True):
        vocabulary = _with_signs_of_spaces(vocabulary)
    try:
        if model == "llama":
            tokenizer = _sentencepiece(metadata, vocabulary)
        else:
            tokenizer = _byte_level(metadata, vocabulary)
        _add_special_tokens(tokenizer, vocabulary, str(metadata.get("general.name", "")))
        _add_template(tokenizer, vocabulary)
    except (CheckpointError, UnsupportedError):
        raise
    except Exception as error:  # tokenizers raises nothing more specific
        raise CheckpointError(f"the parts of tokenizer.ggml do not fit: {error}.") from error
    return tokenizer


def _with_signs_of_spaces(vocabulary: Vocabulary) -> Vocabulary:
    """The vocabulary with the signs that the converter took out of tokens that are added.

    Gemma's has runs of spaces as such tokens: those that a text spells with spaces are merged.
    """
    tokens = [
        token.replace(" ", SPACE) if kind == USER_DEFINED else token
        for token, kind in zip(vocabulary.tokens, vocabulary.types, strict=True)
    ]
    return replace(vocabulary, tokens=tokens)


def _byte_level(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> Tokenizer:
    """Byte-level BPE as of GPT-2: the vocabulary spells bytes as printable characters."""
    pre = metadata.get("tokenizer.ggml.pre") or "default"
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    spell_words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    steps: list[pre_tokenizers.PreTokenizer]
    if pre in DEFAULT:
        steps = [*(_split(pattern) for pattern in DEFAULT_WORDS), spell]
    elif pre in GPT2:
        steps = [spell_words]
    elif pre in DIGITS_APART:
        steps = [pre_tokenizers.Digits(individual_digits=True), spell_words]
    elif pre in LLAMA3 + LLAMA3_WORDS_ONLY:
        steps = [_split(LLAMA3_WORDS), spell]
    elif pre in QWEN2:
        steps = [_split(QWEN2_WORDS), spell]
    elif pre in GPT4O:
        steps = [_split(GPT4O_WORDS), spell]
    elif pre in TEKKEN:
        steps = [_split(TEKKEN_WORDS), spell]
    elif pre in DEEPSEEK3:
        steps = [*(_split(pattern) for pattern in DEEPSEEK3_WORDS), spell]
    else:
        raise UnsupportedError(
            f"the pre-tokenizer {_shown(pre)} (tokenizer.ggml.pre) is not supported; "
            f"supported: {SUPPORTED}."
        )
    tokenizer = Tokenizer(
        BPE(vocabulary.id_of, _stated_merges(metadata), ignore_merges=pre in WHOLE_WORDS)
    )
    if pre in QWEN2:
        # In Qwen's tokenizer.json; llama.cpp leaves it out.
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")


def _sentencepiece(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> Tokenizer:
    """SentencePiece's BPE with byte fallback, as transformers' `LlamaConverter` sets it up."""
    if "tokenizer.ggml.merges" in metadata:
        merges = _stated_merges(metadata)
    else:
        scores = _list(metadata, "tokenizer.ggml.scores", float, int)
        merges = _merges_of_scores(vocabulary, scores)
    unknown = vocabulary.ids.get("unknown")
    if UNKNOWN in vocabulary.types:
        unknown = vocabulary.types.index(UNKNOWN)
    prefix = _flag(metadata, "add_space_prefix", True)

    tokenizer = Tokenizer(
        BPE(
            vocabulary.id_of,
            merges,
            unk_token=None if unknown is None else vocabulary.tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    spaces = normalizers.Replace(" ", SPACE)
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if prefix else spaces
    )
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix:
        steps.append(decoders.Strip(" ", left=1, right=0))
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def _merges_of_scores(vocabulary: Vocabulary, scores: list[float]) -> list[tuple[str, str]]:
    """BPE merges, best first, from the scores of SentencePiece's pieces.

    SentencePiece merges the pair whose union scores best, so every way to cut
    a piece into two pieces is a merge, ranked by the score of the whole
    (`generate_merges` in transformers' `convert_slow_tokenizer.py`). As in llama.cpp,
    a piece of any type is one, but here a text never becomes a control token.
    """
    tokens, types = vocabulary.tokens, vocabulary.types
    if len(scores) != len(tokens):
        raise CheckpointError(
            f"tokenizer.ggml.scores has {len(scores)} values for {len(tokens)} tokens; "
            "their numbers must be equal."
        )
    if max(map(len, tokens), default=0) > LONGEST_PIECE:
        raise CheckpointError(
            f"tokenizer.ggml.tokens has a token of more than {LONGEST_PIECE} characters."
        )
    if any(math.isnan(score) for score in scores):
        raise CheckpointError("tokenizer.ggml.scores has a value that is not a number.")
    normal = [score for score, kind in zip(scores, types, strict=True) if kind == NORMAL]
    if len(set(normal)) == 1 < len(normal):
        raise CheckpointError(
            "tokenizer.ggml.scores are all equal and there are no tokenizer.ggml.merges, "
            "so the order of merges is lost; convert the model anew."
        )
    rank = {
        # The converter gives added tokens one bad score; SentencePiece finds runs of spaces first.
        token: (-math.inf, -len(token))
        if kind == USER_DEFINED and set(token) == {SPACE}
        else (-score, token_id)
        for token_id, (token, kind, score) in enumerate(zip(tokens, types, scores, strict=True))
        if kind not in (UNKNOWN, CONTROL)
    }
    merges: list[tuple[str, str]] = []
    for piece in sorted(rank, key=rank.__getitem__):
        cuts = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        pairs = [(left, right) for left, right in cuts if left in rank and right in rank]
        merges += sorted(pairs, key=lambda pair: (rank[pair[0]], rank[pair[1]]))
    return merges


def _stated_merges(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges as pairs; a file writes each as two tokens with a space between."""
    # Of a pair that is there twice, llama.cpp takes the first.
    merges: dict[tuple[str, str], None] = {}
    for merge in _list(metadata, "tokenizer.ggml.merges", str):
        left, space, right = merge.partition(" ")
        if not (left and space and right):
            raise CheckpointError(
                f"tokenizer.ggml.merges: {quoted(merge)} is not a pair of tokens."
            )
        merges.setdefault((left, right))
    return list(merges)


def _add_special_tokens(tokenizer: Tokenizer, vocabulary: Vocabulary, model_name: str) -> None:
    """Makes text that spells a control or user-defined token become that token's id."""
    # Phi-3's take the white space that follows; no file says so, llama.cpp goes by the name.
    strips = any(name in model_name.lower() for name in ("phi-3", "phi3"))
    special, others = [], []
    for token, kind in zip(vocabulary.tokens, vocabulary.types, strict=True):
        rstrip = strips and token not in ("<unk>", "<s>", "<|endoftext|>")
        if kind in (UNKNOWN, CONTROL):
            special.append(AddedToken(token, special=True, normalized=False, rstrip=rstrip))
        elif kind == USER_DEFINED:
            others.append(AddedToken(token, special=False, normalized=False, rstrip=rstrip))
    if len(special) + len(others) > MOST_ADDED_TOKENS:
        raise CheckpointError(
            f"tokenizer.ggml.token_type makes more than {MOST_ADDED_TOKENS} tokens special."
        )
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens(others)


def _add_template(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    """Puts bos before and eos after each text, where the file asks for them."""
    ids = vocabulary.ids
    begin = [ids["bos"]] if vocabulary.adds_bos and "bos" in ids else []
    end = [ids["eos"]] if vocabulary.adds_eos and "eos" in ids else []
    if begin or end:
        texts = [vocabulary.tokens[token_id] for token_id in begin + end]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*texts[: len(begin)], "$A", *texts[len(begin) :]],
            special_tokens=[*zip(texts, begin + end, strict=True)],
        )


def _list(metadata: Mapping[str, Any], key: str, *kinds: type) -> list[Any]:
    values = metadata.get(key)
    if values is None:
        raise CheckpointError(f"the tokenizer lacks {key}.")
    if not isinstance(values, list) or not all(type(value) in kinds for value in values):
        raise CheckpointError(f"{key} must be a list of {kinds[0].__name__}.")
    return values


def _shown(value: object) -> str:
    """A value for a message, not too long."""
    return quoted(value) if isinstance(value, str) else quoted(repr(value))[1:-1]
