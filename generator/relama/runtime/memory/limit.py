"""A memory limit for a session: plans residency, and prepares the connection for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field

import duckdb

from relama.project.manifest import Project
from relama.runtime.database import kernels_of, reattach
from relama.runtime.memory.overhead import AHEAD, BEHIND, overhead, prompt_positions
from relama.runtime.memory.pieces import split
from relama.runtime.memory.prefetch import (
    SUPPORTED,
    BlockFile,
    Prefetcher,
    read_block_by_block,
)
from relama.runtime.memory.process_memory import free_sooner, trimmed_resident_set
from relama.runtime.memory.residency import Plan, plan_residency
from relama.runtime.memory.resident import hold, resident
from relama.runtime.memory.stored import Stored, block_size, stored_weights
from relama.runtime.profile import database_of
from relama.runtime.statements import Statement

#: Bytes of a process where the system does not say how large it is.
_UNKNOWN = 100_000_000


@dataclass(frozen=True)
class Piece:
    """A statement to execute, and how many streamed blocks it reads."""

    sql: str
    blocks: int = 0


@dataclass(frozen=True)
class Weights:
    """The weights of a session: where a statement finds them, and how it reads them.

    Attributes:
        plan: what is where; None without a limit.
        prefetcher: reads the streamed ones ahead; None where none are streamed.
        blocks: how many blocks each streamed table has, by its name.
        prompt: tokens of a prompt that a step may read at once; None is any number.
    """

    plan: Plan | None = None
    prefetcher: Prefetcher | None = None
    blocks: Mapping[str, int] = field(default_factory=dict)
    prompt: int | None = None

    def whole(self, statement: Statement) -> Piece:
        """A select that reads every weight, to be run in one piece."""
        moved = self.moved(statement)
        return self._piece(moved.sql, set(moved.tables()))

    def pieces(self, statement: Statement) -> list[Piece]:
        """What inserts a select that reads every weight into the table `step`, within the limit.

        Returns:
            Statements of their own, and last the insert. They are not prepared: a prepared
            statement would hold its intermediate rows until it runs again.
        """
        parts = split(self.moved(statement), "insert into step")
        last_use = {name: part for part in parts for name in part.tables}
        return [
            self._piece(part.sql, {name for name in part.tables if last_use[name] is part})
            for part in parts
        ]

    def rewind(self) -> None:
        """Says that the next piece is the first of a token."""
        if self.prefetcher:
            self.prefetcher.rewind()

    def reading(self, piece: Piece) -> AbstractContextManager[None]:
        """Surrounds the execution of a piece."""
        return self.prefetcher.reading(piece.blocks) if self.prefetcher else nullcontext()

    def moved(self, statement: Statement) -> Statement:
        """The same statement, reading the weights where they are."""
        if self.plan is None:
            return statement
        return statement.reading(resident(table.name for table in self.plan.resident))

    def _piece(self, sql: str, tables: Collection[str]) -> Piece:
        return Piece(sql, sum(self.blocks.get(name, 0) for name in tables))


def plan_session(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    statement: Statement,
    limit: int,
    whole: int = 0,
) -> tuple[Plan, list[Stored]]:
    """The plan of a session that runs `statement`, and how its weights are stored.

    Raises:
        InputError: the limit is too small.
    """
    ((threads,),) = connection.execute("select current_setting('threads')").fetchall()
    process = trimmed_resident_set() or _UNKNOWN
    native = kernels_of(project) is not None
    stored = stored_weights(connection, project.graph, statement.tables(), threads, native)
    tables = [weight.table for weight in stored]
    block = block_size(connection)
    needed = overhead(tables, project.config, process, threads, block, whole, native)
    return plan_residency(tables, limit, needed), stored


@contextmanager
def limited(
    project: Project,
    connection: duckdb.DuckDBPyConnection,
    statement: Statement,
    limit: int | None,
    whole: int = 0,
) -> Iterator[Weights]:
    """Sets a connection up to run `statement` within `limit` bytes; None is no limit.

    Args:
        whole: positions that it reads at once if it is run in one piece, or 0.

    Raises:
        InputError: the limit is too small.
    """
    if limit is None:
        yield Weights()
        return
    plan, stored = plan_session(project, connection, statement, limit, whole)
    prompt = prompt_positions(project.config, kernels_of(project) is not None)
    connection.execute("set temp_directory = ''")
    connection.execute("set allocator_flush_threshold = '16MB'")
    free_sooner()
    path = database_of(project).path
    names = {table.name for table in plan.resident}
    with closing(BlockFile(path, block_size(connection))) as file:
        held = [weight for weight in stored if weight.table.name in names]
        hold(connection, held, file, limit - plan.overhead.process)
        reattach(connection, project)
        database = limit - plan.overhead.process - plan.overhead.working
        if plan.streamed:
            database -= plan.overhead.ahead
        connection.execute(f"set memory_limit = '{database}B'")
        # Which rows are looked up, and which experts are read, is not known beforehand.
        streamed = [
            weight
            for weight in stored
            if weight.table.name not in names
            and not weight.table.looked_up
            and weight.table.share == 1
        ]
        if not streamed or not SUPPORTED:
            yield Weights(plan, prompt=prompt)
            return
        read_block_by_block(path)
        tables = [weight.blocks for weight in streamed]
        counts = {weight.table.name: len(weight.blocks.numbers) for weight in streamed}
        prefetcher = Prefetcher(file, tables, window=AHEAD, behind=BEHIND)
        with closing(prefetcher):
            prefetcher.start()
            yield Weights(plan, prefetcher, counts, prompt)
