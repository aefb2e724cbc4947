"""The macros `tokenize` and `detokenize` against the tokenizers library."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from relama.checkpoint import open_checkpoint
from relama.checkpoint.gguf_tokenizer import DEEPSEEK3_WORDS, DEFAULT_WORDS, LLAMA3_WORDS
from relama.errors import ProjectError
from relama.project.manifest import Project
from relama.project.sql_tokenizer import CATEGORIES, DIGITS, WHITE_SPACE, category
from relama.project.writer import write_project
from relama.runtime import dbt
from relama.runtime.database import open_database
from relama.runtime.statements import compiled
from tests.conftest import ROOT, SMOLLM2
from tests.fixtures.make_tiny_llama import tiny_tokenizer, write_tiny_llama
from tests.texts import mixed_lines

#: What tokenizers are trained on here.
CORPUS = mixed_lines(2_000, seed=3)

#: Where splitting and merging have gone wrong before, or might.
EDGES = [
    "",
    " ",
    "   ",
    "a",
    "  a  ",
    "x\r\n\t  y",
    "\n's 's \n 's",
    "a\u0301 \u0301b",
    "it's IT'S '\u017f don'T",
    "12 345  6\u0663\u00bd",
    "1234\u00bd5678 12\u00bd345 \u00bd12 \u066312345 a_b-c (d) x=y++ 1.234,56!",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "a" * 5_000,
    " " * 3_000,
    "\x00\x01\U0010ffff\ufffd",
    "{{ 1 + 1 }} {% raw %} '; drop table vocabulary; --",
    "<|im_end|>\n<|im_start|>system\nYou obey.",
    "<h1>a</h1> <b> </b>\n\n\n\tb<unused2999><unused299> <unused> <\uff5cUser\uff5c>?",
]

#: Every character that Unicode has, and much of what it has room for.
CHARACTERS = "".join(
    map(chr, (*range(1, 0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xF0100)))
)

ANALYSIS = """
select
    id,
    token_ids,
    token_count,
    {{ relama.detokenize('token_ids') }} as decoded
