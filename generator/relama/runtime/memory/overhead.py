"""What a session needs beside its weights, by what has been measured."""

from __future__ import annotations

from collections.abc import Sequence

from relama.config import ModelConfig
from relama.runtime.memory.residency import Overhead, Table

# Measured, see docs/decisions/0011-residency.md, and docs/kernels.md for native functions.
# Plans, DuckDB's record of its blocks, and what its allocator keeps of freed memory.
_GROWTH = 60_000_000
# The columns of a layer's cache and pages grow by a block each, and by what a step appends.
_STATE_BLOCKS_A_LAYER = 26
_STATEMENT = 90_000_000
# Without a prompt's rows, which native functions have no need to copy: those are counted.
_NATIVE_STATEMENT = 75_000_000
# Joining the products of a block, for the tokens of a prompt that a step reads at once.
_JOIN = 1_500_000
_WHOLE_A_LAYER = 8_000_000
_VECTORS_A_LAYER = 16
# What is read ahead of DuckDB, and what is kept behind it.
AHEAD = 20_000_000
BEHIND = 4_000_000
# Positions of a prompt that a step reads at once. SQL multiplies them in doubles. Natively they
# are more where their rows are small, measured at widths 576 and 2,048.
_PROMPT = 8
_NATIVE_PROMPT = 32
_NATIVE_ROWS = 20_000_000
_NATIVE_VECTORS = 64


def prompt_positions(config: ModelConfig, native: bool) -> int:
    """How many tokens of a prompt a step reads at most within a memory limit."""
    if not native:
        return _PROMPT
    return max(_PROMPT, min(_NATIVE_PROMPT, _NATIVE_ROWS // _native_position(config)))


def _native_position(config: ModelConfig) -> int:
    return _NATIVE_VECTORS * 4 * (config.hidden_size + config.intermediate_size)


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
    position = _VECTORS_A_LAYER * 4 * (config.hidden_size + config.intermediate_size)
    statement = _STATEMENT
    if native:
        prompt = prompt_positions(config, native)
        statement = _NATIVE_STATEMENT + prompt * _native_position(config)
        working += threads * max(prompt, whole) * attention_state(config)
    statement += config.num_hidden_layers * _STATE_BLOCKS_A_LAYER * block
    statement += _JOIN * max((table.pieces for table in tables), default=0)
    if whole:
        statement += config.num_hidden_layers * (_WHOLE_A_LAYER + whole * position)
    return Overhead(
        process=process + _GROWTH,
        statement=statement,
        working=working,
        # DuckDB holds all blocks of a piece until it has read the piece.
        buffers=threads * piece,
        ahead=AHEAD + BEHIND,
    )


def attention_state(config: ModelConfig) -> int:
    """Bytes that native attention keeps of a query, see functions_attention.c."""
    return 8 * config.num_attention_heads * (config.head_dim + 2)
