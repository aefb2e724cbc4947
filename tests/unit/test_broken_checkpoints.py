"""A broken checkpoint is refused in one sentence that names what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from relama.checkpoint import open_checkpoint
from relama.errors import CheckpointError
from tests.unit.broken_checkpoints import BROKEN, Broken, write_directory, write_gguf, write_shards


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.write.__name__)
def test_one_sentence_names_what_is_wrong(case: Broken, tmp_path: Path) -> None:
    path = case.write(tmp_path)
    with pytest.raises(case.error) as raised:
        open_checkpoint(path).tokenizer()
    text = str(raised.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text.removeprefix(str(path))) < 300
    for name in case.names:
        assert name in text


@pytest.mark.parametrize("length", range(0, 1500, 50))
def test_a_gguf_file_cut_anywhere_is_refused(length: int, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf")
    path.write_bytes(path.read_bytes()[: max(4, length)])
    with pytest.raises(CheckpointError, match=r"truncated"):
        open_checkpoint(path)


def test_what_they_are_broken_from_is_sound(tmp_path: Path) -> None:
    for path in (
        write_directory(tmp_path / "one"),
        write_shards(tmp_path / "shards"),
        write_gguf(tmp_path / "model.gguf"),
    ):
        assert open_checkpoint(path).tokenizer().get_vocab_size() == 8
