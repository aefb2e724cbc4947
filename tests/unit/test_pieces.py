"""A statement in pieces gives the rows of the whole statement, in DuckDB."""

import duckdb
import pytest

from relama.errors import ProjectError
from relama.runtime.pieces import split

# As dbt writes it: CTEs of models first, then those of the statement itself.
STATEMENT = """

-- The model's last :) (
with  __dbt__cte__numbers as (

-- It's a comment (with one parenthesis
with source as (select * from range(5) as r (i))

select i, ')' as "odd)" from source
),  __dbt__cte__squares as (
select i, i * i as square from __dbt__cte__numbers
),  __dbt__cte__roots as (
/* ( */ select i, sqrt(square) as root from __dbt__cte__squares
), numbers as (

    select * from __dbt__cte__numbers

)

select numbers.i, "odd)", root from numbers inner join __dbt__cte__roots using (i)
"""


def rows(connection: duckdb.DuckDBPyConnection) -> list[tuple[object, ...]]:
    return connection.execute("select * from result order by all").fetchall()


def test_the_pieces_give_the_rows_of_the_whole() -> None:
    with duckdb.connect() as connection:
        connection.execute(f"create table result as {STATEMENT}")
        expected = rows(connection)
        assert len(expected) == 5
        # Twice: what the first time leaves behind must not be in the way.
        for _ in range(2):
            connection.execute("delete from result")
            for statement in split(STATEMENT, "insert into result"):
                connection.execute(statement)
            assert rows(connection) == expected


def test_only_what_several_read_becomes_a_table() -> None:
    create, insert = split(STATEMENT, "insert into result")
    assert create.startswith("create or replace temporary table __dbt__cte__numbers as")
    assert insert.startswith("insert into result with __dbt__cte__squares as (")


def test_a_table_is_dropped_after_its_last_reader() -> None:
    statement = (
        "with __dbt__cte__a as (select 1 as x), __dbt__cte__b as (select x from __dbt__cte__a "
        "union all select x from __dbt__cte__a), __dbt__cte__c as (select x from __dbt__cte__a), "
        "__dbt__cte__d as (select * from __dbt__cte__b, __dbt__cte__c), "
        "__dbt__cte__e as (select * from __dbt__cte__d) "
        "select * from __dbt__cte__d, __dbt__cte__e"
    )
    heads = [piece.split(" as ")[0] for piece in split(statement, "insert into result")]
    assert heads[:3] == [
        "create or replace temporary table __dbt__cte__a",
        "create or replace temporary table __dbt__cte__d",
        "drop table __dbt__cte__a",
    ]


def test_a_statement_without_models_stays_as_it_is() -> None:
    assert split("select 1 as x", "insert into result") == ["insert into result select 1 as x"]


def test_what_is_not_closed_is_reported() -> None:
    with pytest.raises(ProjectError, match="never closed"):
        split("with __dbt__cte__a as (select (1", "insert into result")
