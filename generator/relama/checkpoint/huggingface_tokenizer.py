"""The tokenizer of a Hugging Face directory, as transformers' `AutoTokenizer` builds it.

`tokenizer.json` is not all: tokens are added from `tokenizer_config.json` and older
files, and some classes are built anew from the vocabulary and the merges. What is
repeated here is transformers 5.24: `AutoTokenizer.from_pretrained`,
`PreTrainedTokenizerBase._from_pretrained` and `TokenizersBackend.__init__`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)

from relama.checkpoint.json_object import read_object_if_any
from relama.errors import CheckpointError, UnsupportedError

#: `SPECIAL_TOKENS_ATTRIBUTES`, in the order in which missing ones are added.
NAMED = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)

#: Left out where there is a tokenizer.json.
ADDS = ("add_bos_token", "add_eos_token")

#: Classes that take `tokenizer.json` as it is. (None: the class where none is named.)
AS_IT_IS = (None, "PreTrainedTokenizer", "PythonBackend", "TokenizersBackend")

#: The classes of model types that have one (`TOKENIZER_MAPPING_NAMES`).
OF_MODEL_TYPES = {
    **dict.fromkeys(
        ("mistral", "mixtral", "phi3", "olmo2", "olmo3", "granite"), "TokenizersBackend"
    ),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"), "Qwen2Tokenizer"),
    **dict.fromkeys(("gemma", "gemma2", "gemma3", "gemma3_text"), "GemmaTokenizer"),
}

#: Model types whose files may name the wrong one (`MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS`).
MISNAMED = ("phi3", "qwen2")

#: Classes that are built anew, and the tokens that they have unless others are named.
DEFAULTS: dict[str, dict[str, str | None]] = {
    "GPT2Tokenizer": {
        **dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"),
        "pad_token": None,
    },
    "LlamaTokenizer": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    "GemmaTokenizer": {
        name: f"<{name.removesuffix('_token')}>"
        for name in ("unk_token", "bos_token", "eos_token", "pad_token", "mask_token")
    },
    "Qwen2Tokenizer": {
        **dict.fromkeys(("unk_token", "eos_token", "pad_token"), "<|endoftext|>"),
        "bos_token": None,
    },
}

#: The pattern of `Qwen2Tokenizer` (`PRETOKENIZE_REGEX`).
QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: Texts that show whether a tokenizer that is built anew reads as `tokenizer.json` does.
PROBES = (
    "Hello, world! It's 12 + 345 = 357.",
    " two  spaces\n\n\tand a tab ",
    "naïve café, Straße, 你好, 🙂",
    "def f(x):\n    return x[0] != 'y'\n",
)

Token = str | AddedToken

_SENTENCEPIECE = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]


@dataclass
class TokenizerFiles:
    """What the files of a directory say of its tokenizer.

    Attributes:
        path: of `tokenizer.json`, which may be absent.
        definition: its content, empty where it is absent.
        tokenizer_class: the class that transformers takes, without `Fast`; None for that
            of the model.
        settings: the fields of `tokenizer_config.json`.
        named: special tokens by name: `bos_token`, ...
        extra: special tokens without a name.
        added: the added tokens by the ids that the files give them; only their order counts.
    """

    path: Path
    definition: dict[str, Any]
    tokenizer_class: str | None
    settings: Mapping[str, Any]
    named: dict[str, Token] = field(default_factory=dict)
    extra: list[Token] = field(default_factory=list)
    added: dict[int, AddedToken] = field(default_factory=dict)

    def build(self) -> Tokenizer:
        """The tokenizer, without truncation and padding.

        Raises:
            CheckpointError: the tokenizers library rejects `tokenizer.json`.
            UnsupportedError: a setting that relama does not do.
        """
        if self.settings.get("split_special_tokens"):
            raise UnsupportedError(
                f"{self.path.parent / 'tokenizer_config.json'}: split_special_tokens is not "
                "supported; supported: false."
            )
        try:
            tokenizer = Tokenizer.from_file(str(self.path))
            if self.tokenizer_class in DEFAULTS:
                tokenizer = self._built_anew(tokenizer)
        except Exception as error:  # tokenizers raises nothing more specific
            raise CheckpointError(f"{self.path} is not a valid tokenizer: {error}.") from error
        tokenizer.add_tokens(list(self._tokens_to_add(tokenizer)))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def warnings(self, tokenizer: Tokenizer) -> list[str]:
        """A sentence for each thing that was assumed when `tokenizer` was built."""
        sentences = []
        if "auto_map" in self.settings:
            sentences.append(
                "tokenizer_config.json names code of its own (auto_map), which relama does not "
                "run; tokenizer.json is read."
            )
        elif self.tokenizer_class not in (*AS_IT_IS, *DEFAULTS):
            sentences.append(
                f"transformers may build its {self.tokenizer_class} otherwise than tokenizer.json "
                "says; relama reads tokenizer.json."
            )
        if self.tokenizer_class in DEFAULTS:
            sentences += self._differences(tokenizer)
        forced = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"
        is_bpe = type(tokenizer.model).__name__ == "BPE" and not self.settings.get(forced)
        if self.settings.get("clean_up_tokenization_spaces") and not is_bpe:
            sentences.append(
                "tokenizer_config.json has clean_up_tokenization_spaces, which is not done: texts "
                "keep the spaces before punctuation."
            )
        bos = self.named.get("bos_token")
        if self.settings.get("add_bos_token") is True and bos is not None:
            ids = tokenizer.encode("a").ids
            if ids[:1] != [tokenizer.token_to_id(str(bos))]:
                sentences.append(
                    "tokenizer_config.json has add_bos_token, but the post-processor of "
                    f"tokenizer.json, which decides, does not add {str(bos)!r}; nor does "
                    "transformers."
                )
        return sentences

    def _differences(self, tokenizer: Tokenizer) -> list[str]:
        as_it_is = Tokenizer.from_file(str(self.path))
        as_it_is.add_tokens(list(self._tokens_to_add(as_it_is)))
        marks = [str(token) for token in (self.named.get("eos_token"), *self.extra[:1]) if token]
        for text in (*PROBES, *(f"a{mark}b {mark} c" for mark in marks)):
            if tokenizer.encode(text).ids != as_it_is.encode(text).ids:
                return [
                    f"tokenizer_config.json says {self.tokenizer_class}, which transformers 5 "
                    "builds from the vocabulary and the merges of tokenizer.json alone, and so "
                    f"does relama: tokenizer.json itself would read {text!r} otherwise."
                ]
        return []

    def _built_anew(self, tokenizer: Tokenizer) -> Tokenizer:
        """As `__init__` of the class does it."""
        model = self.definition["model"]
        merges = [
            (left, right)
            for merge in model["merges"]
            for left, right in [merge.split(" ") if isinstance(merge, str) else merge]
        ]
        match self.tokenizer_class:
            case "GPT2Tokenizer":
                built = Tokenizer(models.BPE(model["vocab"], merges, fuse_unk=False))
                prefix = bool(self.settings.get("add_prefix_space", False))
                built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
                built.decoder = decoders.ByteLevel()
            case "Qwen2Tokenizer":
                built = Tokenizer(models.BPE(model["vocab"], merges, fuse_unk=False))
                prefix = bool(self.settings.get("add_prefix_space", False))
                built.normalizer = normalizers.NFC()
                built.pre_tokenizer = pre_tokenizers.Sequence(
                    [
                        pre_tokenizers.Split(Regex(QWEN2_WORDS), behavior="isolated"),
                        pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False),
                    ]
                )
                built.decoder = decoders.ByteLevel()
            case "GemmaTokenizer":
                bpe = models.BPE(
                    model["vocab"],
                    merges,
                    fuse_unk=True,
                    byte_fallback=True,
                    unk_token=str(self.named.get("unk_token", "<unk>")),
                )
                built = Tokenizer(bpe)
                built.normalizer = normalizers.Replace(" ", "▁")
                built.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
                built.decoder = decoders.Sequence([*_SENTENCEPIECE])
            case _:
                bpe = models.BPE(model["vocab"], merges, fuse_unk=True, byte_fallback=True)
                built = Tokenizer(bpe)
                prefix = self.settings.get("add_prefix_space") in (None, True)
                scheme = "always" if self.settings.get("legacy") else "first"
                built.pre_tokenizer = pre_tokenizers.Metaspace(
                    replacement="▁", prepend_scheme=scheme if prefix else "never", split=False
                )
                strip = [decoders.Strip(content=" ", left=1)] if prefix else []
                built.decoder = decoders.Sequence([*_SENTENCEPIECE, *strip])
        if tokenizer.post_processor is not None:
            built.post_processor = tokenizer.post_processor
        return built

    def _tokens_to_add(self, tokenizer: Tokenizer) -> Iterator[AddedToken]:
        """What `TokenizersBackend.__init__` adds, in its order: known tokens get these flags."""
        tokens: list[Token] = [self.added[token_id] for token_id in sorted(self.added)]
        known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
        known |= set(map(str, tokens))
        for token in (*self.named.values(), *self.extra):
            if str(token) not in known and token not in tokens:
                tokens.append(token)
        names = set(map(str, self.named.values()))
        for token in tokens:
            if isinstance(token, str):
                token = AddedToken(token, special=True)
            elif str(token) in names:
                token.special = True  # `normalized`, where it is not given, goes with it.
            yield token


def read_tokenizer_files(
    directory: Path,
    settings: Mapping[str, Any],
    special_tokens_map: Mapping[str, Any],
    added_tokens: Mapping[str, Any],
    model_config: Mapping[str, Any],
) -> TokenizerFiles:
    """Reads what `PreTrainedTokenizerBase._from_pretrained` reads.

    Args:
        directory: of the checkpoint.
        settings: the fields of `tokenizer_config.json`.
        special_tokens_map: those of `special_tokens_map.json`, which older versions wrote.
        added_tokens: those of `added_tokens.json`, the same.
        model_config: those of `config.json`.

    Raises:
        CheckpointError: a file is not what it should be.
    """
    path = directory / "tokenizer.json"
    files = TokenizerFiles(path, read_object_if_any(path), None, settings)
    files.tokenizer_class = _class(files, model_config)
    older = "added_tokens_decoder" not in settings
    where = str(directory / "tokenizer_config.json")
    fields = {key: settings[key] for key in settings if key not in ADDS}
    if not fields.get("extra_special_tokens") and "additional_special_tokens" in fields:
        fields["extra_special_tokens"] = fields.pop("additional_special_tokens")
    if not isinstance(fields.get("extra_special_tokens") or [], list | dict):
        raise CheckpointError(f"{where}: extra_special_tokens must be a list of tokens.")
    texts = [key for key in fields if _is_specific(key) and isinstance(fields[key], str)]
    specific = {key: fields.pop(key) for key in texts}
    if isinstance(fields.get("extra_special_tokens"), dict):
        specific |= fields.pop("extra_special_tokens")
    if older:
        place = str(directory / "special_tokens_map.json")
        specific |= _add_special_tokens_map(fields, special_tokens_map, place)
        added = list(_older_added(files, fields, added_tokens))
    else:
        added = list(_added_tokens_decoder(settings["added_tokens_decoder"], where))
    files.added = dict(added)
    # The older name counts where the newer is not there, or was taken out.
    fields.setdefault("extra_special_tokens", fields.get("additional_special_tokens"))
    files.named, files.extra = _special_tokens(files, fields, specific, where)
    by_content = {token.content: token for _, token in added}
    for key in NAMED:
        if key in files.named and key in fields:
            token = files.named[key]
            files.named[key] = by_content.get(str(token), token)
    return files


def _class(files: TokenizerFiles, model_config: Mapping[str, Any]) -> str | None:
    """The class that `AutoTokenizer` takes, without `Fast`."""
    model_type = model_config.get("model_type")
    registered = OF_MODEL_TYPES.get(model_type) if isinstance(model_type, str) else None
    declared = files.settings.get("tokenizer_class") or model_config.get("tokenizer_class")
    name = declared.removesuffix("Fast") if isinstance(declared, str) else registered
    if model_type not in MISNAMED:
        if name == "LlamaTokenizer" and '"ByteLevel"' in json.dumps(files.definition):
            return None  # Llama 3's: `_tokenizer_json_has_byte_level`
    elif name is not None:
        name = registered
    if registered == "TokenizersBackend":
        name = registered
    model = files.definition.get("model")
    if name in DEFAULTS and not (isinstance(model, dict) and "merges" in model):
        return f"{name} of another model"
    return name


def _is_specific(key: str) -> bool:
    """Whether a field names a token of this model, such as `image_token`."""
    return key.endswith("_token") and key not in NAMED


def _add_special_tokens_map(
    fields: dict[str, Any], tokens: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Puts `special_tokens_map.json` before `tokenizer_config.json`.

    Returns: special tokens by names of the model's own.
    """
    specific: dict[str, Any] = {}
    for key, value in tokens.items():
        if key == "extra_special_tokens" and isinstance(value, list):
            known = fields.get(key) or []
            new = [_token(token, where, special=True) for token in value]
            fields[key] = [*known, *(token for token in new if token not in known)]
        elif key == "extra_special_tokens" and isinstance(value, dict):
            specific = value
        elif key in NAMED or _is_specific(key):
            fields[key] = None if value is None else _token(value, f"{where}: {key}", special=True)
        elif key == "additional_special_tokens":
            fields[key] = value
    return specific


