"""Macros at sizes that cannot be worked out by hand; the small ones are dbt unit tests.

The examples and their answers are in `models/macro_examples/`. Here are whole
distributions, thousands of rows, and several threads, with numpy as the judge.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import yaml

from relama import storage as storages
from relama.passes import PARALLELISM
from relama.project.manifest import DISABLED_OPTIMIZERS

ROOT = Path(__file__).parents[2]
MACROS = [ROOT / "macros" / name for name in ("tensor", "decode", "storage", "tokenizer")]
#: What only other macros call; their examples are examples of these. `input` has no SQL of its
#: own: what it gives is tested with the text that dbt compiles (test_docs.py).
PARTS = {
    "block_matmul_pairs",
    "dequantized",
    "input",
    "same",
    "storage",
    "weight",
    "weight_table",
} | {
    *storages.STORAGES,
    *("byte_symbols", "decoded_bytes", "encode_words", "list_chunks", "normalized_text"),
    *("spelled_words", "split_text", "symbol_token", "text_literal", "text_words"),
    *("token_symbol", "tokenizer_settings", "row_input"),
    *("added_token_passes", "byte_runs", "cut_pieces", "decoded_text", "is_one_of"),
    *("encoded_chunks", "encoded_windows", "escaped_letter", "found_added_tokens"),
    *("pair_symbols", "split_between", "symbol_tokens"),
    *("hexadecimal_literal", "joined_windows", "literal_of", "opened_tokens"),
    *("running_package", "several_tokenizers", "split_words", "unguarded", "word_windows"),
    *("words_and_added_tokens", "added_tokens"),
}
Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Size:
    """A matrix and how it is stored."""

    rows: int
    columns: int
    blocks: int
    plus: bool = False  # with a bias and a residual

    @property
    def name(self) -> str:
        return f"{self.rows}_{self.columns}_{self.blocks}"


SIZES = [
    Size(1001, 300, 3, plus=True),
    Size(7, 5, 1, plus=True),
    Size(33, 20, 2),
    Size(130, 8192, 2),
]
STORAGES = ["float32", "int8"]

#: What is tested here, rendered by dbt.
CALLS = {
    "sample": "relama.sample('logits', 'sampling')",
    "uniform": "relama._uniform('seed', 'sequence_id', 'position')",
    "collect_vector": "relama._collect_vector('elements', ['sequence_id', 'position'], 'y', 'i')",
    "matmul": "relama.matmul('hidden', 'weight', bias=true, residual='residual')",
    "quantize_int8": "relama.quantized('weight', 'int8', bias=true)",
    "quantize_int4": "relama.quantized('weight', 'int4', bias=true)",
    "dequantized_int4": "relama._dequantized('w', 'int4')",
    "attention_parallel": "relama.attention("
    f"'rotated', 'cache', 'appended', 'pages', 'paged', 6, 2, 8, {PARALLELISM})",
} | {f"faces_{name}": f"relama._{name}_storage() | join(' ')" for name in storages.STORAGES}
SINGLE = "single_token=relama.single_token()"
#: The same, in the text for one new token of each sequence as well.
BOTH_TEXTS = {
    "attention": (
        f"relama.attention('rotated', 'cache', 'appended', 'pages', 'paged', 6, 2, 8, {SINGLE})"
    ),
    "kv_page": "relama.kv_page('cache', 8, page_size=64)",
    "paged": "relama.paged('rotated', 'pages')",
}
for size in SIZES:
    plus = ", bias=true, residual='residual'" if size.plus else ""
    for storage in STORAGES:
        arguments = f"rows={size.rows}, blocks={size.blocks}, storage='{storage}'"
        blocks = f"relama.matrix_blocks('weight', {arguments}, bias=true)"
        product = f"blocks={size.blocks}, storage='{storage}'{plus}"
        CALLS[f"blocks_{storage}_{size.name}"] = blocks
        CALLS[f"rows_{storage}_{size.name}"] = f"relama.matrix_rows('blocks', {arguments})"
        BOTH_TEXTS[f"product_{storage}_{size.name}"] = (
            f"relama.block_matmul('hidden', 'blocks', {product}, {SINGLE})"
        )


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The SQL of all calls, rendered by dbt; that of the text for decoding ends in `_decode`."""
    directory = tmp_path_factory.mktemp("dbt")
    decode = rendered(directory, BOTH_TEXTS, "{relama_decode: true}")
    return rendered(directory, CALLS | BOTH_TEXTS, "{}") | {
        f"{name}_decode": text for name, text in decode.items()
    }


