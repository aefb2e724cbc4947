"""Templates of generated files, and writing them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import yaml

# Generated files hold dbt's Jinja, so ours has delimiters of its own.
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("relama.project"),
    block_start_string="<%",
    block_end_string="%>",
    variable_start_string="<<",
    variable_end_string=">>",
    comment_start_string="<#",
    comment_end_string="#>",
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,
)


def render(template: str, **values: Any) -> str:
    """A file of `templates/`, filled in."""
    return _TEMPLATES.get_template(template).render(**values)


def encoded(text: str) -> str:
    """A text in hexadecimal digits: what YAML holds, dbt renders."""
    return f"utf8:{text.encode().hex()}"


def write(path: Path, text: str) -> None:
    """Writes a text file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    """Writes a YAML file, its keys in the given order."""
    write(path, yaml_text(content))


def yaml_text(content: dict[str, Any]) -> str:
    """YAML, its keys in the given order, a text of several lines as it is."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    pass


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
