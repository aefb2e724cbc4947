"""A statement in pieces gives the rows of the whole statement, in DuckDB."""

import duckdb

from relama.runtime.memory.pieces import split
from relama.runtime.statements import Model, Statement

NUMBERS = """

-- It's a comment (with one parenthesis
with source as (select * from range(5) as r (i))

select i, ')' as "odd)" from source
"""
#: The texts of models as dbt compiles them, each with names of its own.
STATEMENT = Statement(
    {
        "numbers": Model(NUMBERS, (), {}),
        "squares": Model("select i, i * i as square from __dbt__cte__numbers", ("numbers",), {}),
        "roots": Model(
            "/* ( */ select i, sqrt(square) as root from __dbt__cte__squares", ("squares",), {}
        ),
    },
    Model(
        "-- The model's last :) (\n"
        "with numbers as (select * from __dbt__cte__numbers) "
        'select numbers.i, "odd)", root from numbers inner join __dbt__cte__roots using (i)',
        ("numbers", "roots"),
        {},
    ),
)


def rows(connection: duckdb.DuckDBPyConnection) -> list[tuple[object, ...]]:
    return connection.execute("select * from result order by all").fetchall()


def test_the_pieces_give_the_rows_of_the_whole() -> None:
    with duckdb.connect() as connection:
        connection.execute(f"create table result as {STATEMENT.sql}")
        expected = rows(connection)
        assert len(expected) == 5
        for _ in range(2):
            connection.execute("delete from result")
            for part in split(STATEMENT, "insert into result"):
                connection.execute(part.sql)
            assert rows(connection) == expected


def test_only_what_several_read_becomes_a_table() -> None:
    create, insert = split(STATEMENT, "insert into result")
    assert create.sql.startswith("create or replace temporary table __dbt__cte__0 as")
    assert insert.sql.startswith("insert into result with __dbt__cte__squares as (")


def test_a_table_takes_the_place_of_one_that_is_done() -> None:
    reads = {"a": (), "b": ("a",), "c": ("a", "b"), "d": ("b", "c"), "e": ("c", "d")}
    models = {name: Model(f"text of {name}", inputs, {}) for name, inputs in reads.items()}
    statement = Statement(models, Model("last", ("d", "e"), {}))
    heads = [part.sql.split(" as ")[0] for part in split(statement, "insert into result")]
    # While c is made, a is read for the last time; so only d can be where a was.
    assert heads[:4] == [f"create or replace temporary table __dbt__cte__{n}" for n in (0, 1, 2, 0)]


def test_a_statement_without_models_stays_as_it_is() -> None:
    (part,) = split(Statement({}, Model("select 1 as x", (), {})), "insert into result")
    assert part.sql == "insert into result select 1 as x"


def test_parts_know_the_tables_that_they_read() -> None:
    weights = {name: f'"db"."schema"."{name}"' for name in ("a_weight", "b_weight")}
    models = {
        "a": Model(f"select * from {weights['a_weight']}", (), {"a_weight": weights["a_weight"]}),
        "b": Model(
            f"select * from __dbt__cte__a, {weights['b_weight']}",
            ("a",),
            {"b_weight": weights["b_weight"]},
        ),
    }
    last = Model("select * from __dbt__cte__a, __dbt__cte__b", ("a", "b"), {})
    statement = Statement(models, last).reading({"b_weight": "resident.b_weight"})
    assert list(statement.tables()) == ["a_weight", "b_weight"]
    first, second = split(statement, "insert into result")
    assert (first.tables, second.tables) == (("a_weight",), ("b_weight",))
    assert weights["a_weight"] in first.sql and "resident.b_weight" in second.sql