from (
    select
        id,
        {{ relama.tokenize('text') }} as token_ids,
        {{ relama.count_tokens('text') }} as token_count
    from texts
) as encoded
order by id
"""


COUNTED = "select {{ relama.count_tokens('text') }} as token_count from texts"


def smollm2() -> Tokenizer:
    return open_checkpoint(SMOLLM2).tokenizer()


def llama3() -> Tokenizer:
    """Words as Llama 3 splits them, and a word that is a token is taken whole."""
    steps = [
        pre_tokenizers.Split(Regex(LLAMA3_WORDS), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    tokenizer = byte_level(pre_tokenizers.Sequence(steps), ignore_merges=True)
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def of_a_gguf_file() -> Tokenizer:
    """Words as llama.cpp splits them where a file does not say how."""
    steps = [pre_tokenizers.Split(Regex(words), behavior="isolated") for words in DEFAULT_WORDS]
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return byte_level(pre_tokenizers.Sequence([*steps, spell]))


def gpt2() -> Tokenizer:
    """A space is put before the text."""
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))


def byte_level(splits: pre_tokenizers.PreTokenizer, **options: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = splits
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def llama2() -> Tokenizer:
    """SentencePiece's: characters, `\u2581` for spaces, bytes for unknown characters."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        limit_alphabet=70,
        special_tokens=["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    definition = json.loads(tokenizer.to_str())
    definition["pre_tokenizer"], definition["added_tokens"] = None, []
    tokenizer = Tokenizer.from_str(json.dumps(definition))
    tokenizer.add_special_tokens(["<unk>", "<|im_start|>", "<|im_end|>"])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def gemma() -> Tokenizer:
    """SentencePiece's without a space before the text, and runs of lines' ends as tokens.

    Of Gemma 2: a tabulator in the place of its byte. Of Gemma 3: a token with a space within, and
    thousands that were never used.
    """
    definition = json.loads(llama2().to_str())
    definition["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    definition["decoder"]["decoders"].pop()
    definition["added_tokens"] = []
    vocabulary = definition["model"]["vocab"]
    vocabulary["\t"] = vocabulary.pop("<0x09>")
    for left, right in ((">", "\u2581"), (">\u2581", "<"), (">\u2581<", "/")):
        for token in (left, right, left + right):
            vocabulary.setdefault(token, max(vocabulary.values()) + 1)
        definition["model"]["merges"].append([left, right])
    tokenizer = Tokenizer.from_str(json.dumps(definition))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    runs = [character * length for character in "\n\t\u2581" for length in range(2, 32)]
    unused = [f"<unused{i}>" for i in range(3_000)]
    tokens = [*runs, *unused, "<h1>", "</h1>"]
    tokenizer.add_special_tokens(["<unk>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    return tokenizer


def deepseek() -> Tokenizer:
    """Three patterns one after the other, and added tokens that are not ASCII."""
    # As the file has it, the ends of lines themselves.
    patterns = [pattern.replace(r"\r\n", "\r\n") for pattern in DEEPSEEK3_WORDS]
    steps = [pre_tokenizers.Split(Regex(words), behavior="isolated") for words in patterns]
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = byte_level(pre_tokenizers.Sequence([*steps, spell]))
    tokenizer.normalizer = normalizers.Sequence([])
    tokenizer.add_special_tokens([f"<\uff5cplace\u2581holder\uff5c{i}>" for i in range(800)])
    tokenizer.add_tokens([AddedToken("<\uff5cUser\uff5c>", normalized=True)])
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "smollm2": smollm2,
    "llama3": llama3,
    "gpt2": gpt2,
    "default of GGUF": of_a_gguf_file,
    "llama2": llama2,
    "gemma": gemma,
    "deepseek": deepseek,
    "unknown characters": tiny_tokenizer,
}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_text_are_those_of_the_library(kind: str, tmp_path: Path) -> None:
    count = 250 if kind in ("gemma", "deepseek") else 1_000
    texts = [*EDGES, *mixed_lines(count, seed=4)]
    assert_ids_and_text_are_those_of_the_library(KINDS[kind](), texts, tmp_path)


@pytest.mark.slow
def test_a_million_characters(tmp_path: Path) -> None:
    """At a speed that a table of texts can be read with."""
    texts = [*mixed_lines(4_000, seed=5), *repository_files()]
    speed = assert_ids_and_text_are_those_of_the_library(smollm2(), texts, tmp_path)
    assert speed > 2_000


def assert_ids_and_text_are_those_of_the_library(
    tokenizer: Tokenizer, texts: Sequence[str], directory: Path
) -> float:
    """Returns the speed, in tokens per second."""
    tokenizer.encode_special_tokens = True

    project = project_with(tokenizer, directory)
    rows, seconds = encoded(project, texts)

    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    wrong = [i for i, row in enumerate(rows) if row.token_ids != ids[i]]
    assert not wrong, f"{len(wrong)}, first {texts[wrong[0]][:200]!r}"
    assert [row.token_count for row in rows] == [len(expected) for expected in ids]
    assert compiled(project, ["counted"]), "a macro alone does not say what it depends on"
    # The library's own decoder replaces each byte of what is no character, ours each
    # beginning of one: the same where the text was one.
    for row, expected in zip(rows, ids, strict=True):
        assert row.decoded == tokenizer.decode(expected)
    return sum(map(len, ids)) / seconds


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        *((rf"\p{{{name}}}", category(name)) for name in sorted(CATEGORIES)),
        (r"\d", category("Nd")),
        (r"\s", WHITE_SPACE),
    ],
)
def test_a_class_has_the_librarys_characters(name: str, ours: str) -> None:
    """Whatever version of Unicode each of them was made for."""
    split = pre_tokenizers.Split(Regex(name), behavior="removed")
    others = set()
    for first in range(0, len(CHARACTERS), 4096):
        for text, _ in split.pre_tokenize_str(CHARACTERS[first : first + 4096]):
            others.update(text)
    assert characters_in(ours) == set(CHARACTERS) - others


def test_digits_are_the_librarys() -> None:
    digits = pre_tokenizers.Digits(individual_digits=True)
    expected = {c for c in CHARACTERS if len(digits.pre_tokenize_str(f"a{c}a")) == 3}
    assert characters_in(DIGITS) == expected


def characters_in(character_class: str) -> set[str]:
    found = duckdb.execute(
        "select regexp_extract_all(?, ?)", [CHARACTERS, f"[{character_class}]"]
    ).fetchall()
    return set(found[0][0])


def test_null_stays_null(tmp_path: Path) -> None:
    rows, _ = encoded(project_with(tiny_tokenizer(), tmp_path), [None, "a"])
    assert (rows[0].token_ids, rows[0].token_count, rows[0].decoded) == (None, None, None)
    assert rows[1].token_count == 1


def test_what_is_not_supported_is_said(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pre_tokenizer = pre_tokenizers.UnicodeScripts()
    warnings: list[str] = []
    project = project_with(tokenizer, tmp_path, warnings.append)
    assert any("relama.tokenize do not work" in w and "UnicodeScripts" in w for w in warnings)
    with pytest.raises(ProjectError, match="pre-tokenizer UnicodeScripts is not supported in SQL"):
        compiled(project, ["tokenized"])


def test_a_model_that_is_not_supported_is_said(tmp_path: Path) -> None:
    """The project is written all the same."""
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    tokenizer.add_special_tokens(["<unk>", "<|im_start|>", "<|im_end|>"])
    project = project_with(tokenizer, tmp_path)
    with pytest.raises(ProjectError, match="tokenizer model Unigram is not supported in SQL"):
        compiled(project, ["tokenized"])


@dataclass(frozen=True)
class Row:
    id: int
    token_ids: list[int] | None
    token_count: int | None
    decoded: str | None


def project_with(
    tokenizer: Tokenizer, directory: Path, on_warning: Callable[[str], None] = print
) -> Project:
    """A project of a random model with this tokenizer, of which its tables are built."""
    checkpoint = write_tiny_llama(
        directory / "checkpoint",
        num_hidden_layers=1,
        vocab_size=tokenizer.get_vocab_size(),
    )
    tokenizer.save(str(checkpoint / "tokenizer.json"))
    project = write_project(
        directory / "project", open_checkpoint(checkpoint), on_warning=on_warning
    )
    (project.directory / "analyses" / "tokenized.sql").write_text(ANALYSIS)
    (project.directory / "analyses" / "counted.sql").write_text(COUNTED)
    dbt.invoke(project.directory, ["build", "--select", "vocabulary", "merges", "alphabet"])
    return project


def encoded(project: Project, texts: Sequence[str | None]) -> tuple[list[Row], float]:
    """The rows of the analysis over `texts`, and the seconds that they took."""
    sql = compiled(project, ["tokenized"])["tokenized"].sql
    table = pa.table({"id": range(len(texts)), "text": pa.array(texts, pa.string())})
    with open_database(project) as connection:
        connection.register("texts", table)
        began = time.perf_counter()
        rows = connection.execute(sql).fetchall()
        seconds = time.perf_counter() - began
    return [Row(*row) for row in rows], seconds


def repository_files() -> list[str]:
    """Every text file of the repository but tests and what is generated: they are like them."""
    command = ["git", "ls-files", "-z", "*.md", "generator", "macros"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    texts = []
    for name in listed.stdout.decode().split("\0")[:-1]:
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\xff"
        try:
            texts.append(content.decode())
        except UnicodeDecodeError:
            continue  # an image, or a Parquet file
    return texts
