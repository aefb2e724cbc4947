"""A dbt project of a user's own, with a generated project as its package."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from relama.project.manifest import Project

Rows = Sequence[Sequence[object]]


class UserProject:
    """Writes models and seeds, runs dbt, and reads the tables.

    Attributes:
        directory: where it lies.
        output: what the last dbt command printed.
    """

    def __init__(self, directory: Path, language_model: Project) -> None:
        self.directory = directory
        self.output = ""
        folder = os.path.relpath(language_model.directory, directory)
        name = language_model.name
        self.write(
            "dbt_project.yml",
            'name: desk\nprofile: desk\nversion: "1.0.0"\n'
            "models:\n  desk:\n"
            f"    +pre-hook: \"{{% do ref('{name}', 'forward_pass') %}}\"\n"
            "seeds:\n  desk:\n    +column_types: {body: varchar}\n",
        )
        self.write(
            "packages.yml",
            f"packages:\n  - local: {folder}/package\n  - local: {folder}/relama\n",
        )
        self.write(
            "profiles.yml",
            "desk:\n  target: dev\n  outputs:\n    dev:\n"
            "      {type: duckdb, path: desk.duckdb, threads: 2}\n",
        )
        assert self.dbt("deps"), self.output

    def allow_kernels(self) -> None:
        """Lets DuckDB load the native kernels of the package."""
        file = self.directory / "profiles.yml"
        options = "config_options: {allow_unsigned_extensions: true}, threads"
        file.write_text(file.read_text().replace("threads", options))

    def write(self, path: str, text: str) -> None:
        """Writes a file of the project."""
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def seed(self, name: str, columns: str, rows: Rows) -> None:
        """Writes a seed."""
        path = self.directory / "seeds" / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns.split(","), *rows])

    def model(self, name: str, config: str, query: str) -> None:
        """Writes a model; `config` is what stands between the parentheses."""
        self.write(f"models/{name}.sql", f"{{{{ config({config}) }}}}\n{query}\n")

    def command(self, *arguments: str) -> list[str]:
        """The command line of a dbt command."""
        return [str(Path(sys.executable).parent / "dbt"), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """dbt's environment."""
        return {
            **os.environ,
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DBT_PROFILES_DIR": str(self.directory),
        }

    def dbt(self, *arguments: str) -> bool:
        """Runs dbt; whether it succeeded."""
        done = subprocess.run(
            self.command("--no-use-colors", *arguments),
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.output = done.stdout + done.stderr
        return done.returncode == 0

    def build(self, *models: str, arguments: Sequence[str] = ()) -> Mapping[str, int]:
        """Builds models, and says how many rows of each were answered."""
        assert self.dbt("build", "--select", *models, *arguments), self.output
        return self.answered()

    def answered(self) -> Mapping[str, int]:
        """How many rows of each model the last command answered."""
        path = self.directory / "target" / "run_results.json"
        results: list[dict[str, Any]] = json.loads(path.read_text())["results"]
        return {
            result["unique_id"].split(".")[-1]: int(result["adapter_response"]["rows_affected"])
            for result in results
            if result["adapter_response"].get("code") == "ANSWERED"
        }

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with duckdb.connect(str(self.directory / "desk.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()
