"""What the commands share on a terminal."""

from __future__ import annotations

import pytest

from relama.console import bar


def test_a_bar_stays_when_its_work_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("Loading weights") as move:
        move(1, total=1)
    assert "Loading weights" in capsys.readouterr().err


def test_a_bar_goes_with_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """What the command says of the error stands alone."""
    with pytest.raises(OSError, match="full"), bar("Loading weights") as move:
        move(1, total=2)
        raise OSError("full")
    assert capsys.readouterr().err.strip() == ""
