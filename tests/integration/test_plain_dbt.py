"""What a dbt user does with a generated project: packages, profiles, directories, options."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from relama.checkpoint import open_checkpoint
from relama.cli import main
from relama.project.manifest import Project, load_project
from relama.project.writer import write_project
from tests.conftest import TINY_LLAMA
from tests.user_project import UserProject

BIN = Path(sys.executable).parent
PROMPT = [46, 75, 82]


def dbt(directory: Path, *arguments: object, cwd: Path | None = None, **environment: str) -> str:
    """Runs dbt, which must succeed; what it printed."""
    done = run_dbt(directory, *arguments, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_dbt(
    directory: Path, *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    places: list[object] = []
    if cwd is not None:
        places = ["--project-dir", directory, "--profiles-dir", directory]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DBT_")}
    return subprocess.run(
        [str(BIN / "dbt"), "--no-use-colors", *map(str, [*arguments, *places])],
        cwd=cwd or directory,
        env={**inherited, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def relama(*arguments: object) -> dict[str, Any]:
    """Runs relama, which must succeed; what it printed as JSON."""
    command = [sys.executable, "-m", "relama", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(query).fetchall()


def state(project: Project) -> list[tuple[Any, ...]]:
    database = project.directory / "relama.duckdb"
    tokens = rows(database, "select position, token_id, is_prompt from tokens order by all")
    return tokens + rows(database, "select position, kv_head from layer_01__kv_cache order by all")


def change(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def test_set_prompt_begins_a_sequence(tiny_project: Project) -> None:
    directory = tiny_project.directory
    dbt(directory, "run-operation", "set_prompt", "--args", json.dumps({"token_ids": PROMPT}))
    assert state(tiny_project) == [(i, token, True) for i, token in enumerate(PROMPT)]
    dbt(directory, "run", "--select", "tag:step")
    plain = [token for _, token, _ in state(tiny_project)[:4]]
    changed = ["run-operation", "set_prompt", "--args"]
    for wrong, sentence in (
        ([46, 101], "holds 101, which is not a token id: those of this model are whole numbers"),
        ("Hello", 'must be a list of token ids, not "Hello"'),
    ):
        done = run_dbt(directory, *changed, json.dumps({"token_ids": wrong}))
        assert done.returncode != 0
        assert f"relama: the prompt {sentence}" in done.stdout
    assert [token for _, token, _ in state(tiny_project)[:4]] == plain


def test_deps_keeps_the_macros(tiny_project: Project, tmp_path: Path) -> None:
    """Typed in the project itself, and below a project that has it as a package."""
    directory = tiny_project.directory
    dbt(directory, "deps")
    dbt(directory, "deps", "--upgrade")
    dbt(directory, "compile", "--select", "step")
    user = UserProject(tmp_path / "desk", tiny_project)  # Types dbt deps as well.
    dbt(directory, "deps")
    assert user.dbt("ls", "--select", "package:tiny"), user.output
    # The link that dbt makes is an absolute one.
    moved = directory.rename(tmp_path / "moved")
    assert run_dbt(moved, "parse", "--no-partial-parse").returncode != 0
    dbt(moved, "deps")
    dbt(moved, "parse", "--no-partial-parse")


def test_a_packages_file_of_ones_own(tiny_project: Project) -> None:
    directory = tiny_project.directory
    other = directory / "other"
    other.mkdir()
    (other / "dbt_project.yml").write_text('name: other\nversion: "1.0.0"\n')
    packages = directory / "packages.yml"
    packages.write_text("packages:\n  - local: other\n  - local: relama\n")
    dbt(directory, "deps")
    dbt(directory, "parse")
    packages.write_text("packages:\n  - local: other\n")
    dbt(directory, "deps")
    assert relama("build", directory, "--full-refresh")["nodes"] > 40  # Installs the macros.


@pytest.mark.parametrize("database", ["relama", "prod"])
def test_another_profile_target_schema_and_file(tiny_project: Project, database: str) -> None:
    """The commands follow the profile, and what is enabled does not depend on its name."""
    directory = tiny_project.directory
    expected = relama("generate", directory, "Hello", "--max-tokens", 3)["ids"]
    dbt_nodes = dbt(directory, "-q", "ls", "--output", "name").split()
    (directory / "relama.duckdb").unlink()
    change(directory / "dbt_project.yml", ('profile: "tiny"', "profile: team"))
    profile = [('"tiny":', "team:"), ("target: dev", "target: prod"), (" dev:", " prod:")]
    if database != "relama":
        profile += [("{{ flags.PROFILES_DIR }}/relama.duckdb", "{{ env_var('WAREHOUSE') }}")]
        profile += [("alias: relama", f"alias: {database}"), ("schema: main", "schema: llm")]
        profile += [("database: relama", f"database: {database}")]
    change(directory / "profiles.yml", *profile)
    os.environ["WAREHOUSE"] = str(directory / "warehouse.duckdb")
    assert dbt(directory, "-q", "ls", "--output", "name").split() == dbt_nodes
    assert relama("build", directory)["nodes"] > 40
    assert relama("generate", directory, "Hello", "--max-tokens", 3)["ids"] == expected
    file = directory / ("relama.duckdb" if database == "relama" else "warehouse.duckdb")
    assert [path.name for path in directory.glob("*.duckdb")] == [file.name]
    limited = ("generate", directory, "Hello", "--max-tokens", 3, "--memory-limit", "2GB")
    assert relama(*limited)["ids"] == expected


def test_a_profile_of_another_database(tiny_project: Project) -> None:
    change(tiny_project.directory / "profiles.yml", ("type: duckdb", "type: postgres"))
    command = [sys.executable, "-m", "relama", "build", str(tiny_project.directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is of type 'postgres', and the project was written for duckdb" in done.stderr


def test_dbt_from_another_directory(tiny_project: Project, tmp_path: Path) -> None:
    """By a relative path too; a folder with a pattern in its name; nothing is written there."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    project = load_project(tiny_project.directory.rename(tmp_path / "it's [a]*"))
    (project.directory / "relama.duckdb").unlink()
    dbt(Path(os.path.relpath(project.directory, elsewhere)), "build", cwd=elsewhere)
    assert rows(project.directory / "relama.duckdb", "select count(*) from step") != [(0,)]
    assert "19 relama weight models" in (again := dbt(project.directory, "build"))
    assert again.count("UNCHANGED") == 19  # The path is no part of what weights are.
    assert list(elsewhere.iterdir()) == []


