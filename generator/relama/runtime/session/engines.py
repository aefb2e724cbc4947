"""What advances a sequence by one token: a prepared statement, or dbt itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from relama.project.manifest import PAGE_SIZE, Project
from relama.runtime import dbt
from relama.runtime.memory import Piece, Weights, limited
from relama.runtime.session.state import State, Token
from relama.runtime.statements import (
    Statement,
    compiled,
    decode_statements,
    packing_statements,
    session_statements,
)
from relama.sampling import check_sampling
from relama.targets import Connection


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
    A sequence that outgrows the original context of LongRoPE is read again: with the token that
    is one too many, what the caches hold of it is of no use.
    """

    def __init__(
        self,
        project: Project,
        connection: Connection,
        sql: Mapping[str, Statement],
        decode: Mapping[str, Statement],
        sequence_id: int,
        weights: Weights | None = None,
    ) -> None:
        self.connection = connection
        self.state = State(project, connection, sequence_id)
        self._weights = weights or Weights()
        self._cached, self._waiting = 0, 0
        self._is_alone, self._is_long = False, False
        self._later: Sequence[Token] = ()
        self._target = project.target
        with self._target.preparing(project):
            own = self._target.open_session(project, connection, sequence_id)
            # The output of a step is the session's own, where that is another place.
            self.state.places = {name: own[name] for name in ("step",) if name in own}
            self._copies = [own[name] for name in project.kv_caches if name in own]
            self._step = self._prepared("step", sql["step"].reading(own))
            self._decode = self._prepared("decode", decode["step"].reading(own))
            self._appends = [
                statement
                for table in (*project.kv_caches, "tokens")
                for statement in self.state.prepare(f"append_{table}", table, sql[table])
            ]
        # Not prepared: a prepared statement keeps its rows in memory, here for 64 tokens.
        packed = packing_statements(project)
        self._packs = [f"insert into {table} {decode[table].sql}" for table in packed]

    def _prepared(self, name: str, statement: Statement) -> list[Piece]:
        """What to execute to insert a step into its table; the last is the insert itself."""
        if self._weights.plan is not None:
            return self._weights.pieces(statement)
        return [Piece(sql) for sql in self.state.prepare(name, "step", statement)]

    def start(self, token_ids: Sequence[int], sampling: tuple[float, int, float, int]) -> None:
        check_sampling(*sampling)
        with self.state.transaction():
            self._cached = self.state.set_tokens(token_ids)
            self._is_alone = self.state.is_alone()
            self._is_long = self.state.is_long(len(token_ids))
            self._waiting, self._later = len(token_ids) - self._cached, ()
            self._target.choose(self.connection, sampling)
        self._put_off()

    def step(self) -> int:
        self._put_off()
        while self._later:
            at_once = self._weights.prompt
            chunk, later = self._later[:at_once], self._later[at_once:]
            end = self._cached + self._waiting
            self._read(self._appends[:-1], partial(self.state.put_back, chunk, end, self._is_long))
            self._waiting, self._later = len(chunk), later
        end = self._cached + self._waiting
        if self.state.is_long(end + 1) and not self.state.is_long(end):
            self._read(self._appends, self._forget_cache)
            self._cached, self._waiting, self._is_long = 0, end + 1, True
        else:
            self._read(self._appends)
            self._waiting = 1
        return self.state.last_token_id(end)

    def _put_off(self) -> None:
        """Leaves as many tokens waiting as a step may read at once; the others come later."""
        at_once = self._weights.prompt
        if at_once and self._waiting > at_once:
            with self.state.transaction():
                tokens = self.state.cut_tokens(self._cached)
                self.state.put_back(tokens[:at_once], self._cached, self._is_long)
            self._waiting, self._later = at_once, tokens[at_once:]

    def _forget_cache(self) -> None:
        self.state.forget_cache()
        for copy in self._copies:
            self.connection.execute(self._target.emptied(copy))

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
            self.state.empty("step")
            with self._weights.reading(insert):
                execute(insert.sql)
            for statement in appends:
                execute(statement)
            if cached // PAGE_SIZE > self._cached // PAGE_SIZE:
                for statement in self._packs:
                    execute(statement)
                self.state.forget_unseen(cached)
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
        with self.project.target.connect(self.project) as connection:
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
        with self.project.target.connect(self.project) as connection:
            state = State(self.project, connection, self.sequence_id)
            with state.transaction():
                state.forget_unseen(state.has_read())
            return state.last_token_id()


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
            project.target.connect(project) as connection,
            limited(project, connection, decode["step"], memory_limit) as weights,
        ):
            yield Session(project, connection, sql, decode, sequence_id, weights)