def rendered(directory: Path, calls: Mapping[str, str], variables: str) -> dict[str, str]:
    inline = "\n".join(f"-- call {name}\n{{{{ {call} }}}}" for name, call in calls.items())
    profile = {"type": "duckdb", "path": ":memory:"}
    profiles = {"relama": {"target": "dev", "outputs": {"dev": profile}}}
    (directory / "profiles.yml").write_text(yaml.safe_dump(profiles))
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", "compile", "--inline", inline]
    for option, path in (
        ("--project-dir", ROOT),
        ("--profiles-dir", directory),
        ("--target-path", directory / "target"),
        ("--log-path", directory / "logs"),
        ("--vars", variables),
    ):
        command += [option, str(path)]
    environment = dict(os.environ, DBT_SEND_ANONYMOUS_USAGE_STATS="false")
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = re.split(r"^-- call (\w+)\n", done.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 4}) as connection:
        connection.execute(f"set disabled_optimizers = '{DISABLED_OPTIMIZERS}'")
        yield connection


def test_every_public_macro_has_an_example_with_a_unit_test() -> None:
    # Statements, which every run of dbt begins with.
    statements = {
        "begin_rows",
        "begin_run",
        "create_batch_state",
        "forget_outgrown",
        "limit_memory",
        "set_prompt",
        "state",
    }
    names = {path.stem for folder in MACROS for path in folder.glob("*.sql")} - statements - PARTS
    examples = ROOT / "models" / "macro_examples"
    tests = yaml.safe_load((examples / "_unit_tests.yml").read_text())["unit_tests"]
    tested = {test["model"] for test in tests}
    assert tested == {path.stem for path in examples.glob("*.sql")}
    called = "".join(path.read_text() for path in examples.glob("*.sql"))
    assert names <= set(re.findall(r"relama\._?(\w+)\(", called))


#: What a storage has to be able to do in a table of rows, in one of blocks, and in any.
FACES = {
    "rows": {"prepared_rows", "row_product", "row_scale"},
    "blocks": {
        *("block_row", "block_columns", "row_of_block", "block_input", "block_products"),
        "block_matmul_many",
    },
    "any": {"quantized", "dequantized", "error_bound"},
}


@pytest.mark.parametrize("name", storages.STORAGES)
def test_a_storage_has_the_faces_of_its_layouts(sql: dict[str, str], name: str) -> None:
    expected = {face for layout in storages.STORAGES[name].layouts for face in FACES[layout]}
    assert set(sql[f"faces_{name}"].split()) == expected | FACES["any"]


def test_the_parallelism_of_the_macro_is_the_generators(sql: dict[str, str]) -> None:
    assert sql["attention"] == sql["attention_parallel"]
    assert sql["attention"].count("heads_") == 2 * PARALLELISM