def test_empty_keeps_weights_and_state(tiny_project: Project) -> None:
    directory = tiny_project.directory
    database = directory / "relama.duckdb"
    counts = "select count(*), (select count(*) from vocabulary) from embedding_weight"
    before, weights = state(tiny_project), rows(database, counts)
    dbt(directory, "build", "--empty")
    dbt(directory, "run", "--empty", "--full-refresh", "--select", "tag:weights")
    assert (state(tiny_project), rows(database, counts)) == (before, weights)
    dbt(directory, "run", "--select", "tag:step")
    assert len(state(tiny_project)) > len(before)


def test_commands_that_read_leave_a_half_step_alone(tiny_project: Project) -> None:
    """dbt's next step takes it up; `dbt test` says that it is there."""
    directory = tiny_project.directory
    dbt(directory, "run", "--select", "step", "layer_01__kv_cache")
    half = state(tiny_project)
    run_dbt(directory, "test")
    for command in ("docs generate", "compile", "show --select transcript", "seed"):
        dbt(directory, *command.split())
    dbt(directory, "run", "--select", "transcript")
    assert state(tiny_project) == half
    dbt(directory, "run", "--select", "tag:step")
    dbt(directory, "test")


@pytest.mark.parametrize("engine", ["session", "dbt"])
def test_settings_of_a_session_change_nothing_for_plain_dbt(
    tiny_project: Project, engine: str
) -> None:
    database = tiny_project.directory / "relama.duckdb"
    before = rows(database, "select * from sampling")
    options = ("--temperature", 0.7, "--top-k", 9, "--seed", 3, "--engine", engine)
    relama("generate", tiny_project.directory, "Hello", "--max-tokens", 1, *options)
    assert rows(database, "select * from sampling") == before


