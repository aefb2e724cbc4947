"""The tokenizer of a directory, its chats and end tokens, beside transformers' own.

Each example is a directory with the files that people have: tokens in `tokenizer.json`, in
`tokenizer_config.json` and in the older files, with every flag, of each tokenizer class.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from relama.architectures import ARCHITECTURES
from relama.checkpoint import open_checkpoint
from relama.checkpoint.huggingface_tokenizer import OF_MODEL_TYPES
from relama.errors import RelamaError
from relama.runtime.tokenizer import ProjectTokenizer, write_tokenizer
from tests.unit.broken_checkpoints import CONFIG, weights

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import transformers
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

SPECIAL = ("<unk>", "<s>", "</s>")
#: Tokens that tokenizer.json may not have; `de` is one of its ordinary tokens.
OTHERS = ("<|im_start|>", "<|im_end|>", "<pad>", "de", " x ", "<|endoftext|>")
CLASSES = (
    "PreTrainedTokenizerFast",
    "PreTrainedTokenizer",
    "TokenizersBackend",
    "LlamaTokenizer",
    "LlamaTokenizerFast",
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "OfNobodyTokenizer",
)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "<|im_end|>{{ eos_token }}\n{% endfor %}{{ image_token }}"
)
#: Where a directory has its chat template: in files, or in `tokenizer_config.json`.
PLACES = (
    {"chat_template.jinja": TEMPLATE},
    {"chat_template.jinja": "beside", "additional_chat_templates/default.jinja": TEMPLATE},
    {"chat_template.jinja": TEMPLATE, "additional_chat_templates/tool_use.jinja": "tools"},
    TEMPLATE,
    [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": TEMPLATE}],
)


def test_every_architecture_has_the_tokenizer_class_of_its_model_type() -> None:
    theirs = {name: TOKENIZER_MAPPING_NAMES.get(name) for name in ARCHITECTURES}
    assert {name: OF_MODEL_TYPES.get(name) for name in ARCHITECTURES} == theirs


def byte_level() -> Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("d", "e"), ("Ġ", "a"), ("1", "2"), ("Ġ", "Ġ")]
    pieces = [*SPECIAL, *letters, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sentencepiece(metaspace: bool) -> Tokenizer:
    """As Llama 2's: as converted by transformers 5, or by earlier versions."""
    merges = [("d", "e"), ("▁", "a"), ("1", "2"), ("▁", "▁")]
    pieces = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abdexims12<>|/\n"]
    pieces += ["".join(pair) for pair in merges]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    unknown = None if metaspace else "<unk>"
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    return tokenizer


def template(single: str) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=single, special_tokens=[(token, i) for i, token in enumerate(SPECIAL)]
    )


BASES = {
    "byte level": byte_level,
    "metaspace": lambda: sentencepiece(True),
    "prepend": lambda: sentencepiece(False),
}
PROCESSORS = {None: None, "bos": template("<s> $A"), "both": template("<s> $A </s>")}

flags = st.fixed_dictionaries(
    {},
    optional={
        key: st.booleans() for key in ("lstrip", "rstrip", "normalized", "single_word", "special")
    },
)
contents = st.sampled_from((*SPECIAL, *OTHERS))


@st.composite
def objects(draw: st.DrawFn, typed: bool) -> dict[str, Any]:
    """A token with its flags; `typed` as tokenizer_config.json has those with a name."""
    fields = {"content": draw(contents), **draw(flags)}
    return {"__type": "AddedToken", **fields} if typed else fields


