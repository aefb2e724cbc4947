"""Traced mode: every activation is a table, and tests hold on real activations."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from relama.checkpoint import open_checkpoint
from relama.errors import ProjectError
from relama.reference import forward
from relama.runtime import dbt
from relama.runtime.session import open_engine
from tests.conftest import TINY_LLAMA, make_project

PROMPT = [46, 75, 82, 82, 85]


def test_trace(tmp_path: Path) -> None:
    project = make_project(tmp_path / "traced", TINY_LLAMA, trace=True)
    database = str(project.directory / "relama.duckdb")
    with open_engine(project, "dbt", sequence_id=0) as engine:
        engine.start(PROMPT, (0.0, 0, 1.0, 0))
        chosen = engine.step()
    checkpoint = open_checkpoint(TINY_LLAMA)
    reference = forward(checkpoint.config, checkpoint.tensors, PROMPT)
    assert chosen == int(reference.logits[-1].argmax())
    with duckdb.connect(database) as connection:
        for name, expected in (
            ("embedding", reference.hidden_states[0]),
            ("layer_00__down_proj", reference.hidden_states[1]),
            ("final_norm", reference.final_norm),
        ):
            rows = connection.execute(f"select vector from {name} order by position").fetchall()
            assert np.array([row[0] for row in rows]) == pytest.approx(expected, abs=1e-4)

    # The session runs the step as one statement all the same.
    with open_engine(project, "session", sequence_id=0) as engine:
        engine.start(PROMPT, (0.0, 0, 1.0, 0))
        assert engine.step() == chosen

    selection = ["test", "--select", "layer_00__attention_weights", "layer_00__attention_norm"]
    dbt.invoke(project.directory, selection)
    for breaking, complaint in (
        ("layer_00__attention_weights set vector = list_transform(vector, lambda x: x * 2)", "sum"),
        ("layer_00__attention_norm set vector = list_transform(vector, lambda x: x * 2)", "mean"),
        ("layer_00__attention_norm set vector = list_concat(['nan'::float], vector[2:])", "finite"),
    ):
        with duckdb.connect(database) as connection:
            connection.execute(f"update {breaking}")
        with pytest.raises(ProjectError, match=complaint):
            dbt.invoke(project.directory, selection)
        with duckdb.connect(database) as connection:
            connection.execute("update layer_00__attention_weights set vector = [1.0]")
            connection.execute(
                "update layer_00__attention_norm set vector = "
                "(select vector from layer_00__attention_norm_weight)"
            )
