"""Random calls of the kernels in DuckDB, compared with plain Python: sizes, NULL, NaN, lists of
wrong lengths, and chunks of every shape.

    python kernels_fuzzer.py FILE SEED SECONDS

Ends with 1 at a difference. test_kernels_fuzzer.py runs it under AddressSanitizer and
UndefinedBehaviorSanitizer.
"""

from __future__ import annotations

import math
import random
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from relama import kernels

FLOATS = pa.list_(pa.float32())
INT8 = pa.list_(pa.struct({"vector": pa.list_(pa.int8()), "scale": pa.float32()}))
INT4 = pa.list_(
    pa.struct(
        {
            "scale": pa.float32(),
            "steps": pa.list_(pa.uint8()),
            "vector": pa.list_(pa.list_(pa.int8(), 34)),
        }
    )
)

#: At least so many calls are made, however long they take.
LEAST_ROUNDS = 60

#: How the rows of a chunk come about: scanned, filtered, joined, constant, sorted, sliced.
SHAPES = [
    "select {call} from t order by i",
    "select {call} from t where i % 3 <> 1 order by i",
    "select {call} from (select * from t order by hash(i)) order by i",
    "select {call} from t join (select range as r from range(3000)) on r = i order by i",
    "select {call} from (select * from t limit 1), range(2100)",
    "select {call} from t, range({repeat}) order by i",
    "select {call} from (select i, {sliced} from t) as t order by i",
]


#: How likely NULL, NaN and lists of wrong lengths are; set for each case.
oddity = 0.0


def oddly() -> bool:
    return random.random() < oddity


def vector(length: int) -> list[float | None] | None:
    if oddly():
        return None
    result: list[float | None] = [float(random.randint(-9, 9)) for _ in range(length)]
    if result and oddly():
        result[random.randrange(length)] = random.choice([None, math.nan, math.inf])
    return result


def odd(length: int) -> int:
    """Nearly always the length."""
    return random.randrange(length + 3) if oddly() else length


def int8_row(length: int) -> dict[str, Any] | None:
    codes = [random.randint(-128, 127) for _ in range(odd(length))]
    row = {"vector": codes, "scale": None if oddly() else random.choice([0.5, 2.0])}
    return None if oddly() else row