def _special_tokens(
    files: TokenizerFiles, fields: Mapping[str, Any], specific: Mapping[str, Any], where: str
) -> tuple[dict[str, Token], list[Token]]:
    """The special tokens by name, and those without."""
    values = dict(DEFAULTS.get(files.tokenizer_class or "", {})) | dict(fields)
    padding = files.definition.get("padding")
    if isinstance(padding, dict):
        values.setdefault("pad_token", padding.get("pad_token"))
    own = {k: v for k, v in fields.items() if _is_specific(k) and isinstance(v, dict | Token)}
    values = {key: values.get(key) for key in NAMED} | own | dict(specific)
    named = {k: _token(v, f"{where}: {k}") for k, v in values.items() if v is not None}
    extra = fields.get("extra_special_tokens") or []
    if not isinstance(extra, list):
        raise CheckpointError(f"{where}: extra_special_tokens must be a list of tokens.")
    return named, [_token(token, f"{where}: extra_special_tokens") for token in extra]


def _added_tokens_decoder(decoder: object, where: str) -> Iterator[tuple[int, AddedToken]]:
    """The added tokens by id, as `tokenizer_config.json` has them."""
    if not isinstance(decoder, dict):
        raise CheckpointError(f"{where}: added_tokens_decoder must be an object.")
    for token_id, token in decoder.items():
        if not re.fullmatch("[0-9]{1,18}", token_id) or not isinstance(token, dict):
            raise CheckpointError(
                f"{where}: added_tokens_decoder must give each id a token, "
                f"not {token_id!r} {token!r}."
            )
        yield int(token_id), _added_token(token, f"{where}: added_tokens_decoder")


