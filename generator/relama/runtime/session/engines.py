"""What advances a sequence by one token: a prepared statement, or dbt itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import duckdb

from relama.errors import ProjectError
from relama.project.manifest import PAGE_SIZE, Project
from relama.runtime import dbt
from relama.runtime.database import open_database
from relama.runtime.memory import Weights, limited
from relama.runtime.profile import database_of
from relama.runtime.session.state import State
from relama.runtime.statements import (
    Statement,
    compiled,
    decode_statements,
    packing_statements,
    session_statements,
)
from relama.sampling import check_sampling

#: How a session chooses tokens: plain dbt reads the seed, which no session changes.
_SAMPLING = "temp.main.session_sampling"
#: The tokens of a session's sequence: its steps read no other's.
_TOKENS = "temp.main.session_tokens"


class Engine(Protocol):
    """Both engines give identical results; they differ in speed and in what they need."""

    def start(self, token_ids: Sequence[int], sampling: tuple[float, int, float, int]) -> None:
        """Makes `token_ids` the sequence and sets temperature, top_k, top_p and seed."""

    def step(self) -> int:
        """Reads the tokens that are waiting, appends the next one, and returns its id."""


class Session:
    """Runs the compiled step as a prepared statement on one connection.

    Everything that a step changes is one transaction. There are two texts of the
    step: one for any number of tokens, and `decode` for one token of a sequence that is the
    only one in the state. Other sequences stay as they are.
    Within a memory limit a long prompt is read by several steps.
    """

    def __init__(
        self,
        project: Project,
        connection: duckdb.DuckDBPyConnection,
        sql: Mapping[str, Statement],
        decode: Mapping[str, Statement],
        sequence_id: int,
        weights: Weights | None = None,
    ) -> None:
        self.connection = connection
        self.state = State(project, connection, sequence_id)
        self._weights = weights or Weights()
        self._cached, self._waiting = 0, 0
        self._is_alone = False
        self._later: Sequence[int] = ()
        connection.execute(
            f"create or replace temporary table {_SAMPLING} "
            "(temperature double, top_k integer, top_p double, seed bigint)"
        )
        connection.execute(
            f"create or replace temporary view {_TOKENS} as "
            f"select * from {database_of(project).quoted}.tokens where sequence_id = {sequence_id}"
        )
        own = {"sampling": _SAMPLING, "tokens": _TOKENS}
        general, single = (texts["step"].reading(own) for texts in (sql, decode))
        try:
            self._step = self._weights.prepared(connection, "step", general)
            self._decode = self._weights.prepared(connection, "decode", single)
            for table in (*project.kv_caches, "tokens"):
                connection.execute(
                    f"prepare append_{table} as insert into {table} {sql[table].sql}"
                )
        except duckdb.Error as error:
            raise ProjectError(
                f"The compiled step of {project.directory} does not fit its tables "
                f"({str(error).splitlines()[0]}); run: relama build {project.directory}"
            ) from None
        self._appends = [f"execute append_{table}" for table in (*project.kv_caches, "tokens")]
        # Not prepared: a prepared statement keeps its rows in memory, here for 64 tokens.
        packed = packing_statements(project)
        self._packs = [f"insert into {table} {decode[table].sql}" for table in packed]

    def start(self, token_ids: Sequence[int], sampling: tuple[float, int, float, int]) -> None:
        check_sampling(*sampling)
        with self.state.transaction():
            self._cached = self.state.set_tokens(token_ids)
            self._is_alone = self.state.is_alone()
            end = len(token_ids)
            if self._weights.prompt:
                end = min(end, self._cached + self._weights.prompt)
                self.state.cut_tokens(end)
            self._waiting, self._later = end - self._cached, token_ids[end:]
            self.connection.execute(f"delete from {_SAMPLING}")
            self.connection.execute(f"insert into {_SAMPLING} values (?, ?, ?, ?)", [*sampling])

    def step(self) -> int:
        while self._later:
            at_once = self._weights.prompt
            chunk, later = self._later[:at_once], self._later[at_once:]
            end = self._cached + self._waiting
            self._read(self._appends[:-1], partial(self.state.append_tokens, chunk, end, end))
            self._waiting, self._later = len(chunk), later
        self._read(self._appends)
        self._waiting = 1
        return _chosen(self.state)

    def _read(self, appends: Sequence[str], then: Callable[[], None] = lambda: None) -> None:
        """Reads the tokens that are waiting; `then` is part of the transaction."""
        execute = self.connection.execute
        cached = self._cached + self._waiting
        *models, insert = self._decode if self._waiting == 1 and self._is_alone else self._step
        self._weights.rewind()
        for piece in models:
            with self._weights.reading(piece):
                execute(piece.sql)
        with self.state.transaction():
            execute("delete from step")
            with self._weights.reading(insert):
                execute(insert.sql)
            for statement in appends:
                execute(statement)
            if cached // PAGE_SIZE > self._cached // PAGE_SIZE:
                for statement in self._packs:
                    execute(statement)
            then()
        self._cached = cached


class DbtEngine:
    """Runs `dbt run` for each token and needs nothing but dbt; seconds per token."""

    def __init__(self, project: Project, sequence_id: int) -> None:
        self.project = project
        self.sequence_id = sequence_id
        self._sampling: dict[str, float] = {}

    def start(self, token_ids: Sequence[int], sampling: tuple[float, int, float, int]) -> None:
        check_sampling(*sampling)
        names = ("temperature", "top_k", "top_p", "seed")
        self._sampling = dict(zip(names, sampling, strict=True))
        with open_database(self.project) as connection:
            state = State(self.project, connection, self.sequence_id)
            with state.transaction():
                state.set_tokens(token_ids)

    def step(self) -> int:
        variables = json.dumps(
            {"relama_sampling": self._sampling, "relama_sequence_id": self.sequence_id}
        )
        # What dbt keeps for its documentation no step changes, and it takes a fifth of the time;
        # a log of every statement, a tenth.
        quick = ["--no-write-json", "--log-level-file", "info"]
        arguments = ["run", *quick, "--select", "tag:step", "--vars", variables]
        dbt.invoke(self.project.directory, arguments)
        with open_database(self.project) as connection:
            return _chosen(State(self.project, connection, self.sequence_id))


def _chosen(state: State) -> int:
    """The token that the last step has appended.

    Without parameters: for each of them DuckDB tries to import numpy and others, and a Ctrl-C
    that arrives while it looks for them is lost.
    """
    rows = state.connection.execute(
        f"select token_id from tokens where sequence_id = {state.sequence_id} "
        "order by position desc limit 1"
    ).fetchall()
    return int(rows[0][0])


@contextmanager
def open_engine(
    project: Project, name: str, memory_limit: int | None = None, *, sequence_id: int
) -> Iterator[Engine]:
    """The engine `session` or `dbt`, ready to start.

    Args:
        sequence_id: the sequence that it continues.
        memory_limit: bytes that this process may have in memory, engine `session`.

    Raises:
        ProjectError: the project is not built.
        InputError: the limit is too small for the model.
    """
    if name == "dbt":
        yield DbtEngine(project, sequence_id)
    else:
        sql = compiled(project, session_statements(project))
        decode = compiled(project, decode_statements(project), decode=True)
        with (
            open_database(project) as connection,
            limited(project, connection, decode["step"], memory_limit) as weights,
        ):
            yield Session(project, connection, sql, decode, sequence_id, weights)
