"""The tokenizer of a GGUF file, rebuilt for the tokenizers library.

The keys `tokenizer.ggml.*` are described at
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md under "Tokenizer".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

from generator.errors import CheckpointError, UnsupportedError

MODELS = ("gpt2", "llama")

#: `tokenizer.ggml.pre` of the byte-level models, grouped by how they split text into words.
GPT2 = ("gpt-2", "default")
DIGITS_APART = ("smollm",)
LLAMA3 = ("llama-bpe", "llama3", "llama-v3")

#: The pattern in the tokenizer.json of Llama 3.
LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: Values of `tokenizer.ggml.token_type`.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4

#: SentencePiece's sign for a space.
SPACE = "\u2581"

#: Fields of tokenizer_config.json and the keys that hold their ids.
SPECIAL_TOKENS = {
    "bos_token": "tokenizer.ggml.bos_token_id",
    "eos_token": "tokenizer.ggml.eos_token_id",
    "unk_token": "tokenizer.ggml.unknown_token_id",
    "pad_token": "tokenizer.ggml.padding_token_id",
}


def tokenizer_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `tokenizer_config.json` that a GGUF file knows.

    Raises:
        CheckpointError: the id of a special token is not in the vocabulary.
    """
    if "tokenizer.ggml.tokens" not in metadata:
        return {}
    tokens = _list(metadata, "tokenizer.ggml.tokens", str)
    config: dict[str, Any] = {}
    for field, key in SPECIAL_TOKENS.items():
        if (token_id := metadata.get(key)) is not None:
            if not isinstance(token_id, int) or not 0 <= token_id < len(tokens):
                raise CheckpointError(
                    f"{key} is {token_id!r}, but the vocabulary has {len(tokens)} tokens."
                )
            config[field] = tokens[token_id]
    # Where the file does not say, llama.cpp adds bos for SentencePiece models and Llama 3.
    adds_bos = (
        metadata.get("tokenizer.ggml.model") == "llama"
        or metadata.get("tokenizer.ggml.pre") in LLAMA3
    )
    config["add_bos_token"] = bool(metadata.get("tokenizer.ggml.add_bos_token", adds_bos))
    config["add_eos_token"] = bool(metadata.get("tokenizer.ggml.add_eos_token", False))
    return config


def build_tokenizer(metadata: Mapping[str, Any]) -> Tokenizer:
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
            f"the tokenizer model '{model}' is not supported; supported: {', '.join(MODELS)}."
        )
    tokens = _list(metadata, "tokenizer.ggml.tokens", str)
    types = _list(metadata, "tokenizer.ggml.token_type", int)
    if len(types) != len(tokens):
        raise CheckpointError(
            f"tokenizer.ggml.token_type has {len(types)} values for {len(tokens)} tokens; "
            "their numbers must be equal."
        )
    config = tokenizer_config(metadata)
    try:
        if model == "llama":
            tokenizer = _sentencepiece(metadata, tokens, types)
        else:
            tokenizer = _byte_level(metadata, tokens)
        _add_special_tokens(tokenizer, tokens, types)
        _add_template(tokenizer, config)
    except (CheckpointError, UnsupportedError):
        raise
    except Exception as error:  # tokenizers raises nothing more specific
        raise CheckpointError(f"the parts of tokenizer.ggml do not fit: {error}.") from error
    return tokenizer


