"""The project's tokenizer: folder, BOS, end tokens, display and streaming."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer

from relama.checkpoint.base import Checkpoint
from relama.errors import InputError, ProjectError
from relama.runtime.tokenizer import ProjectTokenizer, TextStream, write_tokenizer

LINES = ["the cat sat on the mat", "the cat and the hat, a hat", "Grüße an die Katze"] * 3
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_end|>"]
CONFIG = {"bos_token": "<s>", "eos_token": "</s>"}


def byte_level() -> Tokenizer:
    """A byte-level BPE, as GPT-2's, Llama 3's and SmolLM2's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=330,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.add_tokens(["<think>"])
    return tokenizer


def byte_fallback() -> Tokenizer:
    """A BPE as Llama 2's: `▁` for spaces, and byte tokens for unknown characters."""
    pieces = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", *"thecasonmd,", "▁t", "he", "▁the", "▁c", "at", "▁cat", "at,", "\ufffd"]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("▁", "c"), ("a", "t"), ("▁c", "at")]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: token_id for token_id, piece in enumerate(pieces)},
            merges=merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    return tokenizer


def with_bos(tokenizer: Tokenizer) -> Tokenizer:
    bos = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
    return tokenizer


class FakeCheckpoint(Checkpoint):
    def __init__(
        self,
        tokenizer: Tokenizer,
        config: dict[str, Any] = CONFIG,
        generation_config: dict[str, Any] | None = None,
        chat_template: str | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self.tokenizer_config = config
        self.generation_config = generation_config or {}
        self.chat_template = chat_template

    def tokenizer(self) -> Tokenizer:
        return self._tokenizer


def project(directory: Path, tokenizer: Tokenizer, **fields: Any) -> ProjectTokenizer:
    write_tokenizer(FakeCheckpoint(tokenizer, **fields), directory)
    return ProjectTokenizer(directory)


TOKENIZERS = {"byte level": byte_level(), "byte fallback": byte_fallback()}
each_tokenizer = pytest.mark.parametrize("kind", TOKENIZERS)


def test_ids_that_are_no_tokens_have_no_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 3, "ab": 5}, [("a", "b")]))
    tokenizer.decoder = decoders.ByteLevel()
    holes = project(tmp_path, tokenizer, config={})
    assert holes.vocab_size == 6
    assert [holes.token(token_id) for token_id in range(6)] == ["a", "", "", "b", "", "ab"]
    assert holes.encode("aba") == [5, 0]
    assert holes.decode([5, 1, 0]) == "aba"
    stream = holes.stream()
    assert [stream.push(token_id) for token_id in (5, 4, 3)] == ["ab", "", "b"]
    with pytest.raises(InputError, match="token id 6 is not in the vocabulary"):
        holes.token(6)
    assert capfd.readouterr().out == ""


# The folder


