"""The native kernels, against numpy in float64.

Every test runs at each level of instructions that this machine has. Without a C compiler
there are no kernels, and only what is said about that is tested.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from relama import kernels
from relama.errors import RelamaError
from relama.kernels import build, headers

Array = npt.NDArray[Any]
Connection = duckdb.DuckDBPyConnection

LEVELS = {"x86_64": ["baseline", "avx2", "avx512"]}.get(platform.machine(), ["baseline"])
SIZES = [1, 2, 15, 16, 17, 31, 33, 64, 576, 577, 1024, 1536]
FLOATS = pa.list_(pa.float32())

needs_compiler = pytest.mark.skipif(
    kernels.path() is None and shutil.which("cc") is None, reason="there is no C compiler"
)


@pytest.fixture(scope="session")
def kernels_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources as they are now, compiled."""
    return build.build(tmp_path_factory.mktemp("kernels") / kernels.FILE_NAME)


@pytest.fixture(params=LEVELS)
def connection(
    request: pytest.FixtureRequest, kernels_file: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Connection]:
    monkeypatch.setenv("RELAMA_KERNELS_LEVEL", request.param)
    with connect(kernels_file) as connection:
        if connection.sql("select relama_kernels_level()").fetchall() != [(request.param,)]:
            pytest.skip(f"this processor has no {request.param}")
        yield connection


def connect(file: Path) -> Connection:
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": "2"})
    kernels.load(connection, file)
    return connection


def table(connection: Connection, name: str, **columns: Any) -> None:
    """A table of i, the number of the row, and the columns; arrays become FLOAT[]."""
    arrays = {
        column: pa.array([None if row is None else list(row) for row in values], type=FLOATS)
        if not isinstance(values, pa.Array)
        else values
        for column, values in columns.items()
    }
    size = len(next(iter(arrays.values())))
    rows = pa.table({"i": pa.array(range(size), type=pa.int32()), **arrays})
    connection.register("arrow_rows", rows)
    connection.execute(f"create or replace table {name} as from arrow_rows")
    connection.unregister("arrow_rows")


def column(connection: Connection, query: str) -> list[Any]:
    return [row[0] for row in connection.execute(query).fetchall()]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_close(actual: Any, expected: Array, scale: Array | float | None = None) -> None:
    """Within 1e-5, relative to the magnitude of what was added up."""
    actual = np.asarray(actual, dtype=np.float64)
    assert actual.shape == expected.shape
    bound = 1e-5 * (np.abs(expected) if scale is None else scale)
    assert np.all(np.abs(actual - expected) <= bound + 1e-30)


# --- linear layers


