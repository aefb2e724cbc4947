"""What dbt compiles of a model is that model's own, and the documentation stays small."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from relama.project.manifest import Project
from relama.runtime import dbt
from relama.runtime.docs import write_docs


def test_the_page_holds_what_a_reader_sees(
    built_tiny_project: Project, copy_of: Callable[[Project], Project]
) -> None:
    project = copy_of(built_tiny_project)
    page = write_docs(project).read_text()
    start = page.index("={manifest:{") + len("={manifest:")
    manifest, _ = json.JSONDecoder().raw_decode(page, start)
    nodes = {node["name"]: node for node in manifest["nodes"].values()}

    layer = nodes["layer_01__attention_norm"]
    assert "from __dbt__cte__layer_00__down_proj" in layer["compiled_code"]
    assert len(layer["compiled_code"]) < 1500
    assert layer["columns"] and layer["description"] and layer["docs"]["node_color"]
    assert "ref('layer_00')" in nodes["step"]["raw_code"]
    assert "list_inner_product" not in nodes["step"]["compiled_code"]
    assert "select * from __dbt__cte__next_token" in nodes["step"]["compiled_code"]

    whole = json.loads((project.directory / "target" / "manifest.json").read_text())
    # The page reads these of a test, and shows nothing at all where one is missing.
    for name, node in whole["nodes"].items():
        read = ("test_metadata", "refs", "sources", "depends_on", "column_name")
        assert {k: manifest["nodes"][name].get(k) for k in read} == {k: node.get(k) for k in read}
    assert manifest["parent_map"] == whole["parent_map"]
    assert "MANIFEST.JSON INLINE DATA" not in page
    macros = {macro["name"]: macro for macro in manifest["macros"].values()}
    assert macros["tokenize"]["docs"]["show"]
    assert "{{ relama.tokenize('body') }}" in macros["tokenize"]["description"]
    assert [a["name"] for a in macros["geglu"]["arguments"]] == ["gate", "up", "size"]
    assert macros["materialization_relama_complete_default"]["description"]
    assert not macros["_softmax"]["docs"]["show"]
    assert not macros["duckdb__tokenize"]["docs"]["show"]
    # What the page begins with; plain dbt docs, and another project's, begin with their own.
    overview = manifest["docs"]["doc.dbt.__overview__"]["block_contents"]
    assert "A language model of 2 layers" in overview
    links = re.findall(r"#!/model/([\w.]+)\)", overview)
    assert len(links) == 3 and all(link in manifest["nodes"] for link in links)
    assert "Welcome" in whole["docs"]["doc.dbt.__overview__"]["block_contents"]
    assert [doc["name"] for doc in whole["docs"].values()].count("__overview__") == 1
    # Both ways through the graph, by which a selection such as `+logits` is found at once.
    assert page.count("return Array.from(found)") == 2


def test_only_statements_of_the_whole_hold_all_layers(tiny_project: Project) -> None:
    dbt.invoke(tiny_project.directory, ["compile"])
    compiled = tiny_project.directory / "target" / "compiled" / tiny_project.name
    lengths = {path.stem: len(path.read_text()) for path in compiled.rglob("*.sql")}
    whole = ("step", "forward_pass", "score", "candidates", "hidden_states")
    assert max(lengths[n] for n in lengths if n.startswith("layer_01__")) < lengths["step"] / 4
    assert min(lengths[name] for name in whole if name in lengths) > 20_000


def test_one_activation_can_be_shown(tiny_project: Project) -> None:
    """`dbt show` makes one statement of a model and all that is below it."""
    shown: list[str] = []
    arguments = ["show", "--select", "layer_01__down_proj", "--output", "json"]
    dbt.invoke(tiny_project.directory, arguments, lambda event: shown.append(str(event)))
    assert any("vector" in text for text in shown)
