"""Runs a statement as several, so that intermediate rows are freed on the way.

DuckDB keeps the rows of every CTE until the statement ends: 256 KB for each, and for a
prompt of many tokens much more. Here a model that several others read becomes a temporary
table instead, in the place of one that is done; what only one model reads stays a CTE of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relama.names import CTE_PREFIX
from relama.runtime.statements import Statement


@dataclass(frozen=True)
class Part:
    """A statement of its own.

    Attributes:
        sql: its text.
        tables: the tables that it reads, in order of use.
    """

    sql: str
    tables: tuple[str, ...] = ()


def split(statement: Statement, write: str) -> list[Part]:
    """What is to be executed, in order, instead of one statement.

    Each but the last is its own transaction, so that what it replaces is freed. Temporary
    tables that the last reads stay until the statements are executed again.

    Args:
        statement: what is to be taken apart.
        write: what is done with its rows: the words before the select.
    """
    models = statement.models
    readers = dict.fromkeys(models, 0)
    for model in (*models.values(), statement.last):
        for name in set(model.inputs):
            readers[name] += 1
    shared = [name for name in models if readers[name] > 1]
    alone = models.keys() - set(shared)
    wholes = [*(models[name] for name in shared), statement.last]
    # The models of each part: its CTEs in order, and the one that reads them.
    made_of = []
    for whole in wholes:
        needed = statement.below(whole, alone)
        made_of.append([*(models[name] for name in models if name in needed), whole])
    last_use = {
        name: i for i, part in enumerate(made_of) for model in part for name in model.inputs
    }
    places = [f"{CTE_PREFIX}{p}" for p in _places([last_use[name] for name in shared])]
    names = {f"{CTE_PREFIX}{name}": place for name, place in zip(shared, places, strict=True)}
    heads = [*(f"create or replace temporary table {place} as" for place in places), write]
    return [
        Part(
            f"{head} {_renamed(statement.select(whole, alone), names)}",
            tuple(table for model in models_of for table in model.tables),
        )
        for head, whole, models_of in zip(heads, wholes, made_of, strict=True)
    ]


def _places(last_use: Sequence[int]) -> list[int]:
    """Numbers for tables that are made one after the other; one that is done gives its own up.

    Args:
        last_use: of each table, when it is read for the last time.
    """
    free: list[int] = []
    places: list[int] = []
    for i in range(len(last_use)):
        # What is replaced must not be read by the statement that replaces it.
        free += [places[j] for j in range(i) if last_use[j] == i - 1]
        places.append(free.pop() if free else len(set(places)))
    return places


def _renamed(sql: str, names: Mapping[str, str]) -> str:
    """A text with other names for the tables that it reads."""
    return re.sub(rf"\b{CTE_PREFIX}\w+\b", lambda found: names.get(found[0], found[0]), sql)
