"""Runs a compiled statement as several, so that intermediate rows are freed on the way.

DuckDB keeps the rows of every CTE until the statement ends: 256 KB for each, and for a
prompt of many tokens much more. dbt compiles each model of a step to a CTE, named
`__dbt__cte__MODEL`. Here a model that others read more than once becomes a temporary
table instead, under the same name, and what only one model reads stays a CTE of it.
"""

from __future__ import annotations

import re

from generator.errors import ProjectError

_PREFIX = "__dbt__cte__"
_NAME = re.compile(rf"\b{_PREFIX}\w+")
_BEGIN = re.compile(rf"\s*({_PREFIX}\w+)\s+as\s*\(")
# What may hold parentheses that do not count.
_TOKENS = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"[^\"]*\"|[()]", re.DOTALL)


def split(statement: str) -> tuple[list[str], str]:
    """The statements that make the temporary tables, in order, and the last, a select.

    Raises:
        ProjectError: the statement is not what dbt makes of models.
    """
    bodies, last = _models(statement)
    readers: dict[str, int] = dict.fromkeys(bodies, 0)
    for text in (*bodies.values(), last):
        for name in set(_NAME.findall(text)):
            readers[name] += 1
    tables = [name for name in bodies if readers[name] > 1]
    creates = [
        f"create or replace temporary table {name} as {_with(name, bodies, tables)}"
        f"select * from (\n{bodies[name]}\n)"
        for name in tables
    ]
    return creates, _with(None, {**bodies, "": last}, tables) + f"select * from (\n{last}\n)"


def _with(name: str | None, bodies: dict[str, str], tables: list[str]) -> str:
    """The CTEs that a model needs beside the temporary tables, as a WITH clause."""
    needed: set[str] = set()
    waiting = [name or ""]
    while waiting:
        for found in _NAME.findall(bodies[waiting.pop()]):
            if found not in needed and found not in tables:
                needed.add(found)
                waiting.append(found)
    ctes = [f"{cte} as (\n{body}\n)" for cte, body in bodies.items() if cte in needed]
    return f"with {', '.join(ctes)}\n" if ctes else ""


def _models(statement: str) -> tuple[dict[str, str], str]:
    """The select of each model by its CTE's name, and the select that reads them."""
    opening = re.compile(r"(?:\s|--[^\n]*\n)*with\b", re.IGNORECASE).match(statement)
    if opening is None:
        return {}, statement
    bodies: dict[str, str] = {}
    at = opening.end()
    while begin := _BEGIN.match(statement, at):
        end = _closing(statement, begin.end())
        bodies[begin[1]] = statement[begin.end() : end]
        at = end + 1
        if not (comma := re.compile(r"\s*,").match(statement, at)):
            return bodies, statement[at:]
        at = comma.end()
    return bodies, f"with {statement[at:]}"


def _closing(statement: str, at: int) -> int:
    """The place of the parenthesis that closes what was opened just before `at`."""
    depth = 1
    for token in _TOKENS.finditer(statement, at):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth == 0:
            return token.start()
    raise ProjectError("A compiled statement has a parenthesis that is not closed.")
