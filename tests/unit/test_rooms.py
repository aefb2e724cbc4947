"""A room of the runtime has one door: its `__init__.py`. Nothing outside looks behind it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "generator" / "relama" / "runtime"
ROOMS = sorted(path.parent.name for path in RUNTIME.glob("*/__init__.py"))
FILES = [
    path for folder in ("generator", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))
]


def imported(source: str) -> Iterator[str]:
    """The full names that a module imports, those within functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "an import from a parent does not name its package"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def behind_the_door(source: str, room: str) -> list[str]:
    """What a module imports of a room and the room's door does not have."""
    door = f"relama.runtime.{room}"
    allowed = {door, *(f"{door}.{name}" for name in import_module(door).__all__)}
    return [n for n in imported(source) if n.startswith(f"{door}.") and n not in allowed]


def test_there_are_rooms() -> None:
    assert ROOMS == ["memory", "session"]


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_outside_a_room_imports_its_inner_modules(room: str) -> None:
    outside = [path for path in FILES if RUNTIME / room not in path.parents]
    found = {
        str(path.relative_to(ROOT)): names
        for path in outside
        if (names := behind_the_door(path.read_text(encoding="utf-8"), room))
    }
    assert not found


def test_the_memory_limit_knows_no_session() -> None:
    names = [n for path in (RUNTIME / "memory").glob("*.py") for n in imported(path.read_text())]
    assert not [name for name in names if name.startswith("relama.runtime.session")]


@pytest.mark.parametrize(
    "source",
    [
        "import relama.runtime.memory.limit",
        "from relama.runtime.memory.limit import limited",
        "from relama.runtime.memory import prefetch",
        "def f():\n    from relama.runtime.memory.residency import Plan",
    ],
)
def test_a_look_behind_the_door_is_seen(source: str) -> None:
    assert behind_the_door(source, "memory")


def test_the_door_is_open() -> None:
    assert not behind_the_door("from relama.runtime.memory import limited", "memory")
