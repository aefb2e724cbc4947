"""The native kernels under AddressSanitizer and UndefinedBehaviorSanitizer.

Twice: the arithmetic alone, in a program whose memory all comes from malloc (DuckDB's does
not, so that AddressSanitizer cannot see where its vectors end), and the functions in DuckDB.
Leaks are not looked for here: Python and DuckDB keep memory to the end on purpose.
test_kernels.py watches what the groups of attention keep.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relama import kernels
from relama.kernels import build

HERE = Path(__file__).parent
ROUNDS = 150
SECONDS = 4

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def run(*command: str | Path, **environment: str) -> str:
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def sanitizer_library() -> str:
    library = run("cc", "-print-file-name=libasan.so").strip()
    if not Path(library).is_absolute():
        pytest.skip("the C compiler has no AddressSanitizer")
    return library


@pytest.mark.parametrize("level", build.LEVELS["amd64"])
def test_arithmetic(level: str, tmp_path: Path) -> None:
    sanitizer_library()
    if platform.machine() != "x86_64" and level != "baseline":
        pytest.skip("not a level of this machine")
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if level != "baseline" and {"avx2": "avx2", "avx512": "avx512dq"}[level] not in flags:
        pytest.skip(f"this processor has no {level}")
    program = tmp_path / "kernels_fuzzer"
    sources = [HERE / "kernels_fuzzer.c", *(build.SOURCES / source for source in build.KERNELS)]
    options = [*build.FLAGS, *build.SANITIZE, "-O1", *build.LEVELS["amd64"][level]]
    run("cc", *options, f"-DLEVEL={level}", f"-I{build.SOURCES}", *sources, "-lm", "-o", program)
    run(program, "1", str(ROUNDS), ASAN_OPTIONS="detect_leaks=1")


def test_functions_in_duckdb(tmp_path: Path) -> None:
    library = sanitizer_library()
    file = build.build(tmp_path / kernels.FILE_NAME, sanitize=True)
    output = run(
        *(sys.executable, HERE / "kernels_fuzzer.py", file, "1", str(SECONDS)),
        LD_PRELOAD=f"{library} {run('cc', '-print-file-name=libstdc++.so.6').strip()}",
        ASAN_OPTIONS="detect_leaks=0",
    )
    assert int(output.split()[0]) > 20
