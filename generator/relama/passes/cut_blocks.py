"""Cuts the matrices of linear layers into blocks of rows.

A matrix in blocks is one row of a table: a block is multiplied within one
expression, and nothing has to be grouped (docs/decisions/0010). Blocks run at
once, one per thread, so a matrix has as many as there are to be threads, unless starting
them costs more than it gains. Those of a large matrix hold at most `BLOCK_ELEMENTS`: a block is
held in memory as float32 while it is multiplied. In a mixture of experts each is one block: threads
multiply experts, and every column of a row group costs time.
"""

from __future__ import annotations

from dataclasses import replace

from relama.graph import Graph, Kind, Weight
from relama.passes.choose_storage import MULTIPLIED

#: Threads that a project is written for, where nothing else is said.
PARALLELISM = 2

#: A matrix of fewer elements is not worth a second thread.
ONE_BLOCK = 300_000
BLOCK_ELEMENTS = 2_100_000
#: Of fewer elements, native functions multiply one token sooner than a second thread begins.
NATIVE_BLOCK = 4_000_000


def cut_blocks(graph: Graph, parallelism: int = PARALLELISM) -> Graph:
    """Gives every weight that only linear layers read a number of blocks.

    Args:
        parallelism: blocks of a matrix that is worth several, at least.
    """
    kinds: dict[str, set[Kind]] = {}
    for operator in graph.operators.values():
        if operator.weight:
            kinds.setdefault(operator.weight, set()).add(operator.kind)
    multiplied = {name for name, read_by in kinds.items() if read_by <= MULTIPLIED}
    return graph.rebuilt(
        {
            name: replace(weight, blocks=_blocks(weight, parallelism))
            if name in multiplied
            else weight
            for name, weight in graph.weights.items()
        }
    )


def is_small(weight: Weight) -> bool:
    """Whether a second thread is of no use where native functions multiply one token."""
    return weight.rows * weight.columns < NATIVE_BLOCK


def _blocks(weight: Weight, parallelism: int) -> int:
    elements = weight.rows * weight.columns
    if weight.num_experts or elements < ONE_BLOCK:
        return 1
    return min(weight.rows, max(parallelism, -(-elements // BLOCK_ELEMENTS)))
