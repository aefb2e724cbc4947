"""Macros at sizes that cannot be worked out by hand; the small ones are dbt unit tests.

The examples and their answers are in `models/macro_examples/`. Here are whole
distributions, thousands of rows, and several threads, with numpy as the judge.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import yaml

from generator.project.manifest import DISABLED_OPTIMIZERS

ROOT = Path(__file__).parents[2]
MACROS = [ROOT / "macros" / "tensor", ROOT / "macros" / "decode"]
Vector = npt.NDArray[np.float64]

#: What is tested here, rendered by dbt.
CALLS = {
    "sample": "relama.sample('logits', 'sampling')",
    "uniform": "relama.uniform('seed', 'sequence_id', 'position')",
    "collect_vector": "relama.collect_vector('elements', ['sequence_id', 'position'], 'y', 'i')",
    "matmul": "relama.matmul('hidden', 'weight', 1001, 300, bias=true, residual='residual')",
}

#: A call of every portable variant; DuckDB has its own of most.
DEFAULT_CALLS = {
    "collect_vector": "'elements', ['sequence_id'], 'y', 'i'",
    "exponential": "'x'",
    "inner_product": "'a', 'b'",
    "integer_divide": "'a', 2",
    "is_finite_vector": "'vector', 4",
    "matmul": "'hidden', 'weight', true, 'residual'",
    "mean_square_quotient": "'a', 'b'",
    "rms_norm": "'hidden', 'weight', 1e-5",
    "rotary_angles": "'step_input', 'inverse_frequencies'",
    "rotary_embedding": "[('queries', 2), ('keys', 1)], 'angles', 4",
    "rounded_vector": "'vector', 4",
    "series": "4, 's', 'number'",
    "softmax": "'scores', ['sequence_id']",
    "swiglu": "'gate_up', 4",
    "uniform": "'seed', 'sequence_id', 'position'",
    "values_by_dimension": "'cache', 4",
    "vector_slice": "'vector', 0, 4",
    "vector_sum": "'vector'",
}


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The SQL of `CALLS` and `DEFAULT_CALLS`, rendered by one call of dbt."""
    calls = CALLS | {
        f"default__{name}": f"relama.default__{name}({arguments})"
        for name, arguments in DEFAULT_CALLS.items()
    }
    inline = "\n".join(f"-- call {name}\n{{{{ {call} }}}}" for name, call in calls.items())
    directory = tmp_path_factory.mktemp("dbt")
    profile = {"type": "duckdb", "path": ":memory:"}
    profiles = {"relama": {"target": "dev", "outputs": {"dev": profile}}}
    (directory / "profiles.yml").write_text(yaml.safe_dump(profiles))
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", "compile", "--inline", inline]
    for option, path in (
        ("--project-dir", ROOT),
        ("--profiles-dir", directory),
        ("--target-path", directory / "target"),
        ("--log-path", directory / "logs"),
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
    # The macros of state.sql are statements; every run of dbt begins with them.
    names = {path.stem for folder in MACROS for path in folder.glob("*.sql")} - {"state"}
    examples = ROOT / "models" / "macro_examples"
    tests = yaml.safe_load((examples / "_unit_tests.yml").read_text())["unit_tests"]
    tested = {test["model"].removesuffix("_example") for test in tests}
    assert names <= tested
    assert tested == {path.stem.removesuffix("_example") for path in examples.glob("*.sql")}


def test_every_portable_variant_renders(sql: dict[str, str]) -> None:
    text = "".join(path.read_text() for path in (ROOT / "macros").rglob("*.sql"))
    assert set(re.findall(r"macro default__(\w+)", text)) == set(DEFAULT_CALLS)
    for name in DEFAULT_CALLS:
        rendered = sql[f"default__{name}"]
        assert rendered
        assert "{{" not in rendered


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


def test_matmul_in_two_halves_is_the_product(
    sql: dict[str, str], connection: duckdb.DuckDBPyConnection
) -> None:
    assert "row_id < 500" in sql["matmul"]
    assert "row_id >= 500" in sql["matmul"]
    random = np.random.default_rng(0)
    rows, columns, positions = 1001, 300, 3
    matrix = random.normal(size=(rows, columns)).astype(np.float32)
    bias = random.normal(size=rows).astype(np.float32)
    hidden = random.normal(size=(positions, columns)).astype(np.float32)
    residual = random.normal(size=(positions, rows)).astype(np.float32)
    order = random.permutation(rows)
    weight = pa.table({"row_id": order, "vector": lists(matrix[order]), "bias": bias[order]})
    write(connection, "weight", weight)
    for name, vectors in (("hidden", hidden), ("residual", residual)):
        keys = {"sequence_id": np.zeros(positions, int), "position": np.arange(positions)}
        write(connection, name, pa.table({**keys, "vector": lists(vectors)}))

    product = connection.sql(sql["matmul"]).order("position").fetchall()

    expected = hidden.astype(float) @ matrix.T.astype(float) + bias + residual
    assert [row[:2] for row in product] == [(0, position) for position in range(positions)]
    np.testing.assert_allclose([row[2] for row in product], expected, rtol=0, atol=1e-4)


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


def lists(matrix: npt.NDArray[np.float32]) -> pa.Array:
    return pa.array(list(matrix), pa.list_(pa.float32()))
