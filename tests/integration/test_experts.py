"""The experts of a mixture: a row each at the head of a row group, of which the chosen are read."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from relama.runtime.memory.resident import ROW_GROUP
from tests.integration.test_macros import rendered

EXPERTS, ROWS, COLUMNS, BLOCKS = 6, 2048, 512, 2
STORAGES = ("float32", "int8", "int4")


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    calls = {}
    for storage in STORAGES:
        layout = f"rows={EXPERTS * ROWS}, blocks={BLOCKS}, storage='{storage}'"
        layout += f", num_experts={EXPERTS}"
        calls[f"quantized_{storage}"] = f"relama.quantized('weight', '{storage}')"
        calls[f"blocks_{storage}"] = f"relama.matrix_blocks('quantized', {layout})"
        calls[f"rows_{storage}"] = f"relama.matrix_rows('experts', {layout})"
        calls[f"dequantized_{storage}"] = f"relama._dequantized('m', '{storage}', {COLUMNS})"
        calls[f"product_{storage}"] = (
            f"relama.expert_matmul('hidden', 'router', 'experts', {ROWS}, {BLOCKS}, '{storage}')"
        )
    calls["rows_product"] = (
        f"relama.expert_matmul('hidden', 'router', 'weight', {ROWS}, 0, 'float32')"
    )
    return rendered(tmp_path_factory.mktemp("dbt"), calls, "{}")


def write_router(connection: duckdb.DuckDBPyConnection, chosen: list[tuple[int, int]]) -> None:
    """Sends positions to experts, each with the weight 1 / (1 + expert)."""
    connection.execute(
        "create or replace table router (sequence_id int, position int, expert_id int, weight real)"
    )
    for position, expert in chosen:
        connection.execute(
            "insert into router values (0, ?, ?, ?)", [position, expert, 1 / (1 + expert)]
        )


def write_model(connection: duckdb.DuckDBPyConnection, tokens: int) -> tuple[np.ndarray, ...]:
    """The matrix of all experts, and hidden states."""
    random = np.random.default_rng(0)
    matrix = random.normal(size=(EXPERTS * ROWS, COLUMNS)).astype(np.float32)
    hidden = random.normal(size=(tokens, COLUMNS)).astype(np.float32)
    vectors = pa.table({"row_id": np.arange(len(matrix)), "vector": list(matrix)})
    states = pa.table({"position": np.arange(tokens), "vector": list(hidden)})
    connection.register("vectors", vectors)
    connection.register("states", states)
    connection.execute("create table weight as from vectors")
    connection.execute("create table hidden as select 0 as sequence_id, * from states")
    return matrix, hidden


def store(connection: duckdb.DuckDBPyConnection, sql: dict[str, str], storage: str) -> None:
    connection.execute(f"create table quantized as {sql[f'quantized_{storage}']}")
    connection.execute(f"create table experts as {sql[f'blocks_{storage}']}")


@pytest.mark.parametrize("storage", STORAGES)
def test_the_product_is_that_of_the_chosen(sql: dict[str, str], storage: str) -> None:
    chosen = [(0, 1), (0, 4), (1, 4), (2, 0), (2, 5)]
    with duckdb.connect(config={"threads": 2}) as connection:
        write_model(connection, tokens=3)
        store(connection, sql, storage)
        write_router(connection, chosen)
        row = sql[f"dequantized_{storage}"]
        stored = connection.execute(
            f"select {row} from ({sql[f'rows_{storage}']}) as m order by m.row_id"
        ).fetchall()
        hidden = connection.execute("select vector from hidden order by position").fetchall()
        products = connection.execute(
            f"select position, expert_id, weight, vector from ({sql[f'product_{storage}']}) "
            "order by all"
        ).fetchall()
    matrix = np.array([row[0] for row in stored]).reshape(EXPERTS, ROWS, COLUMNS)
    assert [row[:2] for row in products] == chosen
    for position, expert, weight, vector in products:
        assert weight == pytest.approx(1 / (1 + expert))
        expected = matrix[expert] @ np.array(hidden[position][0])
        np.testing.assert_allclose(vector, expected, rtol=0, atol=2e-3)


def test_a_table_of_rows_gives_the_same(sql: dict[str, str]) -> None:
    with duckdb.connect() as connection:
        matrix, hidden = write_model(connection, tokens=2)
        write_router(connection, [(0, 3), (1, 0), (1, 3)])
        products = connection.execute(
            f"select position, expert_id, vector from ({sql['rows_product']}) order by all"
        ).fetchall()
    assert [row[:2] for row in products] == [(0, 3), (1, 0), (1, 3)]
    for position, expert, vector in products:
        expected = matrix.reshape(EXPERTS, ROWS, COLUMNS)[expert] @ hidden[position]
        np.testing.assert_allclose(vector, expected, rtol=0, atol=2e-3)


def test_each_expert_begins_a_row_group_and_the_chosen_alone_are_read(
    sql: dict[str, str], tmp_path: Path
) -> None:
    """Of the file, in a process' own count of bytes; a connection that has read nothing yet."""
    path = str(tmp_path / "model.duckdb")
    with duckdb.connect(path, config={"threads": 2}) as connection:
        write_model(connection, tokens=1)
        store(connection, sql, "int8")
    read = []
    for chosen in ([1, 4], range(EXPERTS)):
        with duckdb.connect(path, config={"threads": 2}) as connection:
            write_router(connection, [(0, expert) for expert in chosen])
            groups = connection.execute(
                "select row_group_id, min(rowid), count(expert_id) from experts, "
                f"lateral (select experts.rowid // {ROW_GROUP}) as g (row_group_id) "
                "group by all order by all"
            ).fetchall()
            assert groups == [(group, group * ROW_GROUP, 1) for group in range(EXPERTS)]
            before = _bytes_read()
            connection.execute(f"select sum(len(vector)) from ({sql['product_int8']})").fetchall()
            read.append(_bytes_read() - before)
    expert = ROWS * COLUMNS  # Codes, a byte each; DuckDB reads blocks of 256 KB.
    assert 2 * expert <= read[0] < 3.5 * expert
    assert read[1] >= EXPERTS * expert


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])
