"""The dbt project at the top of the repository is what the generator writes today."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from relama.project.fixture import CHECKPOINT, GENERATED, PROMPT, main, write_fixture
from relama.project.manifest import DISABLED_OPTIMIZERS
from relama.project.render import render

ROOT = Path(__file__).parents[2]


def test_checked_in_files_are_current() -> None:
    command = [sys.executable, "-m", "relama.project.fixture", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the generated files and of the checkpoint they come from."""
    for place in (CHECKPOINT, *GENERATED):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / place).is_dir():
            shutil.copytree(ROOT / place, tmp_path / place)
        else:
            shutil.copy(ROOT / place, tmp_path / place)
    return tmp_path


def test_parquet_is_compared_by_content(copy: Path) -> None:
    rewrite(copy / "weights" / "norm.parquet")
    assert main(["--check", "--root", str(copy)]) == 0


def append_space(path: Path) -> None:
    path.write_text(path.read_text() + " ")


def rewrite(path: Path) -> None:
    pq.write_table(pq.read_table(path), path, compression="gzip")


def drop_last_row(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.slice(0, table.num_rows - 1), path)


@pytest.mark.parametrize(
    ("path", "change", "line"),
    [
        ("models/layers/layer_01/layer_01__swiglu.sql", append_space, "differs"),
        ("models/_sources.yml", append_space, "differs"),
        ("analyses/score.sql", Path.unlink, "missing"),
        ("models/layers/layer_02/layer_02__swiglu.sql", Path.touch, "not generated"),
        ("weights/vocabulary.parquet", drop_last_row, "differs"),
        ("seeds/greedy_reference.csv", append_space, "differs"),
    ],
)
def test_a_change_is_found_named_and_mended(
    copy: Path,
    capsys: pytest.CaptureFixture[str],
    path: str,
    change: Callable[[Path], None],
    line: str,
) -> None:
    (copy / path).parent.mkdir(parents=True, exist_ok=True)
    change(copy / path)

    assert main(["--check", "--root", str(copy)]) == 1
    assert f"{path}: {line}" in capsys.readouterr().err.splitlines()

    write_fixture(copy)
    assert main(["--check", "--root", str(copy)]) == 0


def test_settings_written_by_hand_agree_with_the_templates() -> None:
    project = yaml.safe_load((ROOT / "dbt_project.yml").read_text())
    assert project["vars"]["relama_prompt_token_ids"] == list(PROMPT)
    hand_written = yaml.safe_load((ROOT / "profiles.yml").read_text())["relama"]["outputs"]["dev"]
    rendered = render(
        "profiles_duckdb.yml",
        project="relama",
        disabled_optimizers=DISABLED_OPTIMIZERS,
        kernels=False,
    )
    assert yaml.safe_load(rendered)["relama"]["outputs"]["dev"] == hand_written


def test_every_column_is_described_in_words() -> None:
    described = [
        f"{path.name}: {line.strip()}"
        for path in sorted((ROOT / "models").rglob("*.yml"))
        for line in path.read_text().splitlines()
        if re.search(r"description: [\'\"]?\[[\d, ]*\]\.", line)
    ]
    assert described == []
