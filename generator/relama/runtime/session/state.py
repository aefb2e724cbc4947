"""The state of sequences: their tokens and KV caches, in the tables of a project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb

from relama.errors import InputError, ProjectError
from relama.project.manifest import PAGE_SIZE, Project


class State:
    """The tokens and KV caches of a sequence; others in the same tables are left alone.

    The state holds whole tokens only: every method that changes it is one
    transaction, or part of the caller's.
    """

    def __init__(
        self, project: Project, connection: duckdb.DuckDBPyConnection, sequence_id: int
    ) -> None:
        self.project = project
        self.connection = connection
        self.sequence_id = sequence_id
        self._caches, self._pages = project.kv_caches, project.kv_pages
        self._require_tables()

    def _require_tables(self) -> None:
        found = {
            name
            for (name,) in self.connection.execute(
                "select table_name from information_schema.tables where "
                "table_catalog = current_database() and table_schema = current_schema()"
            ).fetchall()
        }
        missing = {"sequences", "step", "sampling", *self.project.state_tables} - found
        if missing:
            raise ProjectError(
                f"{self.project.directory} has not been built completely (there is no table "
                f"'{min(missing)}'); run: relama build {self.project.directory}"
            )

    @contextmanager
    def transaction(self, keep: bool = True) -> Iterator[None]:
        """Runs its body as one transaction, which is undone on an error or unless `keep`."""
        self.connection.execute("begin")
        try:
            yield
        except BaseException:
            self.connection.execute("rollback")
            raise
        self.connection.execute("commit" if keep else "rollback")

    def token_ids(self) -> list[int]:
        """All tokens of the sequence, prompt and generated, in order."""
        rows = self.connection.execute(
            "select token_id from tokens where sequence_id = ? order by position",
            [self.sequence_id],
        ).fetchall()
        return [token_id for (token_id,) in rows]

    def set_tokens(self, token_ids: Sequence[int]) -> int:
        """Makes `token_ids` the sequence, keeping the cache of what it begins with.

        What the state holds already and the new tokens share stays; the rest is
        forgotten, and the new tokens wait for the next step as a prompt.

        Returns:
            How many tokens the next step need not read again.

        Raises:
            InputError: no tokens, more than the context holds, or one out of range.
        """
        self.check_tokens(token_ids)
        held = self.token_ids()
        shared = 0
        while shared < min(len(held), len(token_ids) - 1) and held[shared] == token_ids[shared]:
            shared += 1
        execute = self.connection.execute
        read = min(self.has_read(), shared)
        sequence = [self.sequence_id]
        execute("delete from tokens where sequence_id = ? and position >= ?", [*sequence, shared])
        for cache in self._caches:
            execute(
                f"delete from {cache} where sequence_id = ? and position >= ?", [*sequence, read]
            )
        for pages in self._pages:
            execute(
                f"delete from {pages} where sequence_id = ? and first_position + ? > ?",
                [*sequence, PAGE_SIZE, read],
            )
        self.append_tokens(token_ids[shared:], first_position=shared, has_read=read)
        return read

    def has_read(self) -> int:
        """How many tokens of the sequence have been read."""
        rows = self.connection.execute(
            "select has_read from sequences where sequence_id = ?", [self.sequence_id]
        ).fetchall()
        return int(rows[0][0]) if rows else 0

    def is_alone(self) -> bool:
        """Whether the state holds no other sequence."""
        rows = self.connection.execute(
            "select 1 from sequences where sequence_id <> ? limit 1", [self.sequence_id]
        ).fetchall()
        return not rows

    def cut_tokens(self, length: int) -> None:
        """Forgets the tokens after the first `length`, which no step has read."""
        self.connection.execute(
            "delete from tokens where sequence_id = ? and position >= ?",
            [self.sequence_id, length],
        )

    def append_tokens(self, token_ids: Sequence[int], first_position: int, has_read: int) -> None:
        """Adds tokens of a prompt to the sequence, which the next step will read.

        Args:
            has_read: how many tokens of the sequence have been read.
        """
        self.connection.execute(
            "insert into tokens (sequence_id, position, token_id, is_prompt, has_read) "
            "select ?, ? + i - 1, ids[i], true, ? "
            "from (select ?::integer[] as ids), range(1, ? + 1) as r (i)",
            [self.sequence_id, first_position, has_read, list(token_ids), len(token_ids)],
        )

    def clear(self) -> None:
        """Forgets all sequences."""
        for table in self.project.state_tables:
            self.connection.execute(f"delete from {table}")

    def check_tokens(self, token_ids: Sequence[int]) -> None:
        """Raises `InputError` for no tokens, more than the context holds, or one out of range."""
        config = self.project.config
        if not token_ids:
            raise InputError("The prompt is empty; give at least one token.")
        if len(token_ids) > config.max_position_embeddings:
            raise InputError(
                f"The prompt has {len(token_ids)} tokens, more than the context of "
                f"{config.max_position_embeddings}."
            )
        for token_id in token_ids:
            if not 0 <= token_id < config.vocab_size:
                raise InputError(
                    f"The token id {token_id} is outside the vocabulary of {config.vocab_size}."
                )


@contextmanager
def scratch(project: Project, connection: duckdb.DuckDBPyConnection) -> Iterator[State]:
    """A state with nothing in it to work on, whose changes are rolled back in the end."""
    state = State(project, connection, sequence_id=0)
    with state.transaction(keep=False):
        state.clear()
        yield state