def test_writes_the_same_files_for_every_checkpoint(tmp_path: Path) -> None:
    fields = {"generation_config": {"eos_token_id": 2}, "chat_template": "é{{ bos_token }}"}
    written = project(tmp_path, byte_level(), **fields)
    assert sorted(path.name for path in (tmp_path / "tokenizer").iterdir()) == [
        "chat_template.jinja",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert written.chat_template == "é{{ bos_token }}"
    assert written.render_chat([]) == "é<s>"
    assert written.vocab_size == byte_level().get_vocab_size()


def test_optional_files_of_an_earlier_checkpoint_are_removed(tmp_path: Path) -> None:
    project(tmp_path, byte_level(), generation_config={"a": 1}, chat_template="x")
    assert project(tmp_path, byte_level()).chat_template is None
    assert len(list((tmp_path / "tokenizer").iterdir())) == 2


def test_a_chat_without_template_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no chat template"):
        project(tmp_path, byte_level()).render_chat([{"role": "user", "content": "hi"}])


def test_a_directory_that_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="is not a project that relama wrote"):
        ProjectTokenizer(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    project(tmp_path, byte_level())
    (tmp_path / "tokenizer" / name).write_text("{", encoding="utf-8")
    with pytest.raises(ProjectError, match=name):
        ProjectTokenizer(tmp_path)


# Encoding


def test_special_tokens_in_the_text_are_recognised(tmp_path: Path) -> None:
    tokenizer = project(tmp_path, byte_level())
    ids = tokenizer.encode("the cat<|im_end|>")
    assert ids[-1] == 3
    assert tokenizer.decode(ids) == "the cat"
    assert tokenizer.decode(ids, skip_special_tokens=False) == "the cat<|im_end|>"


def test_lengths_in_the_checkpoint_do_not_cut_or_pad_a_prompt(tmp_path: Path) -> None:
    trained = byte_level()
    trained.enable_truncation(4)
    trained.enable_padding(length=4)
    tokenizer = project(tmp_path, trained)
    assert tokenizer.decode(tokenizer.encode(LINES[0])) == LINES[0]
    assert len(tokenizer.encode("a")) == 1


@pytest.mark.parametrize("processor", [False, True])
@pytest.mark.parametrize("flag", [None, False, True])
@pytest.mark.parametrize("text", ["the cat", "<s>the cat", "<s><s>the cat"])
def test_bos_is_added_once(tmp_path: Path, processor: bool, flag: bool | None, text: str) -> None:
    config = CONFIG if flag is None else {**CONFIG, "add_bos_token": flag}
    backend = with_bos(byte_level()) if processor else byte_level()
    tokenizer = project(tmp_path, backend, config=config)
    adds = (processor or flag is True) and not text.startswith("<s>")
    plain = tokenizer.encode(text, add_special_tokens=False)
    assert plain == byte_level().encode(text).ids
    assert tokenizer.encode(text) == ([1] if adds else []) + plain


def test_the_empty_text(tmp_path: Path) -> None:
    assert project(tmp_path, byte_level()).encode("") == []
    assert project(tmp_path, with_bos(byte_level())).encode("") == [1]


# End tokens


@pytest.mark.parametrize(
    ("generation_config", "config", "ids"),
    [
        ({"eos_token_id": 3}, CONFIG, {3}),
        ({"eos_token_id": [2, 3]}, CONFIG, {2, 3}),
        ({"temperature": 1.0}, CONFIG, {2}),
        ({}, CONFIG, {2}),
        ({}, {}, set()),
    ],
)
def test_end_token_ids(
    tmp_path: Path, generation_config: dict[str, Any], config: dict[str, Any], ids: set[int]
) -> None:
    fields = {"generation_config": generation_config, "config": config}
    assert project(tmp_path, byte_level(), **fields).end_token_ids == ids


def test_end_tokens_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r'eos_token_id is "</s>"; it should be'):
        project(tmp_path, byte_level(), generation_config={"eos_token_id": "</s>"})
    with pytest.raises(ProjectError, match=r'eos_token is "<end>", which is not a token'):
        project(tmp_path, byte_level(), config={"eos_token": "<end>"})


# Display


@each_tokenizer
def test_token_shows_what_it_adds_to_a_text(tmp_path: Path, kind: str) -> None:
    tokenizer = project(tmp_path, TOKENIZERS[kind])
    shown = [tokenizer.token(token_id) for token_id in tokenizer.encode("a the cat<|im_end|>")]
    assert shown[-3:] == [" the", " cat", "<|im_end|>"]


def test_token_shows_a_part_of_a_character_as_its_piece(tmp_path: Path) -> None:
    tokenizer = project(tmp_path, byte_fallback())
    assert tokenizer.token(tokenizer.encode("🙂")[-1]) == "<0x82>"
    assert tokenizer.token(tokenizer.encode("\n")[-1]) == "\n"
    assert project(tmp_path, byte_level()).token(byte_level().encode("🙂").ids[0]) == "ð"


@pytest.mark.parametrize("token_id", [-1, 10**6])
def test_token_outside_the_vocabulary(tmp_path: Path, token_id: int) -> None:
    with pytest.raises(InputError, match=f"token id {token_id} is not in the vocabulary of"):
        project(tmp_path, byte_level()).token(token_id)


# Streaming


def streamed(stream: TextStream, ids: list[int]) -> str:
    return "".join([*(stream.push(token_id) for token_id in ids), stream.flush()])


