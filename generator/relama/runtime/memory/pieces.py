"""Runs a statement as several, so that intermediate rows are freed on the way.

DuckDB keeps the rows of every CTE until the statement ends: 256 KB for each, and for a
prompt of many tokens much more. Here a model that several others read becomes a temporary
table instead, under the name of its CTE; what only one model reads stays a CTE of it.
"""

from __future__ import annotations

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

    Each but the last is its own transaction, so that what it drops is freed. Temporary
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
    heads = [*(f"create or replace temporary table {CTE_PREFIX}{n} as" for n in shared), write]
    wholes = [*(models[name] for name in shared), statement.last]
    # The models of each part: its CTEs in order, and the one that reads them.
    made_of = []
    for whole in wholes:
        needed = statement.below(whole, alone)
        made_of.append([*(models[name] for name in models if name in needed), whole])
    last_use = {
        name: i for i, part in enumerate(made_of) for model in part for name in model.inputs
    }
    parts = []
    for i, (head, whole) in enumerate(zip(heads, wholes, strict=True)):
        tables = tuple(table for model in made_of[i] for table in model.tables)
        parts.append(Part(f"{head} {statement.select(whole, alone)}", tables))
        if i < len(shared):
            dropped = [name for name in shared if last_use[name] == i]
            parts += [Part(f"drop table {CTE_PREFIX}{name}") for name in dropped]
    return parts
