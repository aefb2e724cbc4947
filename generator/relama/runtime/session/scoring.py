"""Scores without generating: the best next tokens, and the perplexity of a text.

Both work on a scratch copy of the state: what they add is rolled back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relama.errors import InputError
from relama.project.manifest import Project
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
    statement = compiled(project, ["candidates"])["candidates"]
    best = f"order by logit desc, token_id limit {top}"
    with project.target.connect(project) as connection, scratch(project, connection) as state:
        state.set_tokens(token_ids)
        rows = state.rows(statement, "token_id, logit, logprob", best)
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
    total, count = 0.0, 0
    with (
        project.target.connect(project) as connection,
        limited(project, connection, sql["score"], memory_limit, whole=CHUNK) as weights,
        scratch(project, connection) as state,
    ):
        state.check_tokens(token_ids)
        piece = weights.whole(sql["score"])
        score = state.prepare("score", "step", weights.moved(sql["score"]))
        appends = [s for name in names for s in state.prepare(f"append_{name}", name, sql[name])]
        is_long = state.is_long(len(token_ids))
        state.append_tokens(token_ids[:1], 0, 0, is_long)
        for first in range(1, len(token_ids), CHUNK):
            chunk = token_ids[first : first + CHUNK]
            state.append_tokens(chunk, first, first - 1, is_long)
            state.empty("step")
            weights.rewind()
            with weights.reading(piece):
                for statement in score:
                    connection.execute(statement)
            for statement in appends:
                connection.execute(statement)
            logprobs = state.logprobs()
            total -= math.fsum(logprobs)
            count += len(logprobs)
            on_progress(len(chunk))
    assert count == len(token_ids) - 1
    return total


def perplexity(nll: float, token_count: int) -> float:
    """exp of the mean negative log-likelihood; the first token has none."""
    return math.exp(nll / (token_count - 1))
