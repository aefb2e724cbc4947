"""The wheel carries the native kernels where a C compiler is there, and says so where not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(*command: str, **environment: str) -> str:
    result = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def wheel(directory: Path, **environment: str) -> tuple[Path, str]:
    """The wheel, and what pip printed."""
    pip = [sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps"]
    output = run(*pip, "--wheel-dir", str(directory), str(ROOT), **environment)
    (file,) = directory.iterdir()
    return file, output


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_wheel_has_the_kernels_inside(tmp_path: Path) -> None:
    file, _ = wheel(tmp_path / "wheels")
    assert "-py3-none-" in file.name and not file.name.endswith("-any.whl")
    installed = tmp_path / "installed"
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(installed), str(file))
    script = (
        "import duckdb; from relama import kernels; print(kernels.path());"
        "connection = duckdb.connect(config={'allow_unsigned_extensions': 'true'});"
        "kernels.load(connection, kernels.path());"
        "print(connection.sql('select relama_add([1]::float[], [2]::float[])').fetchall())"
    )
    output = run(sys.executable, "-c", script, PYTHONPATH=str(installed)).split("\n")
    assert Path(output[0]).is_relative_to(installed)
    assert output[1] == "[([3.0],)]"


def test_a_wheel_without_a_compiler_is_for_all_platforms(tmp_path: Path) -> None:
    file, output = wheel(tmp_path, CC="no-such-cc")
    assert file.name.endswith("-py3-none-any.whl")
    assert "The wheel has no native kernels. There is no C compiler 'no-such-cc'" in output
