"""The plan of a memory limit: what it promises for any tables and any limit."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relama.config import ModelConfig, model_config
from relama.errors import InputError
from relama.runtime.memory.overhead import overhead, prompt_positions
from relama.runtime.memory.residency import Overhead, Plan, Table, plan_residency
from relama.runtime.memory.size import parse_size
from relama.runtime.memory.stored import reading_order

OVERHEAD = Overhead(process=100, statement=20, working=30, buffers=8, ahead=2)
SMALL = 10


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1500MB", 1_500_000_000),
        ("1.5GB", 1_500_000_000),
        ("1.5 gb", 1_500_000_000),
        ("800MiB", 800 * 1024**2),
        ("2GiB", 2 * 1024**3),
        ("64KB", 64_000),
        ("123B", 123),
    ],
)
def test_sizes_are_those_of_duckdb(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "1500", "-1GB", "1.5XB", "1,5GB", "80%", "1e9B"])
def test_what_is_no_size_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match="is not a size; write it like 1500MB"):
        parse_size(text)


def test_zero_is_refused() -> None:
    with pytest.raises(InputError, match="must be positive"):
        parse_size("0MB")


def planned(tables: list[Table], limit: int) -> Plan:
    return plan_residency(tables, limit, OVERHEAD, small=SMALL)


def used(plan: Plan) -> int:
    streaming = OVERHEAD.streaming if plan.streamed else 0
    return OVERHEAD.total - OVERHEAD.streaming + streaming + plan.resident_bytes


TABLES = st.lists(st.integers(1, 200), min_size=1, max_size=40).map(
    lambda sizes: [Table(f"table_{i}", size) for i, size in enumerate(sizes)]
)


@given(TABLES, st.integers(0, 10_000))
def test_a_plan_keeps_to_the_limit_and_loses_no_table(tables: list[Table], limit: int) -> None:
    least = OVERHEAD.total + sum(table.size for table in tables if table.size < SMALL)
    everything = OVERHEAD.total - OVERHEAD.streaming + sum(table.size for table in tables)
    if limit < min(least, everything):
        with pytest.raises(InputError, match="too small for this model; the smallest that works"):
            planned(tables, limit)
        return
    plan = planned(tables, limit)
    assert used(plan) <= limit
    assert plan.tables == tuple(tables)
    assert set(plan.resident) | set(plan.streamed) == set(tables)
    assert not set(plan.resident) & set(plan.streamed)
    assert all(table.size >= SMALL for table in plan.streamed)


@given(TABLES, st.integers(0, 10_000))
def test_no_table_is_streamed_that_would_fit(tables: list[Table], limit: int) -> None:
    try:
        plan = planned(tables, limit)
    except InputError:
        return
    if plan.streamed:
        assert used(plan) + min(table.size for table in plan.streamed) > limit


def test_everything_is_resident_where_it_fits() -> None:
    tables = [Table("a", 50), Table("b", 50)]
    assert planned(tables, 250).streamed == ()


def test_the_streamed_tables_are_spread_evenly() -> None:
    tables = [Table(f"layer_{i:02d}__o_proj_weight", 100) for i in range(20)]
    plan = planned(tables, OVERHEAD.total + 1500)
    places = [tables.index(table) for table in plan.streamed]
    assert len(places) == 5
    assert all(3 <= b - a <= 5 for a, b in itertools.pairwise(places))


def test_the_smallest_kinds_are_streamed_first() -> None:
    sizes = {"qkv_proj": 30, "down_proj": 100}
    tables = [
        Table(f"layer_{layer:02d}__{name}_weight", size, kind=name)
        for layer in range(10)
        for name, size in sizes.items()
    ]
    plan = planned(tables, OVERHEAD.total + 1300 - 500)
    kinds = [table.kind for table in plan.streamed]
    assert (kinds.count("qkv_proj"), kinds.count("down_proj")) == (10, 2)


def test_what_a_table_takes_in_memory_counts() -> None:
    tables = [Table(f"table_{i}", 100, in_memory=120) for i in range(5)]
    assert planned(tables, OVERHEAD.total + 500).resident_bytes == 480
    assert planned(tables, OVERHEAD.total + 500).streamed_bytes == 100


def test_a_table_that_is_looked_up_is_not_read_for_a_token() -> None:
    tables = [Table("embedding", 500, elements=500, looked_up=True), Table("a", 100, elements=100)]
    plan = planned(tables, OVERHEAD.total + 100)
    assert [table.name for table in plan.streamed] == ["embedding"]
    assert plan.streamed_bytes == 0
    assert plan.multiply_adds == 100


def test_reading_and_computing_overlap() -> None:
    tables = [Table(name, 100, elements=400) for name in ("a", "b")]
    plan = planned(tables, OVERHEAD.total + 100)
    assert plan.streamed_bytes == 100
    assert plan.seconds_per_token(disk=10, compute=1000) == 10
    assert plan.seconds_per_token(disk=1000, compute=100) == 8


def test_the_last_blocks_of_a_matrix_are_read_first() -> None:
    columns = {(0, 0): [1, 2], (0, 1): [3, 4], (0, 2): [5, 6], (0, 3): [7, 8, 9]}
    assert reading_order(columns, threads=2) == [7, 5, 8, 6, 9, 3, 1, 4, 2]
    rows = {(0, 1): [1, 2], (1, 1): [2, 3]}
    assert reading_order(rows, threads=1) == [1, 2, 3]


def config(width: int, kv_heads: int = 2, head_dim: int = 6) -> ModelConfig:
    return model_config(
        {
            "model_type": "llama",
            "vocab_size": 100,
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": 2,
            "num_attention_heads": 2 * kv_heads,
            "num_key_value_heads": kv_heads,
            "head_dim": head_dim,
            "rms_norm_eps": 1e-5,
            "max_position_embeddings": 128,
        }
    )


def needed(*, native: bool, whole: int = 0) -> Overhead:
    tables = [Table("a", 100, pieces=2, piece=50, vectors=70)]
    return overhead(tables, config(8), 1000, threads=3, block=64, whole=whole, native=native)


def test_what_native_attention_keeps_of_each_query_is_counted() -> None:
    """Of 4 heads a maximum, a sum and 6 sums of values, in doubles, on each of 3 threads."""
    assert needed(native=False).working == 3 * 70
    assert needed(native=True).working == 3 * 70 + 3 * 32 * 4 * 8 * 8
    assert needed(native=True, whole=100).working == 3 * 70 + 3 * 100 * 4 * 8 * 8


def test_a_step_reads_as_many_tokens_natively_as_its_keys_fit_a_small_segment() -> None:
    assert needed(native=True).statement < needed(native=False).statement
    sizes = [(2, 6), (3, 64), (8, 64), (8, 128)]
    assert [prompt_positions(config(8, *s), True) for s in sizes] == [32, 10, 4, 4]
    assert [prompt_positions(config(8, *s), False) for s in sizes] == [8, 8, 8, 8]


def test_a_statement_in_one_piece_needs_less_natively() -> None:
    whole = [needed(native=native, whole=64).statement for native in (True, False)]
    piece = [needed(native=native).statement for native in (True, False)]
    assert whole[0] - piece[0] < whole[1] - piece[1]


def test_the_record_of_the_weights_is_part_of_the_process() -> None:
    few, many = (
        overhead([Table("a", size)], config(8), 1000, threads=1, block=64).process
        for size in (1_000_000, 2_001_000_000)
    )
    assert many - few == 28_000_000
