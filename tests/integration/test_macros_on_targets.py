"""The macros' unit tests, which are DuckDB's in `make test`, on the other targets.

The project is this repository's macros, examples and their seeds, with the answers that are worked
out there. What a target does not support is listed, and its macro has to say so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.engines import PostgresServer, clickhouse_profile, postgres_profile

#: Examples of macros that `macros/unsupported.sql` names, and of pages.
UNSUPPORTED = {
    "clickhouse": {
        *("block_matmul", "block_matmul_int8", "expert_matmul_in_blocks", "matrix_rows"),
        *("kv_page", "paged"),
        *("quantize_int4", "quantize_int567", "tokenize", "detokenize"),
    },
    "postgres": {
        *("block_matmul", "block_matmul_int8", "expert_matmul_in_blocks", "matrix_rows"),
        *("kv_page", "paged"),
        *("quantize_int4", "quantize_int567", "quantize_int8", "tokenize", "detokenize"),
    },
}
#: Unit tests of what DuckDB does otherwise: pages, and a cache for each layer.
OTHERWISE = {
    "attention_shares_a_page_without_sequence",
    "attention_is_the_same_however_the_cache_is_packed",
    "state_tables_have_layers_of_two_digits",
}
#: The types of the seeds and of the answers, where a database calls them otherwise.
TYPES = {
    "clickhouse": {
        "double": "Float64",
        "varchar": "String",
        "real": "Float32",
        "real[]": "Array(Float32)",
        "real[][]": "Array(Array(Float32))",
        "integer[]": "Array(Int32)",
        "integer": "Int32",
        "bigint": "Int64",
        "boolean": "Bool",
    },
    "postgres": {"double": "double precision", "varchar": "text"},
}


def write_examples(directory: Path, output: dict[str, Any]) -> None:
    """The project of the examples, for a profile's output."""
    target = output["type"]
    shutil.copytree(ROOT / "macros", directory / "macros")
    shutil.copytree(ROOT / "models" / "macro_examples", directory / "models" / "macro_examples")
    shutil.copytree(ROOT / "seeds" / "macro_examples", directory / "seeds" / "macro_examples")
    settings = yaml.safe_load((ROOT / "dbt_project.yml").read_text())
    settings["on-run-start"] = []
    settings["test-paths"] = []
    settings["models"]["relama"] = {"macro_examples": {"+materialized": "view"}}
    settings["seeds"]["relama"] = {"macro_examples": {}}
    (directory / "dbt_project.yml").write_text(yaml.safe_dump(settings))
    profiles = {"relama": {"target": "dev", "outputs": {"dev": output}}}
    (directory / "profiles.yml").write_text(yaml.safe_dump(profiles))
    left_out = {f"{name}_example" for name in UNSUPPORTED[target]}
    examples = directory / "models" / "macro_examples"
    for name in left_out:
        (examples / f"{name}.sql").unlink()
    models = yaml.safe_load((examples / "_models.yml").read_text())
    models["models"] = [model for model in models["models"] if model["name"] not in left_out]
    (examples / "_models.yml").write_text(yaml.safe_dump(models))
    tests = yaml.safe_load((examples / "_unit_tests.yml").read_text())["unit_tests"]
    tests = [
        _written_for(target, test)
        for test in tests
        if test["model"] not in left_out and test["name"] not in OTHERWISE
    ]
    (examples / "_unit_tests.yml").write_text(yaml.safe_dump({"unit_tests": tests}))
    seeds = directory / "seeds" / "macro_examples"
    for file in seeds.glob("*.csv"):
        file.write_text("\n".join(_as_array(target, line) for line in file.read_text().split("\n")))
    text = (seeds / "_seeds.yml").read_text()
    for ours, theirs in TYPES[target].items():
        text = text.replace(f": {ours}\n", f": {theirs}\n")
    (seeds / "_seeds.yml").write_text(text)


def _written_for(target: str, value: Any) -> Any:
    """A unit test, its arrays as the database writes them."""
    if isinstance(value, dict):
        return {key: _written_for(target, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_written_for(target, item) for item in value]
    if isinstance(value, str) and value.startswith("["):
        return _as_array(target, value)
    return value


def _as_array(target: str, text: str) -> str:
    """`[1, 2]` is `{1, 2}` in PostgreSQL."""
    if target != "postgres":
        return text
    text = text.replace("[", "{").replace("]", "}")
    # Two braces are Jinja's.
    return text.replace("{{", "{ {").replace("}}", "} }")


def build_examples(directory: Path) -> str:
    program = "from dbt.cli.main import cli; cli()"
    environment = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-use-colors", "build", "--profiles-dir", "."],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_postgres(plain_postgres: PostgresServer, tmp_path: Path) -> None:
    database = plain_postgres.database("macros")
    with plain_postgres.connect(database) as connection:
        # As in DuckDB; PostgreSQL rounds exact numbers only.
        connection.execute(
            "create function round(double precision, integer) returns double precision "
            "immutable language sql return cast(round(cast($1 as numeric), $2) as double precision)"
        )
    directory = tmp_path / "examples"
    write_examples(directory, postgres_profile(plain_postgres, database, "public"))
    shutil.copy(ROOT / "tests" / "fixtures" / "postgres_columns.sql", directory / "macros")
    printed = build_examples(directory)
    assert len(re.findall(r"PASS \w+_example::", printed)) > 30


@pytest.mark.usefixtures("clickhouse_directory")
def test_clickhouse(tmp_path: Path) -> None:
    directory = tmp_path / "examples"
    settings = {"join_use_nulls": 1, "prefer_column_name_to_alias": 1}
    write_examples(directory, clickhouse_profile("examples") | {"custom_settings": settings})
    printed = build_examples(directory)
    assert len(re.findall(r"PASS \w+_example::", printed)) > 30


def test_what_is_left_out_says_that_it_is_not_supported() -> None:
    text = (ROOT / "macros" / "unsupported.sql").read_text()
    named = set(re.findall(r"macro default__(\w+)\(", text))
    assert named == {
        *("block_matmul", "matrix_blocks", "matrix_rows", "kv_page"),
        *("_rounded_rows", "_int8_dequantized", "_grouped_rows", "_int4_dequantized"),
        *("tokenize", "detokenize"),
    }
    # Every other macro that is dispatched has SQL for each target.
    macros = "".join(path.read_text() for path in (ROOT / "macros").rglob("*.sql"))
    dispatched = set(re.findall(r"dispatch\(\s*'(\w+)'", macros))
    for name in dispatched:
        assert f"macro default__{name}(" in macros, name