SETTINGS = [
    (1.0, 0, 1.0),
    (0.7, 0, 1.0),
    (1.3, 5, 1.0),
    (1.0, 0, 0.8),
    (0.8, 6, 0.9),
]


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), SETTINGS)
def test_sample_draws_from_the_distribution(
    sql: dict[str, str],
    connection: duckdb.DuckDBPyConnection,
    temperature: float,
    top_k: int,
    top_p: float,
) -> None:
    logits = np.array([0.3, 2.1, -1.2, 1.7, 0.0, 2.4, -0.6, 1.1, 0.8, -0.1], np.float32)
    expected = probabilities(logits, temperature, top_k, top_p)
    draws = 2000
    write_logits(connection, logits, draws)
    write_sampling(connection, temperature, top_k, top_p, seed=42)

    drawn = connection.sql(sql["sample"]).fetchnumpy()

    assert sorted(drawn["position"]) == list(range(1, draws + 1))
    counts = np.bincount(drawn["token_id"], minlength=len(logits))
    kept = expected > 0
    assert not counts[~kept].any()
    wanted = draws * expected[kept]
    chi_square = float(((counts[kept] - wanted) ** 2 / wanted).sum())
    assert chi_square < chi_square_at_one_in_a_thousand(int(kept.sum()) - 1)
    logprobs = np.log(probabilities(logits, 1.0, 0, 1.0))
    np.testing.assert_allclose(drawn["logprob"], logprobs[drawn["token_id"]], atol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("logits", [[0, np.nan, 1], [0, np.inf, 1], [-np.inf, -np.inf]])
def test_sample_of_what_is_no_number_is_an_error(
    sql: dict[str, str],
    connection: duckdb.DuckDBPyConnection,
    temperature: float,
    logits: list[float],
) -> None:
    write_logits(connection, np.array(logits, np.float32), positions=2)
    write_sampling(connection, temperature, 0, 1.0, seed=0)
    with pytest.raises(duckdb.Error, match="The logits are NaN or infinite"):
        connection.sql(sql["sample"]).fetchall()


def test_sample_depends_on_seed_and_place_alone(
    sql: dict[str, str], connection: duckdb.DuckDBPyConnection
) -> None:
    def draw(seed: int) -> list[int]:
        write_sampling(connection, 1.0, 0, 1.0, seed)
        rows = connection.sql(sql["sample"]).order("sequence_id, position").fetchall()
        return [row[2] for row in rows]

    write_logits(connection, np.zeros(50, np.float32), positions=100)
    first, again, other = draw(1), draw(1), draw(2)
    assert first == again
    assert sum(a == b for a, b in zip(first, other, strict=True)) < 20


@pytest.mark.parametrize("case", range(30))
def test_sample_keeps_what_transformers_keeps(
    sql: dict[str, str], connection: duckdb.DuckDBPyConnection, case: int
) -> None:
    """Instead of draws, u runs evenly over [0, 1): counts are the probabilities themselves."""
    random = np.random.default_rng(case)
    logits = random.normal(0, 2, size=20).astype(np.float32)
    temperature = float(random.choice([0.3, 0.7, 1.0, 1.5]))
    top_k = int(random.choice([0, 1, 3, 10, 20, 50]))
    top_p = float(random.choice([0.01, 0.3, 0.7, 0.95, 1.0]))
    steps = 2000
    write_logits(connection, logits, steps)
    write_sampling(connection, temperature, top_k, top_p, seed=0)
    sample, uniform = (" ".join(sql[name].split()) for name in ("sample", "uniform"))
    assert sample.count(uniform) == 1
    statement = sample.replace(uniform, f"((position + 0.5) / {steps})")

    drawn = connection.sql(statement).fetchnumpy()

    frequencies = np.bincount(drawn["token_id"], minlength=len(logits)) / steps
    expected = probabilities(logits, temperature, top_k, top_p)
    assert not frequencies[expected == 0].any()
    assert frequencies[expected > 1 / steps].all()
    np.testing.assert_allclose(frequencies, expected, rtol=0, atol=1.01 / steps)


@pytest.mark.parametrize("rows", [2047, 2049, 20_000])
def test_collect_vector_sorts_shuffled_rows(
    sql: dict[str, str], connection: duckdb.DuckDBPyConnection, rows: int
) -> None:
    random = np.random.default_rng(rows)
    connection.execute("set preserve_insertion_order = false")
    order = random.permutation(3 * rows)
    elements = pa.table({"sequence_id": order % 3, "i": order // 3, "y": np.sqrt(order)})
    write(connection, "elements", elements.append_column("position", pa.array(order % 3 + 7)))

    collected = connection.sql(sql["collect_vector"]).order("sequence_id").fetchall()

    assert [row[:2] for row in collected] == [(0, 7), (1, 8), (2, 9)]
    for sequence_id, _, vector in collected:
        np.testing.assert_array_equal(vector, np.sqrt(3 * np.arange(rows) + sequence_id))


def test_matmul_is_the_product(sql: dict[str, str], connection: duckdb.DuckDBPyConnection) -> None:
    matrix, bias = write_weight(connection, 1001, 300)
    hidden, residual = write_hidden(connection, [(0, 3)], 300, 1001)

    product = connection.sql(sql["matmul"]).order("position").fetchall()

    expected = hidden.astype(float) @ matrix.T.astype(float) + bias + residual
    assert [row[:2] for row in product] == [(0, position) for position in range(3)]
    np.testing.assert_allclose([row[2] for row in product], expected, rtol=0, atol=1e-4)


def test_quantize_int8_rounds_to_the_nearest_code(
    sql: dict[str, str], connection: duckdb.DuckDBPyConnection
) -> None:
    matrix, bias = write_weight(connection, 500, 77)
    codes, scales = quantized(matrix)

    rows = connection.sql(sql["quantize_int8"]).order("row_id").fetchall()

    assert [row[0] for row in rows] == list(range(500))
    np.testing.assert_array_equal([row[1] for row in rows], codes)
    np.testing.assert_array_equal(np.array([row[2] for row in rows], np.float32), scales)
    np.testing.assert_array_equal(np.array([row[3] for row in rows], np.float32), bias)
    assert np.abs(codes * scales[:, None] - matrix).max() <= scales.max() * 0.50001


def test_quantize_int4_keeps_within_half_a_step(
    sql: dict[str, str], connection: duckdb.DuckDBPyConnection
) -> None:
    """Groups far from 0, of one sign, of one value, tiny beside others, and of zeros."""
    random = np.random.default_rng(4)
    matrix = random.normal(size=(600, 75))
    matrix[:100, :32] = np.abs(matrix[:100, :32])
    matrix[100:200, :32] = 5 + matrix[100:200, :32] / 100
    matrix[200:300, :32] *= np.logspace(-6, 0, 100)[:, None]
    matrix[300:400, 32:64] = -np.linspace(0, 3, 100)[:, None]
    matrix[400:500, 32:64] = 0
    matrix[500:510] = 0
    matrix = matrix.astype(np.float32)
    weight = pa.table({"row_id": range(600), "vector": lists(matrix), "bias": matrix[:, 0]})
    write(connection, "weight", weight)

    connection.execute(f"create or replace table quantized as {sql['quantize_int4']}")
    vectors = connection.sql(
        f"select {sql['dequantized_int4']} as vector from quantized as w order by row_id"
    ).fetchall()
    rows = connection.sql("select vector, steps, bias from quantized order by row_id").fetchall()

    # What DuckDB packs into 4 and into 6 bits.
    codes = np.array([row[0] for row in rows])
    assert codes.shape == (600, 3, 34)
    assert (codes.min(), codes.max()) == (-8, 7)
    assert max(max(row[1]) for row in rows) == 63
    np.testing.assert_array_equal(np.array([row[2] for row in rows], np.float32), matrix[:, 0])
    # The columns beyond the matrix fill up the last group: nothing reads them.
    stored = np.array([row[0] for row in vectors])[:, :75]
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    assert (np.abs(stored - matrix) <= largest / 15 * 1.0001).all()
    assert not stored[400:500, 32:64].any()
    # A matrix that has been in 16 evenly spaced values comes out as it went in.
    even = np.tile(np.linspace(-1.75, 2, 16, dtype=np.float32), (1, 2))
    write(connection, "weight", pa.table({"row_id": [0], "vector": lists(even), "bias": [0.0]}))
    connection.execute(f"create or replace table quantized as {sql['quantize_int4']}")
    again = connection.sql(f"select {sql['dequantized_int4']} from quantized as w").fetchall()
    np.testing.assert_allclose(again[0][0], even[0], atol=1e-6)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_matrix_rows_takes_blocks_apart(
    sql: dict[str, str], connection: duckdb.DuckDBPyConnection, size: Size, storage: str
) -> None:
    matrix, _ = write_weight(connection, size.rows, size.columns)
    write_blocks(connection, sql, size, storage)

    rows = connection.sql(sql[f"rows_{storage}_{size.name}"]).order("row_id").fetchall()

    assert connection.sql("from blocks").fetchall()[1:] == []
    assert [row[0] for row in rows] == list(range(size.rows))
    expected = matrix if storage == "float32" else quantized(matrix)[0]
    np.testing.assert_array_equal([row[1] for row in rows], expected)


#: How far a product may be off, as a share of the largest. Two positions at once are
#: rounded to integers, the more coarsely the longer the rows are.
PAIRS = {7: 1e-5, 33: 5e-5, 1001: 5e-4, 130: 5e-3}


@pytest.mark.parametrize("text", ["", "_decode"])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
@pytest.mark.parametrize("threads", [2, 4])
def test_block_matmul_is_the_product(
    sql: dict[str, str],
    connection: duckdb.DuckDBPyConnection,
    size: Size,
    storage: str,
    text: str,
    threads: int,
) -> None:
    """Positions of three sequences in no order, an odd number of them; to decode, one."""
    connection.execute(f"set threads = {threads}")
    matrix, bias = write_weight(connection, size.rows, size.columns)
    write_blocks(connection, sql, size, storage)
    if storage == "int8":
        codes, scales = quantized(matrix)
        matrix = codes.astype(np.float32) * scales[:, None]
    many = 5000 if size.columns < 100 else 8
    lengths = [(3, 1)] if text else [(0, many), (3, 4), (7, many // 2 - 1)]
    hidden, residual = write_hidden(connection, lengths, size.columns, size.rows)
    expected = hidden.astype(float) @ matrix.T.astype(float)
    if size.plus:
        expected += bias + residual

    statement = sql[f"product_{storage}_{size.name}{text}"]
    product = connection.sql(statement).order("sequence_id, position").fetchall()

    assert [row[:2] for row in product] == [(s, p) for s, count in lengths for p in range(count)]
    tolerance = PAIRS[size.rows] if storage == "int8" and not text else 1e-5
    differences = np.abs(np.array([row[2] for row in product]) - expected)
    assert differences.max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("text", ["", "_decode"])
@pytest.mark.parametrize("storage", STORAGES)
def test_block_matmul_with_zeros(
    sql: dict[str, str], connection: duckdb.DuckDBPyConnection, storage: str, text: str
) -> None:
    """A hidden state of zeros, beside another where it need not be one, and a matrix of zeros."""
    size = SIZES[2]
    statement = sql[f"product_{storage}_{size.name}{text}"]
    lengths = [(0, 1)] if text else [(0, 1), (1, 1)]
    write_weight(connection, size.rows, size.columns)
    write_blocks(connection, sql, size, storage)
    write_hidden(connection, lengths, size.columns, size.rows)
    connection.execute("update hidden set vector = list_transform(vector, lambda x: 0 * x)")
    rows = connection.sql(statement).fetchall()
    assert [list(row[2]) for row in rows] == [[0.0] * size.rows] * len(lengths)

    connection.execute("update weight set vector = list_transform(vector, lambda x: 0 * x)")
    write_blocks(connection, sql, size, storage)
    write_hidden(connection, lengths, size.columns, size.rows)
    rows = connection.sql(statement).fetchall()
    assert [list(row[2]) for row in rows] == [[0.0] * size.rows] * len(lengths)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("size", SIZES[:3], ids=lambda size: size.name)
def test_block_matmul_below_a_join_on_the_position(
    sql: dict[str, str], connection: duckdb.DuckDBPyConnection, size: Size, storage: str
) -> None:
    """As where a norm of queries reads it: there DuckDB drops a condition on positions."""
    matrix, bias = write_weight(connection, size.rows, size.columns)
    write_blocks(connection, sql, size, storage)
    hidden, residual = write_hidden(connection, [(0, 3)], size.columns, size.rows)
    expected = hidden.astype(float) @ matrix.T.astype(float)
    if size.plus:
        expected += bias + residual
    connection.execute("create table angles as select range as position from range(8)")

    statement = f"""
        select a.position, x.square
        from (
            select *, list_inner_product(vector, vector) as square
            from ({sql[f"product_{storage}_{size.name}"]}) as product
        ) as x
        inner join angles as a on x.position = a.position
        order by all
    """
    rows = connection.sql(statement).fetchall()

    assert [row[0] for row in rows] == [0, 1, 2]
    squares = (expected**2).sum(axis=1)
    np.testing.assert_allclose([row[1] for row in rows], squares, rtol=0.05)


@pytest.mark.parametrize("appended", [1, 3, 70])
@pytest.mark.parametrize("paged", [0, 64, 128])
def test_attention_over_pages(
    sql: dict[str, str], connection: duckdb.DuckDBPyConnection, appended: int, paged: int
) -> None:
    """Sequences of different lengths; what `paged` says lies in pages, the rest in the cache."""
    heads, kv_heads, width = 6, 2, 8
    random = np.random.default_rng(appended + paged)
    cached = {0: 130, 4: 5, 9: 0}
    keys, values, queries = {}, {}, {}
    for sequence_id, count in cached.items():
        shape = (count + appended, kv_heads, width)
        keys[sequence_id] = 2 * random.normal(size=shape).astype(np.float32)
        values[sequence_id] = random.normal(size=shape).astype(np.float32)
        queries[sequence_id] = 2 * random.normal(size=(appended, heads, width)).astype(np.float32)
    for name, selected in (("cache", False), ("appended", True)):
        places = [
            (sequence_id, position, head)
            for sequence_id, count in cached.items()
            for position in (range(count, count + appended) if selected else range(count))
            for head in range(kv_heads)
        ]
        random.shuffle(places)
        columns = dict(
            zip(("sequence_id", "position", "kv_head"), zip(*places, strict=True), strict=True)
        )
        columns["key"] = lists([keys[s][p, h] for s, p, h in places])
        columns["value"] = lists([values[s][p, h] for s, p, h in places])
        write(connection, name, pa.table(columns))
    places = [(s, count + i) for s, count in cached.items() for i in range(appended)]
    columns = dict(zip(("sequence_id", "position"), zip(*places, strict=True), strict=True))
    vectors = [np.concatenate([*queries[s][p - cached[s]], *keys[s][p]]) for s, p in places]
    write(connection, "rotated", pa.table({**columns, "vector": lists(vectors)}))
    pages = f"select * from ({sql['kv_page']}) where first_position < {paged}"
    connection.execute(f"create or replace table pages as {pages}")
    connection.execute(f"create or replace table paged as {sql['paged']}")
    assert dict(connection.sql("from paged").fetchall()) == {0: paged, 4: 0, 9: 0}

    statements = [sql["attention"]]
    if appended == 1:
        # The text for decoding reads one sequence.
        statements += [of_one(sql["attention_decode"], sequence_id) for sequence_id in cached]
    attention = [row for statement in statements for row in connection.sql(statement).fetchall()]
    assert len(attention) == appended * len(cached) * (2 if appended == 1 else 1)
    assert {row[:2] for row in attention} == set(places)
    for sequence_id, position, vector in attention:
        query = queries[sequence_id][position - cached[sequence_id]]
        expected = attended(query, keys[sequence_id], values[sequence_id], position)
        np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-5)


def of_one(statement: str, sequence_id: int) -> str:
    """The statement over the rows of one sequence."""
    return re.sub(
        r"\bfrom (rotated|cache|appended|pages)\b|\bjoin (rotated|paged)\b",
        lambda found: (
            f"{found[0].split()[0]} (from {found[1] or found[2]} where sequence_id = {sequence_id})"
        ),
        statement,
    )


def attended(query: Matrix, keys: Matrix, values: Matrix, position: int) -> Vector:
    """Attention of one position to all up to its own, the heads side by side."""
    vectors = []
    for head, row in enumerate(query.astype(float)):
        kv_head = head * keys.shape[1] // len(query)
        scores = keys[: position + 1, kv_head] @ row / np.sqrt(len(row))
        weights = np.exp(scores - scores.max())
        vectors.append(weights / weights.sum() @ values[: position + 1, kv_head])
    return np.concatenate(vectors)


def quantized(matrix: Matrix) -> tuple[npt.NDArray[np.int8], Matrix]:
    """Codes of 8 bits and a scale for every row, halves rounded away from zero."""
    largest = np.abs(matrix).max(axis=1).astype(float)
    steps = matrix * (127 / largest)[:, None]
    codes = np.sign(steps) * np.floor(np.abs(steps) + 0.5)
    return codes.astype(np.int8), (largest / 127).astype(np.float32)


def write_weight(
    connection: duckdb.DuckDBPyConnection, rows: int, columns: int
) -> tuple[Matrix, Matrix]:
    """A random matrix and a bias, its rows in no order."""
    random = np.random.default_rng(rows)
    matrix = random.normal(size=(rows, columns)).astype(np.float32)
    bias = random.normal(size=rows).astype(np.float32)
    order = random.permutation(rows)
    weight = pa.table({"row_id": order, "vector": lists(matrix[order]), "bias": bias[order]})
    write(connection, "weight", weight)
    return matrix, bias


def write_blocks(
    connection: duckdb.DuckDBPyConnection, sql: Mapping[str, str], size: Size, storage: str
) -> None:
    rows = "weight"
    if storage == "int8":
        connection.execute(f"create or replace table quantized as {sql['quantize_int8']}")
        rows = "quantized"
    statement = sql[f"blocks_{storage}_{size.name}"].replace("from weight", f"from {rows}")
    connection.execute(f"create or replace table blocks as {statement}")


def write_hidden(
    connection: duckdb.DuckDBPyConnection,
    lengths: list[tuple[int, int]],
    columns: int,
    rows: int,
) -> tuple[Matrix, Matrix]:
    """Random `hidden` and `residual` of these sequences, each in an order of its own."""
    random = np.random.default_rng(columns)
    places = [(sequence_id, p) for sequence_id, count in lengths for p in range(count)]
    matrices = []
    for name, width in (("hidden", columns), ("residual", rows)):
        vectors = random.normal(size=(len(places), width)).astype(np.float32)
        order = random.permutation(len(places))
        keys = {
            "sequence_id": [places[i][0] for i in order],
            "position": [places[i][1] for i in order],
        }
        write(connection, name, pa.table({**keys, "vector": lists(vectors[order])}))
        matrices.append(vectors)
    return matrices[0], matrices[1]


def probabilities(
    logits: npt.NDArray[np.float32], temperature: float, top_k: int, top_p: float
) -> Vector:
    """What `generate` of transformers draws from: temperature, then top-k, then top-p.

    As `TopPLogitsWarper` does it, from the least likely upwards: what is removed
    sums to at most 1 - top_p.
    """
    scaled = logits.astype(float) / temperature
    if top_k:
        scaled[scaled < np.sort(scaled)[-min(top_k, len(scaled))]] = -np.inf
    kept = np.exp(scaled - scaled.max())
    kept /= kept.sum()
    ascending = np.argsort(kept)
    removed = ascending[np.cumsum(kept[ascending]) <= 1 - top_p]
    kept[np.setdiff1d(removed, ascending[-1:])] = 0
    return np.asarray(kept / kept.sum())


def chi_square_at_one_in_a_thousand(degrees: int) -> float:
    """Wilson and Hilferty's approximation of the 99.9th percentile."""
    spread = 2 / (9 * degrees)
    return float(degrees * (1 - spread + 3.0902 * spread**0.5) ** 3)


def write_logits(
    connection: duckdb.DuckDBPyConnection, logits: npt.NDArray[np.float32], positions: int
) -> None:
    """The same logits at every position."""
    columns = {
        "sequence_id": np.zeros(positions * len(logits), np.int32),
        "position": np.repeat(np.arange(positions, dtype=np.int32), len(logits)),
        "token_id": np.tile(np.arange(len(logits), dtype=np.int32), positions),
        "logit": np.tile(logits, positions),
    }
    write(connection, "logits", pa.table(columns))


def write_sampling(
    connection: duckdb.DuckDBPyConnection, temperature: float, top_k: int, top_p: float, seed: int
) -> None:
    row = {"temperature": [temperature], "top_k": [top_k], "top_p": [top_p], "seed": [seed]}
    write(connection, "sampling", pa.table(row))


def write(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.register("arrow", table)
    connection.execute(f"create or replace table {name} as select * from arrow")
    connection.unregister("arrow")


def lists(matrix: Iterable[Matrix]) -> pa.Array:
    return pa.array(list(matrix), pa.list_(pa.float32()))
