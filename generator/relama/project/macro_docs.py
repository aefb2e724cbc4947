"""What dbt is told of the public macros, read from the Jinja comments above them.

A comment says what the macro gives and then, one per line, what its arguments are:

    {#
        The scaled vector. An expression.

        vector  an expression of type real[]
        factor  number of times
    #}
    {% macro scaled(vector, factor=1) -%}

A macro whose name begins with an underscore is private and has no entry, nor has one with two
underscores within its name: that is an adapter's variant of another macro.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes

from relama.project.render import yaml_text

_BLOCK = re.compile(
    r"(?:\{#(?P<comment>(?:(?!#\}).)*)#\}\n)?"
    r"\{%-?\s*(?P<kind>macro|test|materialization)\s+(?P<name>\w+)(?P<rest>.*?)-?%\}",
    re.DOTALL,
)
#: dbt's types of arguments, by how a description begins and by the default.
_WORDS = {"relation": "relation", "whether": "bool", "number of": "integer"}
_DEFAULTS = {str: "string", bool: "bool", int: "integer", float: "float"}


@dataclass(frozen=True)
class Macro:
    """A macro, a generic test or a materialization.

    Attributes:
        kind: `macro`, `test` or `materialization`.
        name: as it is called.
        comment: the text of the comment above it, without its indentation.
        arguments: names and defaults, which are None where there is none.
        adapter: of a materialization, that which it is for.
    """

    kind: str
    name: str
    comment: str
    arguments: dict[str, Any]
    adapter: str = "default"

    @property
    def is_public(self) -> bool:
        return is_public(self.name)

    @property
    def key(self) -> str:
        """dbt's name of it, in YAML and in the manifest."""
        return {
            "macro": self.name,
            "test": f"test_{self.name}",
            "materialization": f"materialization_{self.name}_{self.adapter}",
        }[self.kind]


def is_public(name: str) -> bool:
    """Whether projects may call the macro: others are private, or an adapter's variant."""
    return not name.startswith("_") and "__" not in name


def macros_of(path: Path) -> list[Macro]:
    """What the file at `path` defines, in order."""
    return [
        Macro(
            match["kind"],
            match["name"],
            inspect.cleandoc(match["comment"] or ""),
            _arguments(match["rest"]) if match["kind"] != "materialization" else {},
            _adapter(match["rest"]),
        )
        for match in _BLOCK.finditer(path.read_text(encoding="utf-8"))
    ]


def _adapter(rest: str) -> str:
    """The adapter that a materialization names."""
    found = re.search(r"adapter='(\w+)'", rest)
    return found[1] if found else "default"


def macro_docs(directory: Path) -> str:
    """The text of `_macros.yml` for the macros in `directory`."""
    macros = [
        macro
        for path in sorted(directory.rglob("*.sql"))
        for macro in macros_of(path)
        if macro.is_public
    ]
    content = {"version": 2, "macros": [_entry(macro) for macro in macros]}
    return (
        "# The public macros, as the comments above them say; written by `make generate`.\n"
        + yaml_text(content)
    )


def _entry(macro: Macro) -> dict[str, Any]:
    description, arguments = described(macro)
    entry: dict[str, Any] = {"name": macro.key, "description": _literal(description)}
    if macro.arguments:
        entry["arguments"] = [
            {"name": name}
            | _type(arguments.get(name, ""), default)
            | {"description": _literal(arguments.get(name, ""))}
            for name, default in macro.arguments.items()
        ]
    return entry


def described(macro: Macro) -> tuple[str, dict[str, str]]:
    """The comment of a macro, taken apart: what it gives, and what its arguments are."""
    lines: list[str] = []
    arguments: dict[str, str] = {}
    name = None
    for line in macro.comment.splitlines():
        word, _, words = line.partition("  ")
        if word in macro.arguments:
            name, arguments[word] = word, words.strip()
        elif name and line.startswith(" "):
            arguments[name] += f" {line.strip()}"
        else:
            name = None
            lines.append(line)
    return "\n".join(lines).strip(), arguments


def _arguments(signature: str) -> dict[str, Any]:
    """Names and defaults of `(a, b=1)`."""
    template = jinja2.Environment().parse(f"{{% macro m{signature} %}}{{% endmacro %}}")
    macro = next(template.find_all(nodes.Macro))
    names = [argument.name for argument in macro.args]
    defaults = [default.as_const() for default in macro.defaults]
    without = len(names) - len(defaults)
    return dict.fromkeys(names) | dict(zip(names[without:], defaults, strict=True))


def _type(description: str, default: Any) -> dict[str, str]:
    """dbt's type of an argument, where its description or its default says it."""
    for beginning, name in _WORDS.items():
        if description.startswith(beginning):
            return {"type": name}
    return {"type": _DEFAULTS[type(default)]} if type(default) in _DEFAULTS else {}


def _literal(text: str) -> str:
    """A description that dbt, which renders it, shows as it is."""
    return f"{{% raw %}}{text}{{% endraw %}}" if "{{" in text or "{%" in text else text
