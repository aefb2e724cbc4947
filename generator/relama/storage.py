"""Storages: how the rows of a weight table are kept, and what that asks of a project.

The SQL of each is a file of its own in `macros/storage/`; here is what Python needs to
know of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: A table of one row a feature, or of one row in all, cut into blocks.
Layout = Literal["rows", "blocks"]


@dataclass(frozen=True)
class Storage:
    """How a matrix is stored.

    Attributes:
        name: as in `macros/storage/`, and of `--storage` where it can be chosen.
        bytes_per_element: what an element takes in a long row, scales included.
        layouts: the layouts that there is SQL for.
        row_columns: columns of a table of rows beside `row_id` and `vector`, with what
            they hold.
        block_columns: columns beside the blocks, likewise.
        block_words: what a block holds beside the weights, after a comma.
        compression: DuckDB's for columns of codes, of all tables of a project.
        quantised: whether elements are rounded, so that there is an error to test.
        tables: name of the storage of the embedding and the output head.
    """

    name: str
    bytes_per_element: float
    layouts: tuple[Layout, ...]
    row_columns: Mapping[str, str] = field(default_factory=dict)
    block_columns: Mapping[str, str] = field(default_factory=dict)
    block_words: str = ""
    compression: str = "uncompressed"
    quantised: bool = True
    tables: str | None = None

    @property
    def needs_blocks(self) -> bool:
        """Whether a linear layer cannot be a table of rows."""
        return "rows" not in self.layouts

    @property
    def test_arguments(self) -> dict[str, str]:
        """What the data test `matrix` has to be told; float32 is its default."""
        return {} if self.name == "float32" else {"storage": self.name}


_SCALE = {"scale": "What the row is to be multiplied by."}
_SCALED = ", and what to multiply them by"

#: By name.
STORAGES = {
    storage.name: storage
    for storage in (
        Storage("float32", 4, ("rows", "blocks"), quantised=False, tables="float32"),
        Storage(
            "int8",
            1,
            ("rows", "blocks"),
            row_columns=_SCALE,
            block_columns={"norm": "The length of the longest row of codes."},
            block_words=_SCALED,
            tables="int8",
        ),
        # 34 codes of 4 bits and a step of 6 bits for 32 elements.
        Storage(
            "int4",
            (34 * 4 + 6) / 8 / 32,
            ("blocks",),
            block_words=_SCALED,
            compression="bitpacking",
            tables="int567",
        ),
        # Types of PostgreSQL's extension pgvector: float32, and half precision.
        Storage("vector", 4, ("rows",), quantised=False, tables="vector"),
        Storage("halfvec", 2, ("rows",), tables="halfvec"),
        # A sixth of the rows in 7 bits, half of them in 6, a third in 5.
        Storage("int567", (7 / 6 + 6 / 2 + 5 / 3) / 8, ("rows",), row_columns=_SCALE),
    )
}

#: What `relama new --storage` takes: those that say how tables are stored, too.
CHOICES = tuple(name for name, storage in STORAGES.items() if storage.tables)
