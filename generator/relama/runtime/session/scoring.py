"""Scores without generating: the best next tokens, and the perplexity of a text.

Both work on a scratch copy of the state: what they add is rolled back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relama.errors import InputError
from relama.project.manifest import Project
from relama.runtime.database import open_database
from relama.runtime.memory import limited
from relama.runtime.session.state import scratch
from relama.runtime.statements import compiled, packing_statements

#: Positions that one scoring step reads: bounds the memory of the logits.
CHUNK = 64


@dataclass(frozen=True)
class Candidate:
    """A token that might come next."""

    id: int
    logit: float
    logprob: float


def top_logits(project: Project, token_ids: Sequence[int], top: int) -> list[Candidate]:
    """The `top` most likely tokens after `token_ids`, best first.

    Raises:
        InputError: the prompt is empty or too long, or `top` is not positive.
    """
    if top < 1:
        raise InputError(f"top must be at least 1, not {top}.")
    sql = compiled(project, ["candidates"])["candidates"].sql
    with open_database(project) as connection, scratch(project, connection) as state:
        state.set_tokens(token_ids)
        rows = connection.execute(
            f"select token_id, logit, logprob from ({sql}) order by logit desc, token_id limit ?",
            [top],
        ).fetchall()
    return [Candidate(*row) for row in rows]


def negative_log_likelihood(
    project: Project,
    token_ids: Sequence[int],
    on_progress: Callable[[int], None] = lambda done: None,
    memory_limit: int | None = None,
) -> float:
    """The summed -log p of every token after the first, in nats, computed in SQL.

    Reads `CHUNK` tokens per step through the KV cache; calls `on_progress` with
    the number of tokens scored by each. `memory_limit` is in bytes of this process.

    Raises:
        InputError: fewer than two tokens, more than the context holds, or too small a limit.
    """
    if len(token_ids) < 2:
        raise InputError("A text needs at least two tokens to be scored.")
    caches, pages = project.kv_caches, packing_statements(project)
    names = [*caches, *pages]
    sql = compiled(project, ["score", *caches]) | compiled(project, pages, decode=True)
    with (
        open_database(project) as connection,
        limited(project, connection, sql["score"], memory_limit, whole=CHUNK) as weights,
        scratch(project, connection) as state,
    ):
        state.check_tokens(token_ids)
        score = weights.whole(sql["score"])
        connection.execute(f"prepare score as insert into step {score.sql}")
        for name in names:
            connection.execute(f"prepare append_{name} as insert into {name} {sql[name].sql}")
        state.append_tokens(token_ids[:1], first_position=0, has_read=0)
        for first in range(1, len(token_ids), CHUNK):
            chunk = token_ids[first : first + CHUNK]
            state.append_tokens(chunk, first_position=first, has_read=first - 1)
            connection.execute("delete from step")
            weights.rewind()
            with weights.reading(score):
                connection.execute("execute score")
            for name in names:
                connection.execute(f"execute append_{name}")
            connection.execute(
                "update tokens set logprob = step.logprob from step where step.layer is null "
                "and tokens.sequence_id = step.sequence_id and tokens.position = step.position"
            )
            on_progress(len(chunk))
        ((total, scored),) = connection.execute(
            "select -sum(logprob::double), count(logprob) from tokens where sequence_id = ?",
            [state.sequence_id],
        ).fetchall()
    assert scored == len(token_ids) - 1
    return float(total)


def perplexity(nll: float, token_count: int) -> float:
    """exp of the mean negative log-likelihood; the first token has none."""
    return math.exp(nll / (token_count - 1))
