{#
    The Python that reads regular expressions, see `_read_form`: a copy of
    generator/relama/runtime/pattern.py, written by `make generate`.
#}
{% macro _pattern() -%}
{% raw %}r"""Regular expressions as trees: what a completion may be, before it is tokens.

A tree matches whole texts, character by character. Its shorthands are those of RE2, which is
DuckDB's engine (https://github.com/google/re2/wiki/Syntax): `\d`, `\w` and `\s` are ASCII, and
the dot is no line break. So `regexp_full_match` is true of what a tree allows.

The text of this module is also the macro `_pattern`, which runs as a Python job of dbt-duckdb's
where relama is not installed: it needs nothing but Python.
"""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple, NoReturn, Union

#: First and last code points, in order and without overlaps.
Ranges = tuple[tuple[int, int], ...]


class PatternError(ValueError):
    """A regular expression that is none, or one that is not understood."""


class Chars(NamedTuple):
    """One character of a set."""

    ranges: Ranges


class Sequence(NamedTuple):
    """One part after the other."""

    parts: "tuple[Node, ...]"


class Choice(NamedTuple):
    """One of several."""

    options: "tuple[Node, ...]"


class Repeat(NamedTuple):
    """An item, at least and at most so many times; without an end where `most` is None."""

    item: "Node"
    least: int
    most: int | None


Node = Union[Chars, Sequence, Choice, Repeat]  # noqa: UP007 (of names that are quoted above)

#: The last character of a text. The one behind it, which is none by Unicode, ends a text where
#: an automaton reads it: see `token_edges`.
LAST = 0x10FFFE
#: What is no character of a text: halves of surrogate pairs.
SURROGATES = (0xD800, 0xDFFF)
DIGITS: Ranges = ((48, 57),)
WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
SPACE: Ranges = ((9, 10), (12, 13), (32, 32))
SHORTHANDS = {"d": DIGITS, "w": WORD, "s": SPACE}
CONTROLS = {"n": 10, "t": 9, "r": 13, "f": 12, "v": 11, "a": 7}
#: JSON's escapes of one letter.
ESCAPES = {0x22: '"', 0x5C: "\\", 8: "b", 12: "f", 10: "n", 13: "r", 9: "t"}


def union(*sets: Iterable[tuple[int, int]]) -> Ranges:
    """The characters of any of several sets."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(pair for ranges in sets for pair in ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """All characters but those of a set."""
    found, begin = [], 0
    for first, last in union(ranges, [SURROGATES]):
        if begin < first:
            found.append((begin, first - 1))
        begin = last + 1
    return (*found, (begin, LAST)) if begin <= LAST else tuple(found)


ANY = Chars(complement(()))
NOTHING = Sequence(())


def literal(text: str) -> Node:
    """A text."""
    return Sequence(tuple(Chars(((ord(letter), ord(letter)),)) for letter in text))


def sequence(*parts: Node | None) -> Node | None:
    """One part after the other; None, which matches nothing, where one of them is."""
    kept = tuple(part for part in parts if part is not None)
    return Sequence(kept) if len(kept) == len(parts) else None


def choice(*options: Node | None) -> Node | None:
    """One of several; None where all of them are."""
    kept = tuple(option for option in options if option is not None)
    return (kept[0] if len(kept) == 1 else Choice(kept)) if kept else None


def repeat(item: Node | None, least: int, most: int | None) -> Node | None:
    """An item several times; None where that cannot be."""
    if item is None:
        return None if least else NOTHING
    return None if most is not None and most < least else Repeat(item, least, most)


def in_json(node: Node) -> Node | None:
    """What a JSON string has between its quotes where its value is a text of `node`.

    Each character has one spelling: quotes, backslashes and line breaks the escape of one
    letter, all others themselves. Other control characters have none.
    """
    if isinstance(node, Chars):
        raw = complement(union(complement(node.ranges), [(0, 31)], [(34, 34)], [(92, 92)]))
        escaped = [
            literal("\\" + letter)
            for code, letter in ESCAPES.items()
            if any(first <= code <= last for first, last in node.ranges)
        ]
        return choice(Chars(raw) if raw else None, *escaped)
    if isinstance(node, Sequence):
        return sequence(*map(in_json, node.parts))
    if isinstance(node, Choice):
        return choice(*map(in_json, node.options))
    return repeat(in_json(node.item), node.least, node.most)


def lengths(node: Node) -> tuple[int, int | None]:
    """The fewest and the most characters of a text; None for no end."""
    if isinstance(node, Chars):
        return 1, 1
    if isinstance(node, Repeat):
        least, most = lengths(node.item)
        if most == 0 or node.most == 0:
            return 0, 0
        both = most is not None and node.most is not None
        return least * node.least, most * node.most if both else None  # type: ignore[operator]
    if isinstance(node, Sequence):
        parts = [lengths(part) for part in node.parts]
        ends = [most for _, most in parts if most is not None]
        return sum(least for least, _ in parts), sum(ends) if len(ends) == len(parts) else None
    options = [lengths(option) for option in node.options]
    ends = [most for _, most in options if most is not None]
    return min(least for least, _ in options), max(ends) if len(ends) == len(options) else None


def size(node: Node) -> int:
    """How large the automaton of a tree is: a set of many characters counts ten times."""
    if isinstance(node, Chars):
        return 10 if sum(last - first for first, last in node.ranges) > 200 else 1
    if isinstance(node, Repeat):
        return 1 + size(node.item) * max(node.least, node.most or 1)
    return 1 + sum(map(size, node.parts if isinstance(node, Sequence) else node.options))


def written(node: Node) -> str:
    """A regular expression in the syntax of Rust's crate regex."""
    if isinstance(node, Chars):
        ranges = [
            f"\\x{{{first:x}}}" + (f"-\\x{{{last:x}}}" if last > first else "")
            for first, last in node.ranges
        ]
        return (
            ranges[0]
            if ranges and "-" not in ranges[0] and not ranges[1:]
            else (f"[{''.join(ranges)}]")
        )
    if isinstance(node, Sequence):
        return "".join(
            f"(?:{written(p)})" if isinstance(p, Choice) else written(p) for p in node.parts
        )
    if isinstance(node, Choice):
        return "|".join(map(written, node.options))
    most = "" if node.most is None else node.most
    return f"(?:{written(node.item)}){{{node.least},{most}}}"


def parsed(text: str) -> Node:
    """The tree of a regular expression that whole texts match."""
    options = tuple(node for node, _, _ in _Parser(text).branches())
    return options[0] if len(options) == 1 else Choice(options)


def found(text: str) -> Node:
    """The tree of the texts in which a regular expression finds something, as JSON schemas mean it.

    What is around it, where it has no anchor, is at most 64 characters.
    """
    around = Repeat(ANY, 0, 64)
    options: list[Node] = []
    for node, begins, ends in _Parser(text).branches():
        if begins and ends:
            options.append(node)
        else:
            around_it = [() if anchored else (around,) for anchored in (begins, ends)]
            options.append(Sequence((*around_it[0], node, *around_it[1])))
    return options[0] if len(options) == 1 else Choice(tuple(options))


class _Parser:
    """A regular expression, read from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0

    def fail(self, what: str) -> NoReturn:
        raise PatternError(f"{what} at character {self.place + 1}")

    def peek(self) -> str:
        return self.text[self.place : self.place + 1]

    def take(self, text: str) -> bool:
        taken = self.text.startswith(text, self.place)
        self.place += len(text) * taken
        return taken

    def branches(self) -> list[tuple[Node, bool, bool]]:
        """The alternatives of the whole, and whether they have `^` before and `$` behind."""
        read = []
        while True:
            begins = self.take("^") or self.take("\\A")
            node = self.parts()
            ends = self.take("$") or self.take("\\z")
            read.append((node, begins, ends))
            if self.take("|"):
                continue
            if not self.peek():
                return read
            self.fail(
                "a ')' without a '('"
                if self.peek() == ")"
                else f"'{self.peek()}' stands elsewhere than at the beginning or the end,"
            )

    def parts(self) -> Node:
        parts: list[Node] = []
        while (
            self.peek()
            and self.peek() not in "|)^$"
            and not self.text.startswith("\\z", self.place)
        ):
            parts.append(self.repeated(self.atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def repeated(self, node: Node) -> Node:
        counts = self.count()
        if counts is None:
            return node
        self.take("?")  # As few as possible: the same texts.
        if self.peek() == "+" or self.count() is not None:
            self.fail("a repetition of a repetition")
        least, most = counts
        if most is not None and most < least:
            self.fail(f"the repetition {{{least},{most}}} has more at least than at most")
        return Repeat(node, least, most)

    def count(self) -> tuple[int, int | None] | None:
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(sign):
                return counts
        end = self.text.find("}", self.place)
        if self.peek() != "{" or end < 0:
            return None
        least, comma, most = self.text[self.place + 1 : end].partition(",")
        if not _is_number(least) or (most and not _is_number(most)):
            return None
        self.place = end + 1
        return int(least), (int(most) if most else None) if comma else int(least)

    def atom(self) -> Node:
        if self.take("("):
            return self.group()
        if self.take("["):
            return Chars(self.set())
        if self.take("."):
            return Chars(complement(((10, 10),)))
        if self.take("\\"):
            return Chars(self.escape())
        if self.peek() in "*+?":
            self.fail(f"'{self.peek()}' has nothing to repeat")
        return Chars(self.letter())

    def letter(self) -> Ranges:
        code = ord(self.text[self.place])
        if code > LAST or SURROGATES[0] <= code <= SURROGATES[1]:
            self.fail(f"U+{code:X} is no character,")
        self.place += 1
        return ((code, code),)

    def group(self) -> Node:
        if self.take("?"):
            if self.take("P<") or (
                self.peek() == "<" and self.text[self.place + 1 :][:1] not in "=!"
            ):
                end = self.text.find(">", self.place)
                self.place = end + 1 if end >= 0 else len(self.text)
            elif not self.take(":"):
                self.fail("only plain groups are understood, no look-around and no flags:")
        options = [self.parts()]
        while self.take("|"):
            options.append(self.parts())
        if self.peek() in ("^", "$"):
            self.fail(f"'{self.peek()}' stands within a group,")
        if not self.take(")"):
            self.fail("a '(' has no ')'")
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def set(self) -> Ranges:
        negated = self.take("^")
        ranges: list[Ranges] = []
        while not self.take("]") or not ranges:
            if ranges == [] and self.text[self.place - 1] == "]":
                first: Ranges = ((93, 93),)
            elif not self.peek():
                self.fail("a '[' has no ']'")
            elif self.peek() == "[" and self.text[self.place + 1 :][:1] == ":":
                self.fail("a class such as [:alpha:] is not understood; write \\p{L}")
            else:
                first = self.escape() if self.take("\\") else self.letter()
            if self.peek() == "-" and self.text[self.place + 1 :][:1] not in ("]", ""):
                self.place += 1
                last = self.escape() if self.take("\\") else self.letter()
                if (
                    len(first) + len(last) > 2
                    or first[0][0] != first[0][1]
                    or last[0][0] != last[0][1]
                ):
                    self.fail("a range between sets")
                if last[0][0] < first[0][0]:
                    self.fail("a range whose end is before its beginning")
                first = ((first[0][0], last[0][0]),)
            ranges.append(first)
        return complement(union(*ranges)) if negated else union(*ranges)

    def escape(self) -> Ranges:
        letter = self.peek()
        self.place += 1
        if not letter:
            self.fail("a '\\' at the end")
        if letter.lower() in SHORTHANDS:
            ranges = SHORTHANDS[letter.lower()]
            return ranges if letter.islower() else complement(ranges)
        if letter in CONTROLS:
            return ((CONTROLS[letter], CONTROLS[letter]),)
        if letter in "xu":
            return self.hexadecimal(2 if letter == "x" else 4)
        if letter in "pP":
            name = self.braced() if self.peek() == "{" else self.text[self.place : self.place + 1]
            self.place += self.text[self.place - 1 : self.place] != "}"
            ranges = _category(name)
            if not ranges:
                self.fail(f"no category of Unicode is named '{name}',")
            return ranges if letter == "p" else complement(ranges)
        if letter.isalnum():
            self.fail(f"'\\{letter}' is not understood")
        return ((ord(letter), ord(letter)),)

    def braced(self) -> str:
        end = self.text.find("}", self.place)
        if end < 0:
            self.fail("a '{' has no '}'")
        name = self.text[self.place + 1 : end]
        self.place = end + 1
        return name

    def hexadecimal(self, count: int) -> Ranges:
        if self.peek() == "{":
            digits = self.braced()
        else:
            digits = self.text[self.place : self.place + count]
            self.place += count
        try:
            code = int(digits, 16)
        except ValueError:
            self.fail(f"'{digits}' are no hexadecimal digits,")
        if code > LAST or SURROGATES[0] <= code <= SURROGATES[1]:
            self.fail(f"U+{digits} is no character,")
        return ((code, code),)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


@lru_cache
def _category(name: str) -> Ranges:
    """The characters of a category of Unicode, such as L or Lu."""
    if len(name) > 2:
        return ()
    codes = [
        code
        for code in range(LAST + 1)
        if not SURROGATES[0] <= code <= SURROGATES[1]
        and unicodedata.category(chr(code)).startswith(name or "?")
    ]
    runs = (list(run) for _, run in groupby(enumerate(codes), lambda pair: pair[1] - pair[0]))
    return tuple((run[0][1], run[-1][1]) for run in runs)
{% endraw %}
{%- endmacro %}
