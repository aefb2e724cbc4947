"""The state of sequences: their tokens and KV caches, in the tables of a project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

from relama.errors import InputError, ProjectError
from relama.names import kv_cache, kv_pages
from relama.project.manifest import PAGE_SIZE, Project
from relama.runtime.statements import Statement
from relama.targets import Connection

#: How far a text can be taken back without being read again from its start: as many positions, or a
#: window where that is less. Turns of a conversation are mostly shorter.
REWIND = 512


class Token(NamedTuple):
    """A token of a sequence, with what the table `tokens` says of it."""

    token_id: int
    is_prompt: bool = True
    logprob: float | None = None

    def sql(self, has_read: int) -> str:
        """The values of its row, from `token_id` to `logprob`."""
        logprob = "null" if self.logprob is None else repr(self.logprob)
        return f"{self.token_id}, {str(self.is_prompt).lower()}, {has_read}, {logprob}"


class State:
    """The tokens and KV caches of a sequence; others in the same tables are left alone.

    The state holds whole tokens only: every method that changes it is one
    transaction, or part of the caller's.

    Attributes:
        places: where tables are that are not where the models of their names are.
    """

    def __init__(
        self,
        project: Project,
        connection: Connection,
        sequence_id: int,
        places: Mapping[str, str] | None = None,
    ) -> None:
        self.project = project
        self.connection = connection
        self.sequence_id = int(sequence_id)
        self.places = places or {}
        _require_tables(project, connection)

    def transaction(self) -> AbstractContextManager[None]:
        """Runs its body as one transaction, where the database has them."""
        return self.project.target.transaction(self.connection)

    def place(self, table: str) -> str:
        """Where a table is, as it stands in SQL."""
        return self.places.get(table, table)

    def rows(self, statement: Statement, columns: str, order: str) -> list[tuple[Any, ...]]:
        """What a select returns on this state, in an order."""
        return self.project.target.rows(
            self.connection, statement.reading(self.places), columns, order
        )

    def prepare(self, name: str, table: str, statement: Statement) -> Sequence[str]:
        """Prepares to insert a select into a table. Returns what to execute for that."""
        return self.project.target.prepare(
            self.connection, name, self.place(table), statement.reading(self.places)
        )

    def empty(self, table: str) -> None:
        """Deletes all rows of a table."""
        self.connection.execute(self.project.target.emptied(self.place(table)))

    def clear(self) -> None:
        """Forgets all sequences."""
        for table in self.project.state_tables:
            self.empty(table)

    def logprobs(self) -> list[float]:
        """The log-probabilities of the tokens that the last step has scored, in order."""
        rows = self._select(f"select logprob from {self.place('step')} where layer is null")
        return [float(logprob) for (logprob,) in rows]

    def token_ids(self) -> list[int]:
        """The tokens of the sequence, prompt and generated, in order.

        Those after a position that two have written, or none, are not of it.
        """
        rows = self._select(
            f"select position, token_id from {self.place('tokens')} where {self._own} "
            "order by position"
        )
        gaps = (min(i, position) for i, (position, _) in enumerate(rows) if position != i)
        return [int(token_id) for _, token_id in rows[: next(gaps, len(rows))]]

    def last_token_id(self, position: int | None = None) -> int:
        """The token that the last step has appended.

        Without parameters: for each of them DuckDB tries to import numpy and others, and a
        Ctrl-C that arrives while it looks for them is lost.

        Args:
            position: where it must be, if that is known.

        Raises:
            ProjectError: there is another token, which not every database can prevent.
        """
        later = "" if position is None else f"and position >= {position} "
        rows = self._select(
            f"select position, token_id from {self.place('tokens')} where {self._own} {later}"
            "order by position desc limit 2"
        )
        if position is not None and [row[0] for row in rows] != [position]:
            raise ProjectError(
                f"The state of {self.project.directory} has been changed by another meanwhile; "
                "end the other relama and try again."
            )
        return int(rows[0][1])

    def set_tokens(self, token_ids: Sequence[int]) -> int:
        """Makes `token_ids` the sequence, keeping the cache of what it begins with.

        What the state holds already and the new tokens share stays; the rest is
        forgotten, and the new tokens wait for the next step as a prompt. Nothing stays where a
        layer with a window has lost what the next position sees.

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
        is_long, was_long = self.is_long(len(token_ids)), self.was_long()
        if was_long and not is_long:
            shared = 0  # What stays would say that the sequence is long.
        read = min(self.has_read(), shared) if is_long == was_long else 0
        if not self._holds_what_is_seen_from(read):
            shared = read = 0
        self._forget("tokens", f"position >= {shared}")
        for cache in self.project.kv_caches:
            self._forget(cache, f"position >= {read}")
        for pages in self.project.kv_pages:
            self._forget(pages, f"first_position + {PAGE_SIZE} > {read}")
        self.append_tokens(token_ids[shared:], shared, read, is_long)
        return read

    def has_read(self) -> int:
        """How many tokens of the sequence have been read, see the macro `sequences`."""
        of_these = "and is_long" if self.was_long() else ""
        rows = self._select(
            f"select max(has_read) from {self.place('tokens')} "
            f"where {self._own} {of_these} having count(*) > 0"
        )
        return int(rows[0][0]) if rows else 0

    def forget_unseen(self, has_read: int) -> None:
        """Deletes keys and values that no position from `has_read` on can see, see `first_kept`.

        Layers that attend to all positions lose none.
        """
        for layer, window in self.project.windows.items():
            first = first_kept(has_read, window)
            if first > 0:
                self._forget(kv_cache(layer), f"position < {first}")
                self._forget(kv_pages(layer), f"first_position < {first}")

    def _holds_what_is_seen_from(self, position: int) -> bool:
        """Whether the caches hold all that a position sees before it."""
        for layer, window in self.project.windows.items():
            first = first_seen(position, window)
            if first < position:
                ((held,),) = self._select(
                    f"select min(position) from {self.place(kv_cache(layer))} where {self._own}"
                )
                if held is None or held > first:
                    return False
        return True

    def is_long(self, length: int) -> bool:
        """Whether a sequence of so many tokens is turned by the long factors, if there are any."""
        context = self.project.config.original_context
        return context is not None and length > context

    def was_long(self) -> bool:
        """Whether the sequence, as the state has it, is."""
        if self.project.config.original_context is None:
            return False
        return bool(
            self._select(
                f"select 1 from {self.place('tokens')} where {self._own} and is_long limit 1"
            )
        )

    def forget_cache(self) -> None:
        """Forgets the keys and values of the sequence."""
        for table in (*self.project.kv_caches, *self.project.kv_pages):
            self._forget(table, "true")

    def is_alone(self) -> bool:
        """Whether the state holds no other sequence."""
        return not self._select(
            f"select 1 from {self.place('tokens')} where sequence_id <> {self.sequence_id} limit 1"
        )

    def cut_tokens(self, length: int) -> list[Token]:
        """Takes the tokens after the first `length` out of the sequence: no step has read them."""
        rows = self._select(
            f"select token_id, is_prompt, logprob from {self.place('tokens')} "
            f"where {self._own} and position >= {length} order by position"
        )
        self._forget("tokens", f"position >= {length}")
        return [Token(*row) for row in rows]

    def put_back(self, tokens: Sequence[Token], length: int, is_long: bool) -> None:
        """Adds tokens that were cut to a sequence of `length` tokens, which have been read."""
        self._insert(tokens, length, length, is_long)

    def append_tokens(
        self, token_ids: Sequence[int], first_position: int, has_read: int, is_long: bool = False
    ) -> None:
        """Adds tokens of a prompt to the sequence, which the next step will read.

        Args:
            has_read: how many tokens of the sequence have been read.
            is_long: whether all of the prompt is so long, see the method of that name.
        """
        tokens = [Token(int(token_id)) for token_id in token_ids]
        self._insert(tokens, first_position, has_read, is_long)

    def _insert(
        self, tokens: Sequence[Token], first_position: int, has_read: int, is_long: bool
    ) -> None:
        columns = "sequence_id, position, token_id, is_prompt, has_read, logprob"
        same = ""
        if self.project.config.original_context is not None:
            columns, same = f"{columns}, is_long", f", {str(is_long).lower()}"
        rows = ", ".join(
            f"({self.sequence_id}, {position}, {token.sql(has_read)}{same})"
            for position, token in enumerate(tokens, first_position)
        )
        self.connection.execute(f"insert into {self.place('tokens')} ({columns}) values {rows}")

    @property
    def _own(self) -> str:
        return f"sequence_id = {self.sequence_id}"

    def _select(self, sql: str) -> list[tuple[Any, ...]]:
        return list(self.connection.execute(sql).fetchall())

    def _forget(self, table: str, condition: str) -> None:
        """Deletes the rows of the sequence that meet a condition."""
        self.project.target.delete(
            self.connection, self.place(table), f"{self._own} and {condition}"
        )

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


def first_seen(position: int, window: int) -> int:
    """The first position that one sees in a layer with a window."""
    return max(0, position + 1 - window)


def first_kept(has_read: int, window: int) -> int:
    """The first position that the cache of a layer with a window keeps, where a page begins.

    It is what a text sees that is taken back by `REWIND`. Whoever packs pages later finds whole
    ones.
    """
    seen = first_seen(has_read - min(window, REWIND), window)
    return seen // PAGE_SIZE * PAGE_SIZE


@contextmanager
def scratch(project: Project, connection: Connection) -> Iterator[State]:
    """A state with nothing in it to work on, which is gone in the end."""
    _require_tables(project, connection)
    with project.target.scratch(project, connection) as places:
        yield State(project, connection, sequence_id=0, places=places)


def _require_tables(project: Project, connection: Connection) -> None:
    found = project.target.relations(connection)
    missing = {"sequences", "step", "sampling", *project.state_tables} - found
    if missing:
        raise ProjectError(
            f"{project.directory} has not been built completely (there is no table "
            f"'{min(missing)}'); run: relama build {project.directory}"
        )