def any_ids(tokenizer: Tokenizer) -> st.SearchStrategy[list[int]]:
    """Ids as a model may choose them: texts, loose bytes, special and unknown tokens."""
    bytes_of = tokenizer.encode("🙂é\n€", add_special_tokens=False).ids
    loose = st.sampled_from([*bytes_of, *range(4)]).map(lambda token_id: [token_id])
    anything = st.integers(0, tokenizer.get_vocab_size() + 5).map(lambda token_id: [token_id])
    texts = st.one_of(st.text(max_size=6), st.sampled_from(["the cat", "  ", "👩‍👩‍👧", "�"]))
    encoded = texts.map(lambda text: tokenizer.encode(text, add_special_tokens=False).ids)
    runs = st.lists(st.one_of(loose, anything, encoded), max_size=8)
    return runs.map(lambda lists: list(chain.from_iterable(lists)))


@each_tokenizer
@given(data=st.data())
def test_a_stream_is_the_decoded_text(kind: str, data: st.DataObject) -> None:
    tokenizer = TOKENIZERS[kind]
    ids = data.draw(any_ids(tokenizer))
    assert streamed(TextStream(tokenizer), ids) == tokenizer.decode(ids)


@each_tokenizer
@given(data=st.data())
def test_a_stream_continues_its_prompt(kind: str, data: st.DataObject) -> None:
    tokenizer = TOKENIZERS[kind]
    prompt, ids = data.draw(any_ids(tokenizer)), data.draw(any_ids(tokenizer))
    rest = tokenizer.decode(prompt + ids)[len(tokenizer.decode(prompt)) :]
    assert streamed(TextStream(tokenizer, prompt), ids) == rest


@each_tokenizer
@given(text=st.text("the cat🙂é\n€"))
def test_what_is_pushed_never_changes_later(kind: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    stream = TextStream(tokenizer)
    printed = ""
    for token_id in tokenizer.encode(text).ids:
        printed += stream.push(token_id)
        assert text.startswith(printed)


def test_an_emoji_of_byte_tokens_comes_whole(tmp_path: Path) -> None:
    tokenizer = project(tmp_path, byte_level())
    stream = tokenizer.stream()
    pushed = [stream.push(token_id) for token_id in tokenizer.encode("a🙂")]
    assert pushed == ["a", "", "", "", "🙂"]
    assert stream.flush() == ""


def test_a_run_of_byte_tokens_waits_for_its_end(tmp_path: Path) -> None:
    # One invalid byte makes the ByteFallback decoder replace the whole run.
    tokenizer = project(tmp_path, byte_fallback())
    emoji = tokenizer.encode("🙂")[1:]
    the = tokenizer.encode("the")
    invalid = byte_fallback().token_to_id("<0xFF>")
    stream = tokenizer.stream()
    assert [stream.push(token_id) for token_id in [*emoji, *the]] == ["", "", "", "", "🙂 the"]
    assert streamed(tokenizer.stream(), [*emoji, invalid, *the]) == "\ufffd" * 5 + " the"
    assert streamed(tokenizer.stream(), [*emoji, 3, invalid]) == "\ufffd" * 5  # 3 is special
    assert streamed(tokenizer.stream(), emoji[:2]) == "\ufffd" * 2


def test_a_prompt_that_ends_within_a_character() -> None:
    tokenizer = TOKENIZERS["byte fallback"]
    *prompt, last = tokenizer.encode("🙂").ids[1:]
    letters = [tokenizer.token_to_id(letter) for letter in "cas"]
    stream = TextStream(tokenizer, prompt)
    assert tokenizer.decode(prompt) == "\ufffd" * 3
    assert [stream.push(token_id) for token_id in [last, *letters]] == ["", "", "", "s"]


def test_the_first_space_is_stripped_only_where_the_text_begins(tmp_path: Path) -> None:
    tokenizer = project(tmp_path, byte_fallback())
    the = tokenizer.encode("the")
    assert tokenizer.stream().push(the[0]) == "the"
    assert tokenizer.stream(tokenizer.encode("a cat")).push(the[0]) == " the"
    assert streamed(tokenizer.stream(), [1, *the, 1, *the]) == "the the"


def test_a_push_decodes_only_what_was_printed_last() -> None:
    tokenizer = byte_level()
    stream = TextStream(tokenizer)
    for token_id in tokenizer.encode("the cat 🙂 " * 50).ids:
        stream.push(token_id)
        assert len(stream._context) + len(stream._pending) <= 8


def test_the_files_are_readable_json(tmp_path: Path) -> None:
    project(tmp_path, byte_level(), generation_config={"eos_token_id": [2]})
    for path in (tmp_path / "tokenizer").glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))
