"""`relama.json` keeps the graph: what is read back is what was written, every shape of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relama.architectures import build_graph
from relama.checkpoint import open_checkpoint
from relama.errors import ProjectError
from relama.graph import Kind
from relama.passes import run_passes
from relama.project.kept_graph import graph_fields, kept_graph
from relama.project.manifest import MARKER, load_project
from relama.project.models import model_inputs
from relama.project.writer import write_project
from relama.targets import DEFAULT

TINY_LLAMA = Path(__file__).parents[1] / "fixtures" / "tiny_llama"


@pytest.mark.parametrize("storage", ["float32", "int4"])
def test_what_is_read_back_is_what_was_written(storage: str) -> None:
    graph = run_passes(build_graph(open_checkpoint(TINY_LLAMA)), storage)
    fields = json.loads(json.dumps({**graph_fields(graph), "inputs": model_inputs(graph, DEFAULT)}))
    kept = kept_graph(**fields)
    assert kept.weights == graph.weights
    assert list(kept.operators) == list(graph.operators)
    for name, operator in graph.operators.items():
        assert kept.operators[name].shape == graph.shapes[name]
        assert kept.operators[name].weight == operator.weight
        assert kept.inputs[name] == (*operator.computes.step_models, *operator.inputs)
    for weight in fields["weights"].values():
        assert weight["rows"] == sum(part["rows"] for part in weight["tensors"])


def test_every_model_that_is_read_says_what_it_reads() -> None:
    graph = run_passes(build_graph(open_checkpoint(TINY_LLAMA)))
    kept = kept_graph(**graph_fields(graph), inputs=model_inputs(graph, DEFAULT))
    assert {name for read in kept.inputs.values() for name in read} <= kept.inputs.keys()


def test_which_operators_read_a_weight() -> None:
    graph = run_passes(build_graph(open_checkpoint(TINY_LLAMA)))
    kept = kept_graph(**graph_fields(graph), inputs={})
    assert kept.readers("embedding_weight") == {Kind.EMBEDDING}
    assert kept.readers("lm_head_weight") == {Kind.LOGITS}
    assert kept.readers("final_norm_weight") == {Kind.RMS_NORM}


@pytest.mark.parametrize("field", ["operators", "weights", "inputs", "windows"])
def test_a_project_of_an_older_relama_is_to_be_written_anew(tmp_path: Path, field: str) -> None:
    project = write_project(tmp_path / "tiny", open_checkpoint(TINY_LLAMA))
    marker = json.loads((project.directory / MARKER).read_text())
    del marker[field]
    (project.directory / MARKER).write_text(json.dumps(marker))
    with pytest.raises(ProjectError, match=rf"older relama.* no '{field}'; write it anew with"):
        load_project(project.directory)


@pytest.mark.parametrize("marker", ["[]", '"project"', '{"project": "tiny"', "{}"])
def test_what_is_no_marker_is_no_project(tmp_path: Path, marker: str) -> None:
    (tmp_path / MARKER).write_text(marker)
    with pytest.raises(ProjectError, match="is not a relama project"):
        load_project(tmp_path)
