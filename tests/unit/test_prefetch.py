"""Reading ahead: in the order of use, so far ahead and no further, token after token."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pytest

from relama.graph import Part, Weight
from relama.project.kept_graph import KeptGraph
from relama.runtime.memory import prefetch
from relama.runtime.memory.prefetch import SUPPORTED, BlockFile, Blocks, Prefetcher
from relama.runtime.memory.stored import in_order_of_use, stored_weights

BLOCK = 1000
TABLES = [Blocks((7, 3, 5, 1)), Blocks((8, 2))]


class Recorded(BlockFile):
    """Asks for nothing, and remembers what it was asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, BLOCK)
        self.asked: list[int] = []
        self.dropped: list[int] = []

    def read_ahead(self, blocks: Sequence[int]) -> None:
        self.asked += blocks

    def drop(self, blocks: Sequence[int]) -> None:
        self.dropped += blocks


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Recorded]:
    path = tmp_path / "database"
    path.touch()
    recorded = Recorded(path)
    yield recorded
    recorded.close()


def settled(file: Recorded, asked: list[int]) -> bool:
    """Whether these blocks and no others are asked for, after a while."""
    deadline = time.monotonic() + 5
    while len(file.asked) < len(asked) and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    return file.asked == asked


@pytest.mark.skipif(not SUPPORTED, reason="reads ahead on Linux only")
def test_a_window_moves_with_the_statements(
    file: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = [0]
    monkeypatch.setattr(prefetch, "_bytes_read", lambda: read[0])
    prefetcher = Prefetcher(file, TABLES, window=2 * BLOCK, behind=BLOCK)
    prefetcher.start()
    assert settled(file, [7, 3])
    prefetcher.rewind()
    with prefetcher.reading(4):
        assert settled(file, [7, 3])
        read[0] += 2 * BLOCK
        assert settled(file, [7, 3, 5, 1])
        # More than the statement's own blocks is something else that DuckDB reads.
        read[0] += 9 * BLOCK
        assert settled(file, [7, 3, 5, 1, 8, 2])
    with prefetcher.reading(0):
        read[0] += 5 * BLOCK
        assert settled(file, [7, 3, 5, 1, 8, 2])
    with prefetcher.reading(2):
        pass
    # The first blocks of the next token.
    assert settled(file, [7, 3, 5, 1, 8, 2, 7, 3])
    prefetcher.close()
    assert file.dropped == [7, 3, 5, 1, 8]


@pytest.mark.skipif(not SUPPORTED, reason="reads ahead on Linux only")
def test_a_token_that_broke_off_does_not_shift_the_next(
    file: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "_bytes_read", lambda: 0)
    prefetcher = Prefetcher(file, TABLES, window=BLOCK, behind=0)
    prefetcher.start()
    assert settled(file, [7])
    prefetcher.rewind()
    with prefetcher.reading(2):
        pass
    assert settled(file, [7, 5])
    prefetcher.rewind()
    assert settled(file, [7, 5, 7])
    prefetcher.close()


@pytest.mark.skipif(not SUPPORTED, reason="reads ahead on Linux only")
def test_a_table_in_no_order_is_kept_until_all_of_it_has_been_read(
    file: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = [0]
    monkeypatch.setattr(prefetch, "_bytes_read", lambda: read[0])
    tables = [Blocks((7, 3)), Blocks((5, 1, 8), in_order=False), Blocks((2,))]
    prefetcher = Prefetcher(file, tables, window=2 * BLOCK, behind=0)
    prefetcher.start()
    with prefetcher.reading(6):
        read[0] += 4 * BLOCK
        # What has been read already is not asked for.
        assert settled(file, [7, 3, 8, 2])
        assert file.dropped == [7, 3]
        read[0] += BLOCK
        assert settled(file, [7, 3, 8, 2, 7])
        assert file.dropped == [7, 3, 5, 1, 8]
    prefetcher.close()


@pytest.mark.parametrize(("columns", "in_order"), [(2, True), (4, False)])
def test_which_column_of_many_is_read_next_is_not_known(
    tmp_path: Path, columns: int, in_order: bool
) -> None:
    blocks = ", ".join(f"range(100000)::float[] as block_{i}" for i in range(columns))
    with duckdb.connect() as connection:
        connection.execute(f"attach '{tmp_path}/file' as relama (block_size 65536)")
        connection.execute("use relama")
        connection.execute("set force_compression = 'uncompressed'")
        connection.execute(f"create table a_weight as select {blocks}, 1.0 as norm")
        connection.execute("checkpoint")
        weight = Weight("a_weight", None, (Part("a", columns),), 100_000, blocks=columns)
        graph = KeptGraph({}, {weight.name: weight}, {}, {})
        (stored,) = stored_weights(connection, graph, ["a_weight"], threads=2)
    assert stored.blocks.in_order is in_order


def test_tables_come_in_the_order_in_which_they_are_last_named() -> None:
    tables = ["sampling", "embedding", "a", "b", "a", "embedding", "layer_00__kv_cache"]
    assert in_order_of_use({"a", "b", "embedding"}, tables) == ["b", "a", "embedding"]