def int4_row(length: int) -> dict[str, Any] | None:
    groups = odd((length + 31) // 32)
    return {
        "scale": 1.0,
        "steps": [random.randint(0, 255) for _ in range(odd(groups))],
        "vector": [[random.randint(-8, 7) for _ in range(34)] for _ in range(groups)],
    }


def block(row: Any, length: int) -> list[Any] | None:
    if oddly():
        return None
    return [row(length) for _ in range(random.randrange(9))]


def case() -> tuple[str, dict[str, tuple[pa.DataType, list[Any]]]]:
    """A call, and the columns of its table t: their types and values."""
    global oddity
    oddity = random.choice([0, 0, 0.01, 0.1])
    rows = random.choice([1, 2, 7, 100])
    n = random.choice([0, 1, 2, 5, 16, 31, 33, 64, 100, 600])
    vectors = [[vector(odd(n)) for _ in range(rows)] for _ in range(3)]
    kind = random.randrange(12)
    if kind < 3:
        type_, row = [(pa.list_(FLOATS), vector), (INT8, int8_row), (INT4, int4_row)][kind]
        blocks = [block(row, n) for _ in range(1 + rows // 3)]
        column = sorted((random.choice(blocks) for _ in range(rows)), key=id)
        columns = {"a": (FLOATS, vectors[0]), "b": (type_, column)}
        if random.random() < 0.5:
            return "relama_matmul(a, b)", columns
        others = [random.choice(blocks) for _ in range(rows)]
        return "relama_matmul(a, b, c)", {**columns, "c": (type_, others)}
    columns = {name: (FLOATS, values) for name, values in zip("abc", vectors, strict=True)}
    if kind == 3:
        return "relama_inner_product(a, b)", columns
    if kind == 4:
        return "relama_rms_norm(a, b, 1e-5)", columns
    if kind == 5:
        halves = [vector(odd(n // 2)) for _ in range(rows)]
        return "relama_rotary_embedding(a, b, b)", {**columns, "b": (FLOATS, halves)}
    if kind == 6:
        return "relama_swiglu(a)", columns
    if kind == 7:
        return random.choice(["relama_add(a, b)", "relama_add(a, b, c)"]), columns
    if kind == 8:
        element = random.choice([pa.float32(), pa.int8()])
        codes = [[random.randint(-9, 9) for _ in range(odd(n))] for _ in range(rows)]
        lists = [[vector(odd(n)) for _ in range(random.choice([0, 1, 3]))] for _ in range(rows)]
        shared = lists if oddly() else [lists[0]] * rows
        columns["a"] = (pa.list_(element), [None if oddly() else row for row in codes])
        columns["b"] = (pa.list_(FLOATS), [None if oddly() else row for row in shared])
        return f"relama_logits(i % {odd(rows)}, a, 0.5, b)", columns
    heads = random.choice([1, 1, 2, 4])
    keys = [[vector(odd(n // heads)) for _ in range(rows)] for _ in range(2)]
    columns |= {name: (FLOATS, values) for name, values in zip("bc", keys, strict=True)}
    kv_heads = random.choice([1, heads])
    kv_head = f"i % {odd(kv_heads)}"
    softcap = random.choice(["", ", 1.5", ", 30", ", i % 2 + 1", f", i % 2 + {odd(1)}"])
    call = f"relama_attention(a, 1, {kv_head}, i % 3, b, c, {odd(kv_heads)}, 0.5{softcap})"
    return call, columns


def matmul(rows: list[Any] | None, x: list[Any] | None) -> Any:
    """The product of a block in any storage, or None; raises where the lengths differ."""
    if rows is None or x is None:
        return None
    result: list[float] | None = []
    for row in rows:
        if row is None or (isinstance(row, dict) and None in row.values()):
            result = None
            continue
        if isinstance(row, list):
            weights, scale = row, 1.0
        elif "steps" not in row:
            weights, scale = row["vector"], row["scale"]
        else:
            if len(row["steps"]) != len(row["vector"]) or len(row["steps"]) != (len(x) + 31) // 32:
                raise ValueError
            weights = [
                (code - group[32] - group[33] / 16) * step
                for group, step in zip(row["vector"], row["steps"], strict=True)
                for code in group[:32]
            ][: len(x)]
            scale = row["scale"]
        if len(weights) != len(x) or None in weights:
            raise ValueError
        if result is not None:
            result.append(scale * sum(w * e for w, e in zip(weights, x, strict=True)))
    if result is not None and None in x:
        raise ValueError
    return result


def logits(rows: list[Any], vectors: list[Any]) -> Any:
    """The products of rows with the vectors beside them, without rows that have a NULL."""
    pairs = [pair for pair in zip(rows, vectors, strict=True) if None not in pair]
    products = [[0.5 * sum(map(float.__mul__, map(float, a), x)) for x in b] for a, b in pairs]
    return [list(of_vector) for of_vector in zip(*products, strict=True)] if pairs else None


def attended(call: str, columns: list[list[Any]]) -> Any:
    """Attention of one head, or None; the key at position 2 comes after the query."""
    scores, values = [], []
    for i, (query, key, value) in enumerate(zip(*columns, strict=True)):
        if i % 3 == 2:
            continue
        score = 0.5 * sum(map(float.__mul__, query, key))
        for expression in call[:-1].split(", ")[8:]:
            softcap = eval(expression, {"i": i})
            score = softcap * math.tanh(score / softcap)
        scores.append(score)
        values.append(value)
    weights = [math.exp(score - max(scores)) for score in scores]
    sums = [sum(map(float.__mul__, weights, numbers)) for numbers in zip(*values, strict=True)]
    return [y / sum(weights) for y in sums]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(*pair) for pair in zip(a, b, strict=True))
    if a is None or b is None or isinstance(a, list) or isinstance(b, list):
        return a is b
    return (math.isnan(a) and math.isnan(b)) or a == b or abs(a - b) <= 1e-5 * (1e4 + abs(b))


def run(connection: duckdb.DuckDBPyConnection) -> bool:
    """One case; whether it had a result."""
    call, columns = case()
    values = [values for _, values in columns.values()]
    rows = len(values[0])
    arrays = {name: pa.array(column, type_) for name, (type_, column) in columns.items()}
    arrow_rows = pa.table({"i": pa.array(range(rows), pa.int32()), **arrays})
    connection.register("arrow_rows", arrow_rows)
    connection.execute("create or replace table t as from arrow_rows")
    shape = random.choice(SHAPES)
    # A slice of a list keeps its elements, in another place or with a gap.
    sliced = ", ".join(f"{name}[:] as {name}" for name in columns)
    query = shape.format(call=call, repeat=random.choice([1, 3, 700 // rows + 1]), sliced=sliced)
    if "attention" in call or "logits" in call:
        query = query.partition("order by i")[0] if shape.endswith("order by i") else query
        query += random.choice(["", " group by i % 5"])
    try:
        result = [row[0] for row in connection.execute(query).fetchall()]
    except duckdb.InvalidInputException as error:
        assert call.partition("(")[0] in str(error), error
        return False
    if "matmul" in call and shape == SHAPES[0]:
        for y, x, *blocks in zip(result, *values, strict=True):
            rows = None if None in blocks else [row for block in blocks for row in block]
            assert same(y, matmul(rows, x)), (query, y, x, blocks)
    is_whole = shape in (SHAPES[0], SHAPES[2]) and "group by" not in query
    if "attention" in call and oddity == 0 and is_whole and len(values[0][0]) == len(values[1][0]):
        differences = np.subtract(result[0], attended(call, values))
        assert np.abs(differences).max() < 1e-4, (query, result, values)
    if "logits" in call and len(result) == 1 and shape == SHAPES[0]:
        assert same(result[0], logits(*values[:2])), (query, result, values)
    return True


def main() -> None:
    file, seed, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    random.seed(seed)
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": "2"})
    kernels.load(connection, file)
    end = time.monotonic() + seconds
    rounds = results = 0
    # Not by time alone: on a busy machine that would be few.
    while time.monotonic() < end or rounds < LEAST_ROUNDS:
        results += run(connection)
        rounds += 1
    print(f"{results} results in {rounds} rounds")


if __name__ == "__main__":
    main()