def test_a_name_that_dbt_reserves(tmp_path: Path) -> None:
    for directory, suggestion in (
        ("model", "model_model"),
        ("模型", "language_model"),
        ("no", "no_model"),
    ):
        arguments = ["new", str(tmp_path / directory), "--model", str(TINY_LLAMA)]
        refused = CliRunner().invoke(main, arguments)
        assert refused.exit_code == 1
        assert f"--name {suggestion}" in refused.output
        assert not (tmp_path / directory).exists()
    named = ("new", tmp_path / "target", "--model", TINY_LLAMA, "--name", "select")
    assert relama(*named) == {
        "directory": str(tmp_path / "target"),
        "project": "select",
        "warnings": [],
    }
    assert relama("build", tmp_path / "target")["nodes"] > 40
    assert len(relama("generate", tmp_path / "target", "Hi", "--max-tokens", 2)["ids"]) == 2


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A language model that is only a package: nothing is built in its own directory."""
    directory = tmp_path_factory.mktemp("package") / "lm"
    return write_project(directory, open_checkpoint(TINY_LLAMA), storage="int8")


def test_as_a_package_in_a_project_with_names_of_its_own(package: Project, tmp_path: Path) -> None:
    """The profile has the language model's name; `checkpoint`, `trace` are the user's variables.

    Packages are installed elsewhere than usual, and dbt is run from another directory.
    """
    user = UserProject(tmp_path / "desk", package)
    settings = user.directory / "dbt_project.yml"
    change(settings, ("profile: desk", "profile: lm\npackages-install-path: parts/of_others"))
    variables = {"checkpoint": 1, "trace": True, "num_hidden_layers": 7, "decode": True}
    variables["lm"] = {"relama_trace": True}  # It takes no step that could be traced.
    settings.write_text(settings.read_text() + f"vars: {json.dumps(variables)}\n")
    profile = f"path: {user.directory}/desk.duckdb"
    change(user.directory / "profiles.yml", ("desk:\n", "lm:\n"), ("path: desk.duckdb", profile))
    shutil.rmtree(user.directory / "dbt_packages")
    user.model("a", "materialized='relama_complete', max_tokens=2", "select 'Hi' as prompt")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    dbt(user.directory, "deps")
    dbt(user.directory, "build", cwd=elsewhere)
    assert list(elsewhere.iterdir()) == []
    answer = user.rows("select completion, completion_tokens from a")
    assert answer[0][1] == 2
    assert user.rows("select distinct table_schema from information_schema.tables order by 1") == [
        ("main",),
        ("main_lm",),
    ]
    # A day later, another value of the user's variables: nothing is built or answered again.
    change(settings, ('"checkpoint": 1', '"checkpoint": 2'))
    dbt(user.directory, "build", "--empty")
    assert user.answered() == {"a": 0}
    results = json.loads((user.directory / "target" / "run_results.json").read_text())["results"]
    weights = [r["message"] for r in results if r["unique_id"].endswith(".weights")]
    assert weights == ["UNCHANGED"]
    # What --empty has left answers as before.
    dbt(user.directory, "build", "--full-refresh", "--select", "a")
    assert user.rows("select completion, completion_tokens from a") == answer


def test_a_package_has_what_answers_rows_and_no_more(package: Project, tmp_path: Path) -> None:
    """dbt takes time over each node of a package, in every command of the project above."""
    user = UserProject(tmp_path / "desk", package)
    dbt(user.directory, "parse")
    manifest = json.loads((user.directory / "target" / "manifest.json").read_text())
    assert manifest["disabled"] == {}
    names = {id.split(".")[2] for id in manifest["nodes"] if id.startswith("model.lm.")}
    layers = {"step_input", "rotary_angles", "paged", "embedding", "final_norm"}
    tokenizer = {"vocabulary", "merges", "alphabet"}
    assert names == {"weights", "forward_pass", "layer_00", "layer_01", *layers, *tokenizer}
    sources = manifest["parent_map"]["model.lm.weights"]
    assert "source.lm.staged_weights.layer_01__q_proj" in sources
    assert "model.lm.weights" in manifest["parent_map"]["model.lm.layer_01"]


def test_a_project_is_no_package(package: Project, tmp_path: Path) -> None:
    user = UserProject(tmp_path / "desk", package)
    change(user.directory / "packages.yml", ("lm/package\n", "lm\n"))
    dbt(user.directory, "deps")
    assert not user.dbt("build")
    assert "name its folder `package` instead" in " ".join(user.output.split())
    assert user.rows("select count(*) from duckdb_tables()") == [(0,)]


def test_a_materialization_for_all_models_is_named_before_anything_is_built(
    package: Project, tmp_path: Path
) -> None:
    user = UserProject(tmp_path / "desk", package)
    user.model("a", "materialized='relama_complete', max_tokens=2", "select 'Hi' as prompt")
    settings = user.directory / "dbt_project.yml"
    change(settings, ("models:\n", "models:\n  +materialized: table\n"))
    assert not user.dbt("build")
    assert "of lm must be materialized as" in user.output
    assert "from `models:` to `models: desk:`." in " ".join(user.output.split())
    assert user.rows("select count(*) from duckdb_tables()") == [(0,)]
    change(settings, ("  +materialized: table\n  desk:\n", "  desk:\n    +materialized: table\n"))
    assert user.dbt("build"), user.output
    assert user.answered() == {"a": 1}


def test_a_schema_in_letters_that_the_database_has_otherwise(
    package: Project, tmp_path: Path
) -> None:
    """DuckDB keeps the first spelling; dbt itself refuses to build such tables a second time."""
    user = UserProject(tmp_path / "desk", package)
    macro = "macro generate_schema_name(custom_schema_name, node)"
    user.write("macros/schema.sql", f"{{% {macro} %}}MAIN{{% endmacro %}}")
    user.model("a", "materialized='relama_complete', max_tokens=2", "select 'Hi' as prompt")
    assert user.dbt("build"), user.output
    assert user.rows("select schema_name from duckdb_tables() where table_name = 'a'") == [
        ("main",)
    ]
    assert user.answered() == {"a": 1}


def test_the_language_model_of_another_environment(package: Project, tmp_path: Path) -> None:
    user = UserProject(tmp_path / "desk", package)
    user.write(
        "profiles.yml",
        "desk:\n  target: prod\n  outputs:\n"
        "    prod: {type: duckdb, path: desk.duckdb, schema: prod}\n"
        "    ci: {type: duckdb, path: desk.duckdb, schema: ci}\n",
    )
    config = "materialized='relama_complete', max_tokens={}"
    user.model("a", config.format(2), "select 'Hi' as prompt")
    dbt(user.directory, "build")
    shutil.copytree(user.directory / "target", user.directory / "prod_state")
    for extra in ([], ["--favor-state"]):
        user.model("a", config.format(3 + len(extra)), "select 'Hi' as prompt")
        deferring = ["--target", "ci", "--defer", "--state", "prod_state", *extra]
        dbt(user.directory, "build", "--select", "state:modified", *deferring)
        assert user.answered() == {"a": 1}
    ((prod,),) = user.rows("select completion from prod.a")
    (ci, *_) = user.rows("select completion from ci.a order by completion_tokens")[0]
    assert ci.startswith(prod)
    assert user.rows("select count(*) from duckdb_tables() where schema_name = 'ci_lm'") == [(0,)]
