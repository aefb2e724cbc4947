"""Stop texts in streamed text, against `str.find` on the whole text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relama.errors import InputError
from relama.runtime.session.stopping import StopTexts


def cut(text: str, stops: list[str]) -> tuple[str, bool]:
    """The definition: the stop text complete first, of those the one that begins first."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


def run(stop_texts: StopTexts, pieces: list[str]) -> str:
    return "".join([*(stop_texts.push(piece) for piece in pieces), stop_texts.flush()])


@given(
    st.lists(st.text("abc", max_size=5), max_size=12),
    st.lists(st.text("abc", min_size=1, max_size=4), max_size=4),
)
def test_equals_the_cut_of_the_whole_text(pieces: list[str], stops: list[str]) -> None:
    stop_texts = StopTexts(stops)
    text, stopped = cut("".join(pieces), stops)
    assert run(stop_texts, pieces) == text
    assert stop_texts.stopped == stopped


@given(st.lists(st.text("ab", max_size=4)), st.text("ab", min_size=1, max_size=4))
def test_one_stop_text_is_str_find(pieces: list[str], stop: str) -> None:
    text = "".join(pieces)
    found = text.find(stop)
    assert run(StopTexts([stop]), pieces) == (text if found < 0 else text[:found])


@given(st.lists(st.text("abc", max_size=5)), st.text("abc", min_size=1, max_size=4))
def test_holds_back_no_more_than_a_beginning_of_the_stop_text(pieces: list[str], stop: str) -> None:
    stop_texts = StopTexts([stop])
    text = printed = ""
    for piece in pieces:
        text += piece
        printed += stop_texts.push(piece)
        if stop_texts.stopped:
            break
        assert stop.startswith(text.removeprefix(printed))


def test_a_beginning_is_held_until_it_is_something_else() -> None:
    stop_texts = StopTexts(["###"])
    assert [stop_texts.push(piece) for piece in ("a#", "#", "b##")] == ["a", "", "##b"]
    assert not stop_texts.stopped
    assert stop_texts.flush() == "##"


def test_the_first_complete_stop_text_wins_in_any_split() -> None:
    assert run(StopTexts(["abcd", "bc"]), ["abcd"]) == "a"
    assert run(StopTexts(["abcd", "bc"]), list("abcd")) == "a"
    assert run(StopTexts(["abc", "bc"]), ["xabc"]) == "x"


def test_text_after_the_stop_is_dropped() -> None:
    stop_texts = StopTexts(["\n\n"])
    assert stop_texts.push("one\n") == "one"
    assert stop_texts.push("\ntwo") == ""
    assert stop_texts.stopped
    assert stop_texts.push("three") == ""
    assert stop_texts.flush() == ""


def test_an_empty_stop_text_is_an_error() -> None:
    with pytest.raises(InputError, match="stop text is empty"):
        StopTexts(["a", ""])