named = st.one_of(st.none(), contents, objects(True))
extra = st.lists(st.one_of(contents, objects(True)), max_size=3)
decoder = st.dictionaries(st.integers(0, 300).map(str), objects(False), max_size=4)
switches = {
    key: st.sampled_from((None, False, True))
    for key in ("add_bos_token", "add_eos_token", "add_prefix_space", "legacy")
}
tokenizer_configs = st.fixed_dictionaries(
    {},
    optional={
        "tokenizer_class": st.sampled_from(CLASSES),
        **dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), named),
        "image_token": st.one_of(contents, objects(True)),
        "extra_special_tokens": st.one_of(
            extra, st.dictionaries(st.sampled_from(("image_token", "boi_token")), contents)
        ),
        "additional_special_tokens": extra,
        "added_tokens_decoder": decoder,
        **switches,
    },
)
older = st.one_of(contents, objects(False))
special_tokens_maps = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("bos_token", "eos_token", "pad_token", "image_token"), older),
        "extra_special_tokens": st.lists(older, max_size=2),
        "additional_special_tokens": st.lists(contents, max_size=3),
    },
)
added_tokens = st.dictionaries(contents, st.integers(0, 300), max_size=3)
end_tokens = st.one_of(st.none(), st.integers(0, 5), st.lists(st.integers(0, 5), max_size=3))
texts = st.lists(
    st.one_of(contents, st.sampled_from([" ", "  ", "\n", "a", "abad", " a", "12", "é", "🙂"])),
    max_size=8,
).map("".join)


@st.composite
def directories(draw: st.DrawFn) -> dict[str, str]:
    """The files of a checkpoint that concern its tokenizer and its end tokens."""
    tokenizer = BASES[draw(st.sampled_from(sorted(BASES)))]()
    if (processor := PROCESSORS[draw(st.sampled_from(list(PROCESSORS)))]) is not None:
        tokenizer.post_processor = processor
    for token in draw(st.lists(objects(False), max_size=4)):
        tokenizer.add_tokens([AddedToken(**token)])
    config = CONFIG | {"eos_token_id": draw(end_tokens)}
    files: dict[str, Any] = {"config.json": config}
    for name, fields in (
        ("tokenizer_config.json", tokenizer_configs),
        ("special_tokens_map.json", special_tokens_maps),
        ("added_tokens.json", added_tokens),
        (
            "generation_config.json",
            st.fixed_dictionaries({}, optional={"eos_token_id": end_tokens}),
        ),
    ):
        if draw(st.booleans()):
            files[name] = draw(fields)
    templates = draw(st.sampled_from(PLACES))
    if isinstance(templates, dict):
        written = templates
    else:
        files.setdefault("tokenizer_config.json", {})["chat_template"] = templates
        written = {}
    written = written | {name: json.dumps(fields) for name, fields in files.items()}
    return written | {"tokenizer.json": tokenizer.to_str()}


def end_token_ids(directory: Path, tokenizer: Any) -> set[int]:
    """Where `generate` stops; without any such token, relama takes the tokenizer's."""
    load = transformers.GenerationConfig.from_pretrained
    if (directory / "generation_config.json").exists():
        ids = load(directory).eos_token_id
    else:
        ids = load(directory, "config.json", _from_model_config=True).eos_token_id
    ids = tokenizer.eos_token_id if ids is None else ids
    return set() if ids is None else {ids} if isinstance(ids, int) else set(ids)


def check(files: dict[str, str], samples: list[str]) -> bool:
    """Compares all of one directory; False where neither reads it."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        for name, text in files.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(text, encoding="utf-8")
        save_file(weights(), directory / "model.safetensors")
        try:
            theirs = transformers.AutoTokenizer.from_pretrained(directory)
        except Exception:
            return False  # What transformers rejects may be read or refused.
        try:
            write_tokenizer(open_checkpoint(directory), directory / "project")
        except RelamaError:
            return False
        ours = ProjectTokenizer(directory / "project")
        assert ours.end_token_ids == end_token_ids(directory, theirs)
        for text in samples:
            plain = theirs.encode(text, add_special_tokens=False)
            assert ours.encode(text, add_special_tokens=False) == plain
            if plain[:1] != [theirs.bos_token_id]:  # relama puts no second one there
                assert ours.encode(text) == theirs.encode(text)
            messages = [{"role": "user", "content": text}]
            chat = theirs.apply_chat_template(messages, return_dict=False)
            assert ours.encode(ours.render_chat(messages), add_special_tokens=False) == chat
    return True


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(files=directories(), samples=st.lists(texts, min_size=1, max_size=5))
def test_ids_are_those_of_transformers(files: dict[str, str], samples: list[str]) -> None:
    assume(check(files, samples))
