"""dbt's documentation as one page that opens: what a reader never sees is left out of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from relama.errors import ProjectError
from relama.project.macro_docs import is_public
from relama.project.manifest import LIBRARY, Project
from relama.runtime import dbt

#: What dbt keeps of a node for itself.
_UNSEEN = {
    *("build_path", "checksum", "compiled_path", "created_at", "defer_relation", "extra_ctes"),
    *("extra_ctes_injected", "relation_name"),
    *("unrendered_config", "unrendered_database", "unrendered_schema"),
}
_SEEN_OF_CONFIG = {"access", "contract", "docs", "enabled", "group", "materialized", "meta", "tags"}
#: Packages that the page does not list.
_BUILT_IN = {"dbt", "dbt_duckdb"}
#: The page's functions for everything above or below a node, which follow every path to it:
#: their number doubles with each residual connection.
_EVERY_PATH = re.compile(
    r"function (?P<name>\w+)\((?P<graph>\w+),(?P<node>\w+),(?P<depth>\w+),(?P<level>\w+)\)"
    r"\{(?P=level)\|\|\((?P=level)=1\);var \w+=(?P=graph)\.(?P<step>predecessors|successors)"
    r"\((?P=node)\);.{1,200}?return \w+\.uniq\(\w+\)\}"
)
#: The same, level by level, each node once.
_EACH_ONCE = (
    r"function \g<name>(graph,node,depth){var found=new Set,level=[node];"
    r"for(var i=0;level.length&&(null==depth||i<depth);i++){var next=[];"
    r"level.forEach(function(n){(graph.\g<step>(n)||[]).forEach(function(m){"
    r"found.has(m)||(found.add(m),next.push(m))})});level=next}return Array.from(found)}"
)


def write_docs(project: Project) -> Path:
    """Runs `dbt docs generate` and writes its page with the data that the page shows.

    Returns:
        The HTML file, `target/static_index.html` of the project, as
        `dbt docs generate --static` names it.

    Raises:
        ProjectError: dbt failed.
    """
    dbt.invoke(project.directory, ["docs", "generate"])
    target = project.directory / "target"
    try:
        page = (target / "index.html").read_text(encoding="utf-8")
        manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
        catalog = json.loads((target / "catalog.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProjectError(f"dbt has left no documentation in {target}: {error}.") from None
    page = _EVERY_PATH.sub(_EACH_ONCE, page)
    page = page.replace('"MANIFEST.JSON INLINE DATA"', _json(shown(manifest)))
    page = page.replace('"CATALOG.JSON INLINE DATA"', _json(catalog))
    written = target / "static_index.html"
    temporary = target / "static_index.partial"
    temporary.write_text(page, encoding="utf-8")
    temporary.rename(written)
    return written


def shown(manifest: dict[str, Any]) -> dict[str, Any]:
    """The part of dbt's manifest that the page shows."""
    nodes = {name: _shown_node(node) for name, node in manifest["nodes"].items()}
    sources = {name: _shown_node(source) for name, source in manifest["sources"].items()}
    macros = {
        name: {**macro, "config": {}, "docs": _docs_of_macro(macro)}
        for name, macro in manifest["macros"].items()
        if macro["package_name"] not in _BUILT_IN
    }
    changed = {"nodes": nodes, "sources": sources, "macros": macros, "docs": _docs(manifest)}
    return {**manifest, **changed, "disabled": {}}


def _docs(manifest: dict[str, Any]) -> dict[str, Any]:
    """The blocks of text, where the project's own is what the page begins with.

    A block `__overview__` would be that in dbt's own page too, but also in that of another project
    which has this one as its package: there it would replace the other's.
    """
    docs, project = dict(manifest["docs"]), manifest["metadata"]["project_name"]
    own = docs.get(f"doc.{project}.__{project}__")
    if own:
        whole = docs["doc.dbt.__overview__"]
        docs["doc.dbt.__overview__"] = {**whole, "block_contents": own["block_contents"]}
    return docs


def _docs_of_macro(macro: dict[str, Any]) -> dict[str, Any]:
    """dbt's `docs` of a macro; of ours, the page lists those that are public."""
    is_private = macro["package_name"] == LIBRARY and not is_public(macro["name"])
    return {"show": False} if is_private else dict(macro["docs"])


def _shown_node(node: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in node.items() if key not in _UNSEEN}
    kept["config"] = {k: v for k, v in node.get("config", {}).items() if k in _SEEN_OF_CONFIG}
    if node.get("compiled_code"):
        kept["compiled_code"] = _own_text(node["compiled_code"], node.get("extra_ctes", ()))
    return kept


def _own_text(compiled: str, ctes: list[dict[str, str]]) -> str:
    """A model's compiled text, of the ephemeral models that dbt has put into it the names only."""
    for cte in ctes:
        name, opening, _ = cte["sql"].partition(" as (")
        compiled = compiled.replace(cte["sql"], f"{name}{opening} ... )", 1)
    return compiled


def _json(value: Any) -> str:
    """JSON within a script: nothing in it can end the script."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
