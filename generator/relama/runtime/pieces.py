"""Runs a compiled statement as several, so that intermediate rows are freed on the way.

DuckDB keeps the rows of every CTE until the statement ends: 256 KB for each, and for a
prompt of many tokens much more. dbt compiles each model of a step to a CTE, named
`__dbt__cte__MODEL`. Here a model that several others read becomes a temporary table
instead, under the same name; what only one model reads stays a CTE of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from relama.errors import ProjectError
from relama.names import CTE_PREFIX

_NAME = re.compile(rf"\b{CTE_PREFIX}\w+")
_OPENING = re.compile(r"(?:\s|--[^\n]*\n)*with\b", re.IGNORECASE)
_BEGIN = re.compile(rf"\s*({CTE_PREFIX}\w+)\s+as\s*\(")
_COMMA = re.compile(r"\s*,")
# Parentheses, and what may hold some that do not count.
_TOKEN = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"[^\"]*\"|[()]", re.DOTALL)
_DEPTH = {"(": 1, ")": -1}


def split(statement: str, write: str) -> list[str]:
    """The statements to be executed, in order, instead of one.

    Each but the last is its own transaction, so that what it drops is freed. Temporary
    tables that the last reads stay until the statements are executed again.

    Args:
        statement: a compiled select.
        write: what is done with its rows: the words before the select.

    Raises:
        ProjectError: the statement is not what dbt makes of models.
    """
    models, last = _models(statement)
    readers = dict.fromkeys(models, 0)
    for text in (*models.values(), last):
        for name in set(_NAME.findall(text)):
            readers[name] += 1
    tables = [name for name in models if readers[name] > 1]
    heads = [*(f"create or replace temporary table {name} as" for name in tables), write]
    texts = [*(models[name] for name in tables), last]
    selects = [_with_ctes(text, models, tables) for text in texts]
    # The last statement that reads a table, by its name.
    last_use = {name: i for i, select in enumerate(selects) for name in _NAME.findall(select)}
    statements = []
    for i, (head, select) in enumerate(zip(heads, selects, strict=True)):
        statements.append(f"{head} {select}")
        if i < len(tables):
            statements += [f"drop table {name}" for name in tables if last_use[name] == i]
    return statements


def _with_ctes(text: str, models: Mapping[str, str], tables: Collection[str]) -> str:
    """A model's select with the models that only it reads, as CTEs."""
    needed: set[str] = set()
    waiting = [text]
    while waiting:
        for name in _NAME.findall(waiting.pop()):
            if name not in needed and name not in tables:
                needed.add(name)
                waiting.append(models[name])
    ctes = [f"{name} as (\n{body}\n)" for name, body in models.items() if name in needed]
    return f"with {', '.join(ctes)}\nselect * from (\n{text}\n)" if ctes else text


def _models(statement: str) -> tuple[dict[str, str], str]:
    """The select of each model by its CTE's name, and the select that reads them."""
    opening = _OPENING.match(statement)
    if opening is None:
        return {}, statement
    models: dict[str, str] = {}
    at = opening.end()
    while begin := _BEGIN.match(statement, at):
        end = _closing(statement, begin.end())
        models[begin[1]] = statement[begin.end() : end]
        at = end + 1
        comma = _COMMA.match(statement, at)
        if comma is None:
            return models, statement[at:]
        at = comma.end()
    return models, f"with {statement[at:]}"


def _closing(statement: str, at: int) -> int:
    """The place of the parenthesis that closes the one just before `at`."""
    depth = 1
    for token in _TOKEN.finditer(statement, at):
        depth += _DEPTH.get(token[0], 0)
        if depth == 0:
            return token.start()
    raise ProjectError("A compiled statement has a parenthesis that is never closed.")