class Matrix:
    """Rows as DuckDB stores them, and as numbers in float64."""

    def __init__(self, storage: str, rows: int, columns: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        scales = random.random(rows).astype(np.float32) + np.float32(0.5)
        if storage == "float32":
            weights = normal(rows, columns, seed=seed)
            self.type = pa.list_(FLOATS)
            self.rows: list[Any] = weights.tolist()
            self.numbers = weights.astype(np.float64)
        elif storage == "int8":
            codes = random.integers(-128, 128, (rows, columns))
            self.type = pa.list_(
                pa.struct([("vector", pa.list_(pa.int8())), ("scale", pa.float32())])
            )
            self.rows = [
                {"vector": row, "scale": scale}
                for row, scale in zip(codes.tolist(), scales.tolist(), strict=True)
            ]
            self.numbers = codes * scales[:, None].astype(np.float64)
        else:
            groups = (columns + 31) // 32
            codes = random.integers(-8, 8, (rows, groups, 34))
            steps = random.integers(0, 256, (rows, groups))
            self.type = pa.list_(
                pa.struct(
                    [
                        ("scale", pa.float32()),
                        ("steps", pa.list_(pa.uint8())),
                        ("vector", pa.list_(pa.list_(pa.int8(), 34))),
                    ]
                )
            )
            self.rows = [
                {"scale": scale, "steps": step, "vector": row}
                for scale, step, row in zip(
                    scales.tolist(), steps.tolist(), codes.tolist(), strict=True
                )
            ]
            elements = codes[:, :, :32] - codes[:, :, 32:33] - codes[:, :, 33:] / 16
            elements = (elements * steps[:, :, None]).reshape(rows, -1)[:, :columns]
            self.numbers = elements * scales[:, None].astype(np.float64)

    def blocks(self, *blocks: list[Any] | None) -> pa.Array:
        return pa.array(blocks, type=self.type)


STORAGES = ["float32", "int8", "int4"]


def check_products(actual: Any, weights: Array, x: Array) -> None:
    assert_close(actual, x.astype(np.float64) @ weights.T, np.abs(x) @ np.abs(weights).T)


@needs_compiler
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("columns", SIZES)
def test_matmul(connection: Connection, storage: str, columns: int) -> None:
    """One to several positions; rows that fill a tile, and rows that do not."""
    for rows in (1, 67):
        matrix = Matrix(storage, rows, columns)
        table(connection, "w", block=matrix.blocks(matrix.rows))
        for positions in (1, 9, 11, 20, 22):
            x = normal(positions, columns, seed=positions)
            table(connection, "x", v=x)
            y = column(connection, "select relama_matmul(v, block) from w, x order by x.i")
            check_products(y, matrix.numbers, x)


@needs_compiler
@pytest.mark.parametrize("storage", STORAGES)
def test_matmul_does_not_depend_on_the_positions_beside(
    connection: Connection, storage: str
) -> None:
    """A prompt at once gives what its positions give alone, bit for bit."""
    matrix = Matrix(storage, 70, 1033)
    table(connection, "w", block=matrix.blocks(matrix.rows))
    table(connection, "x", v=normal(50, 1033))
    together = column(connection, "select relama_matmul(v, block) from w, x order by x.i")
    for i in (0, 5, 17, 49):
        alone = f"select relama_matmul(v, block) from w, x where x.i = {i}"
        assert column(connection, alone) == [together[i]]


@needs_compiler
@pytest.mark.parametrize("storage", STORAGES)
def test_matmul_of_more_than_a_chunk(connection: Connection, storage: str) -> None:
    matrix = Matrix(storage, 9, 33)
    table(connection, "w", block=matrix.blocks(matrix.rows))
    x = normal(5000, 33)
    table(connection, "x", v=x)
    y = column(connection, "select relama_matmul(v, block) from w, x order by x.i")
    check_products(y, matrix.numbers, x)
    y = column(
        connection, "select relama_matmul(v, block) from w, x where x.i % 3 = 1 order by x.i"
    )
    check_products(y, matrix.numbers, x[1::3])


@needs_compiler
@pytest.mark.parametrize("storage", STORAGES)
def test_matmul_of_different_blocks_in_a_chunk(connection: Connection, storage: str) -> None:
    matrix = Matrix(storage, 12, 48)
    blocks = [matrix.rows[i : i + 4] for i in (0, 4, 8)]
    table(connection, "w", block=matrix.blocks(*blocks))
    x = normal(7, 48)
    table(connection, "x", v=x)
    expected = {
        (x_row, w_row): matrix.numbers[4 * w_row : 4 * w_row + 4]
        for x_row in range(7)
        for w_row in range(3)
    }
    for order in ("x.i, w.i", "w.i, x.i", "hash(x.i * 10 + w.i)"):
        result = connection.execute(
            "select x, w, relama_matmul(v, block) from (select x.i as x, w.i as w, block, v "
            f"from w, x order by {order})"
        ).fetchall()
        assert len(result) == 21
        for x_row, w_row, y in result:
            check_products([y], expected[x_row, w_row], x[x_row : x_row + 1])


@needs_compiler
@pytest.mark.parametrize("storage", STORAGES)
def test_matmul_of_several_blocks(connection: Connection, storage: str) -> None:
    """The rows of all blocks, one below the other; NULL where one of the blocks is, or has one."""
    matrix = Matrix(storage, 12, 48)
    rows = matrix.rows
    last = [rows[5:], None, [*rows[5:11], None], rows[5:]]
    table(connection, "u", a=matrix.blocks(*[rows[:1]] * 4), b=matrix.blocks(*[rows[1:5]] * 4))
    table(connection, "w", block=matrix.blocks(*last))
    x = normal(7, 48)
    table(connection, "x", v=x)
    for order in ("x.i, w.i", "w.i, x.i"):
        y = connection.execute(
            "select w, x, relama_matmul(v, a, b, block) from (select w.i as w, x.i as x, v, a, b, "
            f"block from u join w using (i), x order by {order})"
        ).fetchall()
        assert len(y) == 28
        for w_row, x_row, product in y:
            if w_row in (1, 2):
                assert product is None
            else:
                check_products([product], matrix.numbers, x[x_row : x_row + 1])


@needs_compiler
@pytest.mark.parametrize("storage", STORAGES)
def test_matmul_of_a_constant(connection: Connection, storage: str) -> None:
    """Both arguments the same for all rows of a chunk."""
    matrix = Matrix(storage, 5, 32)
    table(connection, "w", block=matrix.blocks(matrix.rows))
    x = normal(1, 32)
    table(connection, "x", v=x)
    y = column(connection, "select relama_matmul(v, block) from range(3000), w, x")
    check_products(y, matrix.numbers, np.repeat(x, 3000, axis=0))


@needs_compiler
@pytest.mark.parametrize("storage", STORAGES)
def test_matmul_of_null(connection: Connection, storage: str) -> None:
    """NULL for a block, for a row of it, for a part of a row, and for x."""
    matrix = Matrix(storage, 3, 8)
    rows = matrix.rows
    blocks = [rows, None, [rows[0], None, rows[2]]]
    if storage != "float32":
        blocks += [[rows[0], {**rows[1], part: None}] for part in rows[0]]
    table(connection, "w", block=matrix.blocks(*blocks, rows))
    x = normal(1, 8)
    table(connection, "x", v=[x[0], None])
    y = column(connection, "select relama_matmul(v, block) from w, x order by x.i, w.i")
    valid = {0, len(blocks)}
    assert {i for i, row in enumerate(y) if row is not None} == valid
    for i in valid:
        check_products([y[i]], matrix.numbers, x)


@needs_compiler
@pytest.mark.parametrize("storage", STORAGES)
def test_matmul_of_nothing(connection: Connection, storage: str) -> None:
    """A block without rows has an empty product; rows without elements have products of 0."""
    matrix = Matrix(storage, 2, 0)
    table(connection, "w", block=matrix.blocks([], matrix.rows))
    table(connection, "x", v=[[]])
    y = column(connection, "select relama_matmul(v, block) from w, x order by w.i")
    assert y == [[], [0, 0]]


@needs_compiler
def test_matmul_of_vectors_of_different_lengths(connection: Connection) -> None:
    """One block for all: int4 fits 31 and 32 columns, other storages fit one length."""
    matrix = Matrix("int4", 3, 32)
    table(connection, "w", block=matrix.blocks(matrix.rows))
    x = normal(2, 32)
    table(connection, "x", v=[x[0], x[1, :31]])
    first, second = column(connection, "select relama_matmul(v, block) from w, x order by x.i")
    check_products([first], matrix.numbers, x[:1])
    check_products([second], matrix.numbers[:, :31], x[1:, :31])

    matrix = Matrix("float32", 3, 32)
    table(connection, "w", block=matrix.blocks(matrix.rows))
    with pytest.raises(duckdb.InvalidInputException, match="32 elements, but x has 31"):
        column(connection, "select relama_matmul(v, block) from w, x")


@needs_compiler
def test_matmul_of_nan_and_infinity(connection: Connection) -> None:
    table(connection, "x", v=[[1, np.nan, 2], [1, np.inf, 0]])
    weights = "[[1, 1, 1], [1, -1, 1], [1, 0, 1]]::float[][]"
    nan, infinite = column(connection, f"select relama_matmul(v, {weights}) from x order by i")
    assert np.isnan(nan).all()
    assert infinite[:2] == [np.inf, -np.inf] and np.isnan(infinite[2])


@needs_compiler
@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize("columns", SIZES)
def test_inner_product(connection: Connection, storage: str, columns: int) -> None:
    """One vector for many rows, many vectors for one row, and neither."""
    rows = np.random.default_rng(1).integers(-128, 128, (300, columns)).astype(np.float32)
    if storage == "int8":
        table(connection, "w", row=pa.array(rows.astype(np.int8).tolist(), pa.list_(pa.int8())))
    else:
        table(connection, "w", row=rows)
    x = normal(3, columns)
    table(connection, "x", v=x)
    for order in ("x.i, w.i", "w.i, x.i", "hash(w.i * 10 + x.i)"):
        result = connection.execute(
            f"select x, w, relama_inner_product(row, v) from "
            f"(select x.i as x, w.i as w, row, v from w, x order by {order}) order by x, w"
        ).fetchall()
        products = np.array([row[2] for row in result]).reshape(3, 300)
        check_products(products, rows, x)
    cross = "select relama_inner_product(row, v) from w, x order by x.i, w.i"
    check_products(np.reshape(column(connection, cross), (3, 300)), rows, x)
    assert column(connection, cross) == products.ravel().tolist()


@needs_compiler
def test_inner_product_of_null_and_nothing(connection: Connection) -> None:
    table(connection, "w", row=[[1, 2], None, [3, 4], [5, 6]])
    table(connection, "x", v=[[1, 1], None])
    query = "select relama_inner_product(row, v) from w, x order by x.i, w.i"
    assert column(connection, query) == [3, None, 7, 11, None, None, None, None]
    query = "select relama_inner_product([]::tinyint[], []::float[])"
    assert column(connection, query) == [0]
    query = "select relama_inner_product(row, [1, 'nan'::float]) from w where row is not null"
    assert np.isnan(column(connection, query)).all()


# --- an output head

LOGITS = "select relama_logits(id, row, scale, x) from w, (select list(v order by i) as x from x)"


def head(connection: Connection, storage: str, rows: int, columns: int) -> Array:
    """A table w of numbered rows in a random order, and their numbers."""
    random = np.random.default_rng(2)
    codes = random.integers(-128, 128, (rows, columns))
    scale = random.random(rows).astype(np.float32) + np.float32(0.5)
    order = random.permutation(rows)
    element = pa.int8() if storage == "int8" else pa.float32()
    table(
        connection,
        "w",
        id=pa.array(order, pa.int32()),
        row=pa.array(codes[order].tolist(), pa.list_(element)),
        scale=pa.array(scale[order], pa.float32()),
    )
    return codes * scale[:, None].astype(np.float64)


@needs_compiler
@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize("columns", SIZES)
def test_logits(connection: Connection, storage: str, columns: int) -> None:
    weights = head(connection, storage, 300, columns)
    for vectors in (1, 7, 300):
        x = normal(vectors, columns)
        table(connection, "x", v=x)
        ((result,),) = connection.execute(LOGITS).fetchall()
        check_products(result, weights, x)


@needs_compiler
@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_logits_are_inner_products_to_the_bit(connection: Connection, storage: str) -> None:
    """In any order of the rows, on one thread and on two, alone and in groups."""
    head(connection, storage, 5000, 100)
    # More than two threads' row groups, of rows without a number.
    connection.execute("insert into w select i, null, row, 1 from w, range(80)")
    table(connection, "x", v=normal(5, 100))
    products = "(select x.i, id, scale * relama_inner_product(row, v) as y from w, x)"
    products = f"select list(y order by id) from {products} where id >= 0 group by i order by i"
    expected = column(connection, products)
    for threads in (1, 2):
        connection.execute(f"set threads = {threads}")
        assert column(connection, LOGITS) == [expected]
        shuffled = LOGITS.replace("from w", "from (from w order by hash(id)) as w")
        assert column(connection, shuffled) == [expected]
        alone = "select relama_logits(id, row, scale, [v]) from w, x group by x.i order by x.i"
        assert column(connection, alone) == [[y] for y in expected]


@needs_compiler
def test_logits_of_null_and_nothing(connection: Connection) -> None:
    arguments = ["0", "[1, 2]::float[]", "3", "[[1, 1], [1, -1]]::float[][]"]
    types = ["integer", "float[]", "float", "float[][]"]
    for i in range(4):
        null = [*arguments[:i], f"case when r = 1 then {arguments[i]} end::{types[i]}"]
        call = f"relama_logits({', '.join([*null, *arguments[i + 1 :]])})"
        assert column(connection, f"select {call} from range(3) t(r)") == [[[9], [-3]]], i
        assert column(connection, f"select {call} from range(1) t(r)") == [None]
        assert column(connection, f"select {call} from range(0) t(r)") == [None]
    call = "relama_logits(r::integer, [7]::tinyint[], 1, []::float[][])"
    assert column(connection, f"select {call} from range(3) t(r)") == [[]]
    call = "relama_logits(r::integer, []::tinyint[], 1, [[], []]::float[][])"
    assert column(connection, f"select {call} from range(3) t(r)") == [[[0] * 3] * 2]
    call = "relama_logits(r::integer, [1]::tinyint[], 1, [['nan'], ['inf']]::float[][])"
    ((result,),) = connection.execute(f"select {call} from range(2) t(r)").fetchall()
    assert np.isnan(result[0]).all() and result[1] == [np.inf, np.inf]


@needs_compiler
@pytest.mark.parametrize(
    ("row_id", "row", "x", "message"),
    [
        ("0", "[1]::tinyint[]", "[[1, 2]]", "row has 1 elements, but x has 2"),
        ("0", "[1, null]::tinyint[]", "[[1, 2]]", "row holds a NULL element"),
        ("0", "[1]::float[]", "[[1], [1, 2]]", "vectors of x differ in length"),
        ("0", "[1]::float[]", "[[1], null]", "x holds a NULL"),
        ("0", "[1]::float[]", "[[1], [null]]", "x holds a NULL"),
        ("r", "[1]::float[]", "case when r < 2 then [[1]] else [[1], [1]] end", "differs in a"),
        ("0", "[1]::float[]", "[[1]]", "the row_id of 3 rows are not the numbers from 0 on"),
        ("r + 1", "[1]::float[]", "[[1]]", "the row_id of 3 rows"),
        ("r - 1", "[1]::float[]", "[[1]]", "the row_id of 3 rows"),
    ],
)
def test_logits_of_what_does_not_fit(
    connection: Connection, row_id: str, row: str, x: str, message: str
) -> None:
    call = f"relama_logits(({row_id})::integer, {row}, 1, ({x})::float[][])"
    with pytest.raises(duckdb.InvalidInputException, match=f"relama_logits: .*{message}"):
        connection.execute(f"select {call} from range(3) t(r)").fetchall()


# --- between two linear layers


@needs_compiler
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pieces", [1, 3])
def test_rms_norm(connection: Connection, size: int, pieces: int) -> None:
    x = normal(3, pieces, size).astype(np.float64)
    weight = normal(size, seed=1)
    table(connection, "x", v=x.reshape(3, -1))
    table(connection, "w", v=[weight])
    query = "select relama_rms_norm(x.v, w.v, 1e-5) from x, w order by x.i"
    expected = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * weight
    assert_close(column(connection, query), expected.reshape(3, -1))


@needs_compiler
@pytest.mark.parametrize("half", [1, 3, 8, 32, 33])
@pytest.mark.parametrize("heads", [1, 3])
def test_rotary_embedding(connection: Connection, half: int, heads: int) -> None:
    x, angles = normal(4, heads, 2, half), normal(4, half, seed=1)
    cosine, sine = np.cos(angles), np.sin(angles)
    table(connection, "x", v=x.reshape(4, -1), cosine=cosine, sine=sine)
    query = "select relama_rotary_embedding(v, cosine, sine) from x order by i"
    first, second = x.astype(np.float64).transpose(2, 0, 1, 3)
    cosine, sine = cosine[:, None].astype(np.float64), sine[:, None].astype(np.float64)
    expected = np.stack([first * cosine - second * sine, second * cosine + first * sine], axis=2)
    assert_close(column(connection, query), expected.reshape(4, -1), 2 * np.abs(x).max())


@needs_compiler
@pytest.mark.parametrize("size", SIZES)
def test_swiglu(connection: Connection, size: int) -> None:
    gate, up = 20 * normal(3, size), normal(3, size, seed=1)
    table(connection, "x", v=np.concatenate([gate, up], axis=1))
    y = column(connection, "select relama_swiglu(v) from x order by i")
    exact = gate.astype(np.float64)
    assert_close(y, exact / (1 + np.exp(-exact)) * up)


@needs_compiler
def test_swiglu_of_extreme_values(connection: Connection) -> None:
    """To the last element that a float32 holds, and beyond."""
    gate = np.array([*np.linspace(-87, 100, 5000), 0, 1e30, np.inf, -1e3, -1e30], np.float32)
    table(connection, "x", v=[np.concatenate([gate, np.ones_like(gate)])])
    (y,) = column(connection, "select relama_swiglu(v) from x")
    with np.errstate(over="ignore"):
        exact = gate.astype(np.float64)
        expected = exact / (1 + np.exp(-exact))
    assert_close(y[:-3], expected[:-3])
    assert y[-3:] == [np.inf, 0, 0]
    query = "select relama_swiglu(['nan'::float, 1, 1, 'nan'::float])"
    assert np.isnan(column(connection, query)).all()


@needs_compiler
@pytest.mark.parametrize("size", SIZES)
def test_add(connection: Connection, size: int) -> None:
    a, b, c = normal(3, 4, size)
    table(connection, "x", a=a, b=b, c=c)
    assert_close(column(connection, "select relama_add(a, b) from x order by i"), a + b, 1)
    y = column(connection, "select relama_add(a, b, c) from x order by i")
    assert np.array_equal(np.asarray(y, np.float32), (a + b) + c)


VECTORS = {
    "relama_rms_norm": "{}, [1, 1]::float[], 1e-5",
    "relama_rotary_embedding": "{}, [1]::float[], [0]::float[]",
    "relama_swiglu": "{}",
    "relama_add": "{}, {}",
}


@needs_compiler
@pytest.mark.parametrize("function", VECTORS)
def test_vectors_in_any_rows_of_a_chunk(connection: Connection, function: str) -> None:
    """NULL, empty and other rows; behind a filter; more than a chunk; constant."""
    rows = [None if i % 7 == 3 else [] if i % 7 == 5 else [i, -i] for i in range(5000)]
    table(connection, "x", v=rows)
    call = f"{function}({VECTORS[function].format('v', 'v')})"
    y = column(connection, f"select {call} from x order by i")
    for i, row in enumerate(y):
        assert (row is None) == (rows[i] is None)
        assert row is None or bool(row) == bool(rows[i])
    assert column(connection, f"select {call} from x where i % 5 = 2 order by i") == y[2::5]
    constant = f"select {call} from (select v from x where i = 6), range(2100)"
    assert column(connection, constant) == [y[6]] * 2100


@needs_compiler
def test_null_in_any_argument(connection: Connection) -> None:
    for call in (
        "relama_rms_norm(null::float[], [1]::float[], 1)",
        "relama_rms_norm([1]::float[], null::float[], 1)",
        "relama_rms_norm([1]::float[], [1]::float[], null)",
        "relama_rotary_embedding(null::float[], [1]::float[], [1]::float[])",
        "relama_rotary_embedding([1, 1]::float[], null::float[], [1]::float[])",
        "relama_rotary_embedding([1, 1]::float[], [1]::float[], null::float[])",
        "relama_swiglu(null::float[])",
        "relama_add(null::float[], [1]::float[])",
        "relama_add([1]::float[], null::float[])",
        "relama_add([1]::float[], [1]::float[], null::float[])",
    ):
        assert column(connection, f"select {call}") == [None], call


@needs_compiler
@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("relama_matmul([1]::float[], [[1, 2]]::float[][])", "row 1 .* 2 elements, but x has 1"),
        ("relama_matmul([1]::float[], [[1], []]::float[][])", "row 2 .* 0 elements, but x has 1"),
        ("relama_matmul([1, 2]::float[], [{vector: [1]::tinyint[], scale: 1::float}])", "row 1"),
        (
            "relama_matmul([1]::float[], [{scale: 1::float, steps: [1]::utinyint[], "
            "vector: []::tinyint[34][]}])",
            "0 groups of 32 and 1 steps, but x has 1",
        ),
        ("relama_matmul([1]::float[], [[1]]::float[][], [[1, 2]]::float[][])", "row 1 .* 2 el"),
        (f"relama_matmul([1]::float[]{', [[1]]::float[][]' * 65})", "65 blocks, at most 64"),
        ("relama_matmul([1, 1]::float[], [[1, null]]::float[][])", "NULL element"),
        ("relama_matmul([1, null]::float[], [[1, 1]]::float[][])", "NULL element"),
        ("relama_inner_product([1]::tinyint[], [1, 2]::float[])", "row has 1 elements, but x"),
        ("relama_inner_product([null]::tinyint[], [1]::float[])", "NULL element"),
        ("relama_rms_norm([1, 2, 3]::float[], [1, 2]::float[], 1)", "no multiple of the 2"),
        ("relama_rms_norm([1]::float[], []::float[], 1)", "no multiple"),
        ("relama_rotary_embedding([1]::float[], [1]::float[], [1]::float[])", "no multiple"),
        ("relama_rotary_embedding([1, 2]::float[], [1]::float[], []::float[])", "as many"),
        ("relama_swiglu([1, 2, 3]::float[])", "even number"),
        ("relama_add([1]::float[], [1, 2]::float[])", "argument 2 2; they must be as many"),
        ("relama_add([1]::float[], [1]::float[], []::float[])", "argument 3 0"),
        ("relama_add([null]::float[], [1]::float[])", "argument 1 holds a NULL element"),
        (
            "relama_attention([1]::float[], 1, 1, 1, [1]::float[], [1]::float[], 1, 1)",
            "no kv_head 1 of 1",
        ),
        (
            "relama_attention([1]::float[], 1, -1, 1, [1]::float[], [1]::float[], 1, 1)",
            "kv_head -1",
        ),
        (
            "relama_attention([1]::float[], 1, 0, 1, [1]::float[], [1]::float[], 0, 1)",
            "kv_head 0 of 0",
        ),
        ("relama_attention([1]::float[], 1, 0, 1, [1]::float[], [1]::float[], 2, 1)", "a multiple"),
        ("relama_attention([1]::float[], 1, 0, 1, [1]::float[], [1, 2]::float[], 1, 1)", "as many"),
        ("relama_attention([]::float[], 1, 0, 1, []::float[], []::float[], 1, 1)", "key 0"),
        ("relama_attention([1]::float[], 1, 0, 1, [null]::float[], [1]::float[], 1, 1)", "NULL"),
        ("relama_attention([1]::float[], 1, 0, 1, [1]::float[], [1]::float[], 1, 1, 0)", "softcap"),
        (
            "relama_attention([1]::float[], 1, 0, 1, [1]::float[], [1]::float[], 1, 1, 1e999)",
            "softcap is inf",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(connection: Connection, call: str, message: str) -> None:
    with pytest.raises(duckdb.InvalidInputException, match=message):
        connection.execute(f"select {call}")


@needs_compiler
@pytest.mark.parametrize("place", [0, 62, 63, 64, 100, 127, 128, 199])
def test_a_null_element_is_found_at_any_place(connection: Connection, place: int) -> None:
    row: list[float | None] = [1.0] * 200
    table(connection, "x", v=[[1.0] * 7, row, [*row[:place], None, *row[place + 1 :]]])
    assert column(connection, "select len(relama_add(v, v)) from x where i < 2") == [7, 200]
    with pytest.raises(duckdb.InvalidInputException, match="NULL element"):
        column(connection, "select relama_add(v, v) from x")


# --- attention


def attention(
    query: Array,
    positions: Sequence[int],
    key: Array,
    value: Array,
    scaling: float,
    softcap: float | None = None,
) -> Array:
    """[queries, heads, head_dim] over [keys, kv_heads, head_dim], in float64."""
    heads_per_key = query.shape[1] // key.shape[1]
    key = np.repeat(key, heads_per_key, axis=1).astype(np.float64)
    value = np.repeat(value, heads_per_key, axis=1).astype(np.float64)
    scores = np.einsum("qhd,khd->hqk", query.astype(np.float64), key) * scaling
    if softcap is not None:
        scores = softcap * np.tanh(scores / softcap)
    seen = np.arange(len(key))[None] <= np.asarray(positions)[:, None]
    scores = np.where(seen, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", weights, value).reshape(len(query), -1)


def attending(
    kv_heads: int, head_dim: int, scaling: float, softcap: float | str | None = None
) -> str:
    """(i, y) of the queries q(i, v, position) over the positions k(i, key, value)."""
    capped = "" if softcap is None else f", {softcap}"
    head = f"[h * {head_dim} + 1:(h + 1) * {head_dim}]"
    return (
        f"with cache as not materialized (select k.i, h::integer as head, key{head} as key, "
        f"value{head} as value from k, range({kv_heads}) t(h)) "
        "select q.i, relama_attention(q.v, q.position, k.head, k.i, k.key, k.value, "
        f"{kv_heads}, {scaling}{capped}) as y from cache as k cross join q group by q.i"
    )


@needs_compiler
@pytest.mark.parametrize(
    ("queries", "keys", "heads", "kv_heads", "head_dim"),
    [
        (1, 1, 1, 1, 1),
        (1, 1000, 9, 3, 64),
        (70, 70, 9, 3, 64),
        (5, 40, 4, 4, 7),
        (3, 3000, 2, 1, 16),
        (2, 30, 80, 2, 5),
    ],
)
def test_attention(
    connection: Connection, queries: int, keys: int, heads: int, kv_heads: int, head_dim: int
) -> None:
    query = normal(queries, heads, head_dim)
    key, value = normal(2, keys, kv_heads, head_dim, seed=1)
    scaling = 1 / np.sqrt(head_dim)
    positions = range(keys - queries, keys)
    table(connection, "q", v=query.reshape(queries, -1), position=pa.array(positions, pa.int32()))
    table(connection, "k", key=key.reshape(keys, -1), value=value.reshape(keys, -1))
    text = attending(kv_heads, head_dim, scaling)
    expected = attention(query, positions, key, value, scaling)
    assert_close(
        column(connection, f"select y from ({text}) order by i"), expected, np.abs(value).max()
    )
    # The other order of loops, and lists that were copied.
    text = text.replace(
        "cache as k cross join q", "(select * from q order by hash(i)) as q cross join cache as k"
    )
    assert_close(
        column(connection, f"select y from ({text}) order by i"), expected, np.abs(value).max()
    )


@needs_compiler
def test_attention_with_large_scores(connection: Connection) -> None:
    """Scores of hundreds, whose exponentials no float32 holds."""
    query, key, value = (
        30 * normal(3, 2, 8),
        10 * normal(50, 2, 8, seed=1),
        normal(50, 2, 8, seed=2),
    )
    table(connection, "q", v=query.reshape(3, -1), position=pa.array([49] * 3, pa.int32()))
    table(connection, "k", key=key.reshape(50, -1), value=value.reshape(50, -1))
    y = column(connection, f"select y from ({attending(2, 8, 1)}) order by i")
    # A score's last bit is worth more here.
    expected = attention(query, [49] * 3, key, value, 1)
    assert np.abs(np.asarray(y) - expected).max() < 1e-3


@needs_compiler
@pytest.mark.parametrize("softcap", [0.001, 0.5, 30.0, 50.0, 1e6])
@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
def test_attention_with_a_softcap(connection: Connection, size: float, softcap: float) -> None:
    """Scores far within it, about it, and far beyond; keys in vectors and in what is left over."""
    query, key = size * normal(3, 6, 24), normal(53, 2, 24, seed=1)
    value = normal(53, 2, 24, seed=2)
    positions = [52, 20, 0]
    table(connection, "q", v=query.reshape(3, -1), position=pa.array(positions, pa.int32()))
    table(connection, "k", key=key.reshape(53, -1), value=value.reshape(53, -1))
    y = column(connection, f"select y from ({attending(2, 24, 0.2, softcap)}) order by i")
    expected = attention(query, positions, key, value, 0.2, softcap)
    # A dot product is a float32: the last bit of a score, and with it the error, grows with it.
    assert np.abs(np.asarray(y) - expected).max() < 2e-6 * max(1, size)


@needs_compiler
def test_softcaps_that_differ_in_a_chunk(connection: Connection) -> None:
    """A group's own holds, also where groups are of one query: it is the second's that is 1."""
    query, key, value = 5 * normal(1, 2, 4), normal(9, 1, 4, seed=1), normal(9, 1, 4, seed=2)
    rows = np.repeat(query.reshape(1, -1), 2, axis=0)
    table(connection, "q", v=rows, position=pa.array([8, 8], pa.int32()))
    table(connection, "k", key=key.reshape(9, -1), value=value.reshape(9, -1))
    text = attending(1, 4, 1, "case when q.i = 1 then 1.0 else 40.0 end")
    y = column(connection, f"select y from ({text}) order by i")
    for row, softcap in zip(y, (40, 1), strict=True):
        assert_close([row], attention(query, [8], key, value, 1, softcap), np.abs(value).max())


@needs_compiler
def test_a_softcap_bounds_infinite_scores(connection: Connection) -> None:
    """As torch.tanh does; a NaN stays one."""
    one = "[1]::float[], 0, 0, 0, [s::float], [v]::float[], 1, 1, 2.0"
    rows = "(values ('{}', 5), ('0', 7)) t(s, v)"
    for score, capped in (("inf", 2), ("-inf", -2), ("1e30", 2), ("-1e30", -2)):
        query = f"select relama_attention({one}) from {rows.format(score)}"
        weight = 1 / (1 + np.exp(-capped))
        assert column(connection, query)[0][0] == pytest.approx(7 - 2 * weight, rel=1e-6), score
    assert np.isnan(
        column(connection, f"select relama_attention({one}) from {rows.format('nan')}")
    ).all()


@needs_compiler
def test_attention_does_not_depend_on_order_or_threads(connection: Connection) -> None:
    """Sums in double precision: the float32 at the end is the same, but for its rounding.

    300,000 keys are more than two threads' row groups, and the largest come late.
    """
    connection.execute(
        "create table k as select range::integer as i, "
        "[sin(range), range / 5e4]::float[] as key, [cos(range), range % 7]::float[] as value "
        "from range(300000)"
    )
    connection.execute("create table shuffled as select * from k order by hash(i)")
    table(connection, "q", v=normal(4, 4), position=pa.array([299_999] * 4, pa.int32()))
    text = f"select y from ({attending(1, 2, 2.0)}) order by i"
    results = []
    for threads in (1, 2):
        connection.execute(f"set threads = {threads}")
        for keys in ("k", "shuffled"):
            query = text.replace("from k,", f"from {keys} as k,")
            results.append(np.asarray(column(connection, query), np.float32))
    key = np.array(column(connection, "select key from k order by i"))[:, None]
    value = np.array(column(connection, "select value from k order by i"))[:, None]
    query = normal(4, 4).reshape(4, 2, 2)
    assert_close(results[0], attention(query, [299_999] * 4, key, value, 2.0), 7)
    for result in results[1:]:
        assert np.allclose(result, results[0], rtol=1.2e-7, atol=0)


@needs_compiler
def test_attention_over_sequences_in_many_groups(connection: Connection) -> None:
    """3,000 groups, joined with the keys of their sequence."""
    sequences, length, dim = 60, 50, 4
    query, key, value = normal(3, sequences, length, 1, dim)
    flat = (sequences * length, -1)
    places = {
        "sequence": pa.array(np.repeat(np.arange(sequences), length), pa.int32()),
        "position": pa.array(np.tile(np.arange(length), sequences), pa.int32()),
    }
    table(connection, "q", v=query.reshape(flat), **places)
    table(connection, "k", key=key.reshape(flat), value=value.reshape(flat), **places)
    y = column(
        connection,
        "select relama_attention(q.v, q.position, 0, k.position, k.key, k.value, 1, 0.5) "
        "from k join q using (sequence) group by sequence, q.position "
        "order by sequence, q.position",
    )
    expected = [attention(query[s], range(length), key[s], value[s], 0.5) for s in range(sequences)]
    assert_close(y, np.concatenate(expected), np.abs(value).max())


@needs_compiler
def test_attention_without_keys_and_with_null(connection: Connection) -> None:
    one = "[1, 2]::float[]"
    query = f"select relama_attention({one}, 0, 0, 1, {one}, {one}, 1, 1) from range(9)"
    assert column(connection, query) == [None]
    query = f"select relama_attention({one}, 0, 0, 0, {one}, {one}, 1, 1) from range(0)"
    assert column(connection, query) == [None]
    arguments = [one, "5", "0", "0", one, one, "1", "1", "3"]
    integers = ["integer"] * 3
    types = ["float[]", *integers, "float[]", "float[]", "integer", "double", "double"]
    for i in range(9):
        null = [*arguments[:i], f"case when r = 0 then {arguments[i]} end::{types[i]}"]
        call = f"relama_attention({', '.join([*null, *arguments[i + 1 :]])})"
        assert column(connection, f"select {call} from range(3) t(r)") == [[1, 2]], i
    nan = "['nan'::float, 2]"
    query = f"select relama_attention({one}, 0, 0, 0, {one}, {nan}, 1, 1)"
    assert np.isnan(column(connection, query)[0]).tolist() == [True, False]
    query = f"select relama_attention({one}, 0, 0, 0, {nan}, {one}, 1, 1)"
    assert np.isnan(column(connection, query)).all()
    infinite = (
        "select relama_attention([1]::float[], 0, 0, 0, [s::float], [v]::float[], 1, 1) from "
    )
    assert column(connection, infinite + "(values ('-inf', 5), ('3', 7)) t(s, v)") == [[7]]
    assert np.isnan(column(connection, infinite + "(values ('inf', 5), ('3', 7)) t(s, v)")).all()


@needs_compiler
def test_attention_gives_its_memory_back(connection: Connection) -> None:
    """Also where the statement ends with an error."""
    table(connection, "q", v=normal(500, 576), position=pa.array([9] * 500, pa.int32()))
    table(connection, "k", key=normal(10, 192), value=normal(10, 192))
    text = attending(3, 64, 0.125)

    def run() -> None:
        connection.execute(f"select count(y[1]) from ({text})").fetchall()
        with pytest.raises(duckdb.InvalidInputException):
            failing = text.replace("k.key,", "case when q.i + k.i < 508 then k.key else [1.0] end,")
            connection.execute(f"select count(y[1]) from ({failing})").fetchall()

    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    if not Path("/proc/self/statm").exists():
        pytest.skip("the system does not say how much memory is used")
    for _ in range(5):
        run()
    before = resident()
    for _ in range(20):
        run()
    # Each run's groups take 2 x 2.4 MB.
    assert resident() - before < 24e6


# --- the build


def run_build(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "relama.kernels.build", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_without_a_compiler_the_build_says_what_it_costs(tmp_path: Path) -> None:
    output = tmp_path / kernels.FILE_NAME
    result = run_build("--cc", "no-such-cc", "--output", str(output))
    assert result.returncode == 1
    assert result.stderr == (
        "There is no C compiler 'no-such-cc', so the native kernels cannot be built; "
        "relama works without them, in stock SQL, several times slower.\n"
    )
    assert list(tmp_path.iterdir()) == []


@needs_compiler
def test_without_headers_the_build_says_what_to_do(tmp_path: Path) -> None:
    nowhere = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PIP_INDEX_URL": (tmp_path / "index").as_uri(),
        "PIP_EXTRA_INDEX_URL": "",
    }
    result = run_build("--output", str(tmp_path / kernels.FILE_NAME), **nowhere)
    assert result.returncode == 1
    assert "DuckDB's C headers cannot be had" in result.stderr and "--headers" in result.stderr
    assert not (tmp_path / kernels.FILE_NAME).exists()


def test_another_archive_of_the_same_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "duckdb" / "index.html"
    page.parent.mkdir()
    page.write_text(f'<a href="{headers.FILE}#sha256=00">{headers.FILE}</a>')
    (page.parent / headers.FILE).write_bytes(b"something else")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")

    def get(url: str, settings: dict[str, str]) -> tuple[str, bytes]:
        name = url.removeprefix("https://index.example/simple/").partition("#")[0]
        file = tmp_path / name
        return "text/html", (file / "index.html" if file.is_dir() else file).read_bytes()

    monkeypatch.setattr(headers, "_get", get)
    with pytest.raises(RelamaError, match="SHA-256 differs"):
        headers.directory()


@needs_compiler
def test_a_source_that_does_not_compile_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "FUNCTIONS", ("no_such_file.c",))
    with pytest.raises(RelamaError, match=r"no_such_file\.c"):
        build.build(tmp_path / kernels.FILE_NAME)
    assert list(tmp_path.iterdir()) == []


def test_another_file_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RelamaError, match=r"relama_kernels\.duckdb_extension only"):
        build.build(tmp_path / "kernels.duckdb_extension")


def test_the_footer_is_what_duckdb_reads() -> None:
    footer = build.footer("linux_amd64")
    assert len(footer) == 534
    fields = [footer[22 + i : 54 + i].rstrip(b"\0") for i in range(0, 256, 32)]
    assert fields[::-1][:5] == [b"4", b"linux_amd64", b"v1.2.0", b"1.0", b"C_STRUCT"]
    assert footer[-256:] == bytes(256)
