"""What a session needs beside its weights, by what has been measured."""

from __future__ import annotations

from collections.abc import Sequence

from relama.config import ModelConfig
from relama.runtime.memory.residency import Overhead, Table

# Measured, see docs/decisions/0011-residency.md, and docs/kernels.md for native functions.
# Plans, and what the allocators keep of freed memory.
_GROWTH = 60_000_000
_NATIVE_GROWTH = 40_000_000
# DuckDB's record of blocks and columns, for each byte of weights, in memory or streamed.
_RECORDS = 0.014
# The columns of a layer's cache and pages grow by a block each, and by what a step appends.
# Natively there are no pages.
_STATE_BLOCKS_A_LAYER = 26
_NATIVE_STATE_BLOCKS_A_LAYER = 16
_STATEMENT = 90_000_000
# Without a prompt's rows, which native functions have no need to copy: those are counted.
_NATIVE_STATEMENT = 60_000_000
# Joining the products of a block, for the tokens of a prompt that a step reads at once.
_JOIN = 1_500_000
# What a statement that is run in one piece holds of each layer, beside vectors of each position.
_WHOLE_A_LAYER = 8_000_000
_NATIVE_WHOLE_A_LAYER = 3_000_000
_VECTORS_A_LAYER = 16
_NATIVE_VECTORS_A_LAYER = 20
# What is read ahead of DuckDB, and what is kept behind it.
AHEAD = 12_000_000
BEHIND = 4_000_000
# Positions of a prompt that a step reads at once. SQL multiplies them in doubles. Natively their
# keys are as many numbers as DuckDB stores in a small segment: the next takes 256 KB a layer.
_PROMPT = 8
_NATIVE_PROMPT = range(4, 33)
_NATIVE_KEYS = 2048
_NATIVE_VECTORS = 64


def prompt_positions(config: ModelConfig, native: bool) -> int:
    """How many tokens of a prompt a step reads at most within a memory limit."""
    if not native:
        return _PROMPT
    fit = _NATIVE_KEYS // (config.num_key_value_heads * config.head_dim)
    return min(max(fit, _NATIVE_PROMPT[0]), _NATIVE_PROMPT[-1])


def overhead(
    tables: Sequence[Table],
    config: ModelConfig,
    process: int,
    threads: int,
    block: int,
    whole: int = 0,
    native: bool = False,
) -> Overhead:
    """What a session needs beside the weights.

    Args:
        tables: the weights.
        process: bytes of the process before anything is computed.
        config: of the model.
        threads: DuckDB's.
        block: bytes of a block of the database file.
        whole: positions of a statement that is run in one piece; 0 where none is.
        native: whether native functions compute.
    """
    piece = max((table.piece for table in tables), default=0)
    vectors = max((table.vectors for table in tables), default=0)
    working = threads * vectors
    vector = 4 * (config.hidden_size + config.intermediate_size)
    if native:
        prompt = prompt_positions(config, native)
        statement = _NATIVE_STATEMENT + prompt * _NATIVE_VECTORS * vector
        growth, blocks = _NATIVE_GROWTH, _NATIVE_STATE_BLOCKS_A_LAYER
        whole_a_layer = _NATIVE_WHOLE_A_LAYER + whole * _NATIVE_VECTORS_A_LAYER * vector
        working += threads * max(prompt, whole) * attention_state(config)
    else:
        statement, growth, blocks = _STATEMENT, _GROWTH, _STATE_BLOCKS_A_LAYER
        whole_a_layer = _WHOLE_A_LAYER + whole * _VECTORS_A_LAYER * vector
    statement += config.num_hidden_layers * blocks * block
    statement += _JOIN * max((table.pieces for table in tables), default=0)
    if whole:
        statement += config.num_hidden_layers * whole_a_layer
    return Overhead(
        process=process + growth + round(_RECORDS * sum(table.size for table in tables)),
        statement=statement,
        working=working,
        # DuckDB holds all blocks of a piece until it has read the piece.
        buffers=threads * piece,
        ahead=AHEAD + BEHIND,
    )


def attention_state(config: ModelConfig) -> int:
    """Bytes that native attention keeps of a query, see functions_attention.c."""
    return 8 * config.num_attention_heads * (config.head_dim + 2)
