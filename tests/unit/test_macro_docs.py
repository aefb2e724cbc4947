"""What of the macros is public, and what dbt is told of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from relama.project.macro_docs import Macro, macro_docs, macros_of
from tests.conftest import ROOT

MACROS = {path: macros_of(path) for path in sorted((ROOT / "macros").rglob("*.sql"))}
ENTRIES = {
    entry["name"]: entry
    for entry in yaml.safe_load((ROOT / "macros" / "_macros.yml").read_text())["macros"]
}
#: What users read and copy: it calls public macros.
READ = (
    *("README.md", "docs/*.md", "examples/**/*.sql", "analyses/*.sql"),
    *("models/layers/**/*", "models/state/*", "models/weights/**/*", "dbt_project.yml"),
    *("generator/relama/project/templates/*", "examples/**/*.yml"),
)


def faults(name: str, macros: list[Macro]) -> list[str]:
    """What is wrong with the macros of the file `name`.sql."""
    public = [macro for macro in macros if macro.is_public]
    wrong = [f"{macro.name} stands in {name}.sql" for macro in public if macro.name != name]
    if public and public[0] is not macros[0]:
        wrong.append(f"{name} is not the first of its file")
    return wrong


def undescribed(macro: Macro, entry: dict[str, object]) -> list[str]:
    """What the entry of a macro says nothing of."""
    arguments = entry.get("arguments", [])
    assert isinstance(arguments, list)
    assert [argument["name"] for argument in arguments] == list(macro.arguments)
    things = [entry, *arguments]
    return [f"{macro.name}: {thing['name']}" for thing in things if not thing["description"]]


@pytest.mark.parametrize("path", MACROS, ids=lambda path: path.stem)
def test_a_file_has_one_public_macro_of_its_name_and_private_ones(path: Path) -> None:
    assert faults(path.stem, MACROS[path]) == []


def test_every_public_macro_and_its_arguments_are_described() -> None:
    public = [macro for macros in MACROS.values() for macro in macros if macro.is_public]
    assert set(ENTRIES) == {macro.key for macro in public}
    assert [line for macro in public for line in undescribed(macro, ENTRIES[macro.key])] == []


def test_what_users_read_calls_public_macros() -> None:
    public = {macro.name for macros in MACROS.values() for macro in macros if macro.is_public}
    called = {
        name
        for pattern in READ
        for path in ROOT.glob(pattern)
        if path.is_file()
        for name in re.findall(r"\{\{.*?relama\.(\w+)\(", path.read_text(), re.DOTALL)
    }
    assert len(called) > 20
    assert called <= public


def test_what_is_private_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "scaled.sql"
    file.write_text(
        "{% macro _first() %}{% endmacro %}\n"
        "{#\n    The scaled vector.\n\n    vector  relation {{ a }} of\n            rows\n#}\n"
        "{% macro scaled(\n    vector, factor=1, by_head=false\n) -%}\n{% endmacro %}\n"
        "{% macro default__scaled(vector) %}{% endmacro %}\n"
        "{% macro duckdb___first() %}{% endmacro %}\n"
        "{% macro second(names=['a', 'b']) %}{% endmacro %}\n"
    )
    macros = macros_of(file)
    assert [macro.name for macro in macros if macro.is_public] == ["scaled", "second"]
    assert faults("scaled", macros) == [
        "second stands in scaled.sql",
        "scaled is not the first of its file",
    ]
    entry, second = yaml.safe_load(macro_docs(tmp_path))["macros"]
    assert entry == {
        "name": "scaled",
        "description": "The scaled vector.",
        "arguments": [
            {
                "name": "vector",
                "type": "relation",
                "description": "{% raw %}relation {{ a }} of rows{% endraw %}",
            },
            {"name": "factor", "type": "integer", "description": ""},
            {"name": "by_head", "type": "bool", "description": ""},
        ],
    }
    assert undescribed(macros[1], entry) == ["scaled: factor", "scaled: by_head"]
    assert undescribed(macros[-1], second) == ["second: second", "second: names"]
