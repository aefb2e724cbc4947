"""Ends a text at a stop text, while the text still arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence

from relama.errors import InputError


class StopTexts:
    """Passes streamed text on until a stop text appears.

    The first stop text to be complete ends the text; where several are complete
    at the same character, the one that begins earliest does. The text is cut
    where that stop text begins. How the text was split into pieces does not
    matter. A suffix that may be the beginning of a stop text is held back.

    Attributes:
        stopped: a stop text has been seen; everything after it is dropped.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises `InputError` where a stop text is empty."""
        if "" in stops:
            raise InputError("a stop text is empty; give at least one character, or leave it out")
        self.stopped = False
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> str:
        """Takes the next piece and returns what is now safe to print."""
        if self.stopped:
            return ""
        text = self._held + text
        starts = ((text.find(stop), stop) for stop in self._stops)
        # (end, start) of the first occurrence of each stop text that occurs.
        found = [(start + len(stop), start) for start, stop in starts if start >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)[1]]
        safe = len(text) - self._held_length(text)
        self._held = text[safe:]
        return text[:safe]

    def flush(self) -> str:
        """What is still held back, when no more text comes. Nothing once stopped."""
        held, self._held = self._held, ""
        return held

    def _held_length(self, text: str) -> int:
        """Length of the longest suffix of `text` that is the beginning of a stop text."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for length in range(min(longest, len(text)), 0, -1):
            suffix = text[-length:]
            if any(stop.startswith(suffix) for stop in self._stops):
                return length
        return 0