def _older_added(
    files: TokenizerFiles, fields: Mapping[str, Any], added_tokens: Mapping[str, Any]
) -> Iterator[tuple[int, AddedToken]]:
    """The added tokens by id, of `added_tokens.json` and of `tokenizer.json`."""
    known = (*(fields.get(key) for key in NAMED), *(fields.get("extra_special_tokens") or []))
    special = {str(token) for token in known if isinstance(token, Token)}
    for content, token_id in added_tokens.items():
        if type(token_id) is not int:
            place = files.path.parent / "added_tokens.json"
            raise CheckpointError(f"{place}: the id of {content!r} must be a whole number.")
        is_special = content in special
        yield token_id, AddedToken(content, normalized=not is_special, special=is_special)
    tokens = files.definition.get("added_tokens") or []
    for token in tokens if isinstance(tokens, list) else [tokens]:
        if not isinstance(token, dict) or type(token.get("id")) is not int:
            raise CheckpointError(f"{files.path}: added_tokens must be a list of tokens with ids.")
        yield token["id"], _added_token(token, f"{files.path}: added_tokens")


def _token(value: object, where: str, special: bool = False) -> Token:
    """A token as a file gives it: a text, or an object of a text and flags."""
    if isinstance(value, dict):
        return _added_token({**value, "special": True} if special else value, where)
    if isinstance(value, Token):
        return value
    raise CheckpointError(f"{where}: {value!r} is not a token.")


def _added_token(fields: Mapping[str, Any], where: str = "") -> AddedToken:
    """An `AddedToken` from its fields, as the files write them."""
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    content = fields.get("content")
    given = {flag: fields[flag] for flag in flags if flag in fields}
    if not isinstance(content, str) or not all(type(value) is bool for value in given.values()):
        raise CheckpointError(f"{where}: {dict(fields)!r} is not a token.")
    return AddedToken(content, **given)