def _byte_level(metadata: Mapping[str, Any], tokens: list[str]) -> Tokenizer:
    """Byte-level BPE as of GPT-2: the vocabulary spells bytes as printable characters."""
    pre = metadata.get("tokenizer.ggml.pre", "default")
    steps: list[pre_tokenizers.PreTokenizer]
    if pre in GPT2:
        steps = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    elif pre in DIGITS_APART:
        steps = [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    elif pre in LLAMA3:
        steps = [
            pre_tokenizers.Split(Regex(LLAMA3_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    else:
        raise UnsupportedError(
            f"the pre-tokenizer '{pre}' (tokenizer.ggml.pre) is not supported; "
            f"supported: {', '.join(GPT2 + DIGITS_APART + LLAMA3)}."
        )
    # Llama 3 takes a word that is in the vocabulary whole, whatever the merges say.
    tokenizer = Tokenizer(
        BPE(_vocabulary(tokens), _stated_merges(metadata), ignore_merges=pre in LLAMA3)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(metadata: Mapping[str, Any], tokens: list[str], types: list[int]) -> Tokenizer:
    """SentencePiece's BPE with byte fallback, as transformers' `LlamaConverter` sets it up."""
    if "tokenizer.ggml.merges" in metadata:
        merges = _stated_merges(metadata)
    else:
        scores = _list(metadata, "tokenizer.ggml.scores", float)
        merges = _merges_of_scores(tokens, types, scores)
    unknown = tokens[types.index(UNKNOWN)] if UNKNOWN in types else None
    prefix = bool(metadata.get("tokenizer.ggml.add_space_prefix", True))

    tokenizer = Tokenizer(
        BPE(_vocabulary(tokens), merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
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


def _merges_of_scores(
    tokens: list[str], types: list[int], scores: list[float]
) -> list[tuple[str, str]]:
    """BPE merges, best first, from the scores of SentencePiece's pieces.

    SentencePiece merges the pair whose union scores best, so every way to cut
    a piece into two pieces is a merge, ranked by the score of the whole
    (`generate_merges` in transformers' `convert_slow_tokenizer.py`).
    """
    if len(scores) != len(tokens):
        raise CheckpointError(
            f"tokenizer.ggml.scores has {len(scores)} values for {len(tokens)} tokens; "
            "their numbers must be equal."
        )
    rank = {
        token: (-score, token_id)
        for token_id, (token, kind, score) in enumerate(zip(tokens, types, scores, strict=True))
        if kind == NORMAL
    }
    if len({score for score, _ in rank.values()}) == 1 < len(rank):
        raise CheckpointError(
            "tokenizer.ggml.scores are all equal and there are no tokenizer.ggml.merges, "
            "so the order of merges is lost; convert the model anew."
        )
    merges: list[tuple[str, str]] = []
    for piece in sorted(rank, key=rank.__getitem__):
        cuts = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        pairs = [(left, right) for left, right in cuts if left in rank and right in rank]
        merges += sorted(pairs, key=lambda pair: (rank[pair[0]], rank[pair[1]]))
    return merges


def _stated_merges(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges as pairs; a file writes each as two tokens with a space between."""
    merges: list[tuple[str, str]] = []
    for merge in _list(metadata, "tokenizer.ggml.merges", str):
        left, space, right = merge.partition(" ")
        if not (left and space and right):
            raise CheckpointError(f"tokenizer.ggml.merges: {merge!r} is not a pair of tokens.")
        merges.append((left, right))
    return merges


def _add_special_tokens(tokenizer: Tokenizer, tokens: list[str], types: list[int]) -> None:
    """Makes text that spells a control or user-defined token become that token's id."""
    for token, kind in zip(tokens, types, strict=True):
        if kind in (UNKNOWN, CONTROL):
            tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif kind == USER_DEFINED:
            tokenizer.add_tokens([AddedToken(token, special=False, normalized=False)])


def _add_template(tokenizer: Tokenizer, config: Mapping[str, Any]) -> None:
    """Puts bos before and eos after each text, where the file asks for them."""
    bos = config.get("bos_token") if config["add_bos_token"] else None
    eos = config.get("eos_token") if config["add_eos_token"] else None
    ends = [token for token in (bos, eos) if token is not None]
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[token for token in (bos, "$A", eos) if token is not None],
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in ends],
        )


def _vocabulary(tokens: list[str]) -> dict[str, int]:
    return {token: token_id for token_id, token in enumerate(tokens)}


def _list(metadata: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    values = metadata.get(key)
    if values is None:
        raise CheckpointError(f"the tokenizer lacks {key}.")
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise CheckpointError(f"{key} must be a list of {kind.__name__}.")
    return values
